/** What the roles of a realm let its nodes do with agents, on real processes. */
import { afterAll, beforeAll, expect, test } from 'vitest'
import { createTestBed, type TestNode } from '../support/nodes.ts'
import { waitFor } from '../support/wait.ts'

const bed = createTestBed()
let admin: TestNode
let member: TestNode
let other: TestNode
let observer: TestNode

beforeAll(async () => {
  admin = await bed.start({ name: 'admin' })
  const join = async (name: string, role: string) => {
    const { token } = await admin.json(['realm', 'invite', '--role', role])
    return bed.start({ name, join: token })
  }
  ;[member, other, observer] = (await Promise.all([
    join('member', 'member'),
    join('other', 'member'),
    join('observer', 'observer'),
  ])) as [TestNode, TestNode, TestNode]
  await waitFor('every node sees four', async () => {
    const views = await Promise.all([admin, member, other, observer].map((node) => node.json(['peers'])))
    return views.every(({ peers }) => peers.filter((peer: { state: string }) => peer.state === 'alive').length === 4)
  })
}, 60_000)
afterAll(bed.dispose, 30_000)

const refusal = async (node: TestNode, args: string[]): Promise<{ code: string; detail: string }> => {
  const { code, stderr } = await node.cli([...args.slice(0, 2), '--json', ...args.slice(2)])
  expect(code).toBe(1)
  return JSON.parse(stderr)
}

test('a member uses its own agents anywhere, and is told who could where it may not', async () => {
  const own = await member.json(['agent', 'spawn', '--node', 'other'])
  expect((await member.cli(['agent', 'exec', own.id, '--', 'echo', 'mine'])).stdout).toBe('mine\n')
  const refused = await refusal(other, ['agent', 'exec', own.id, '--', 'echo', 'mine'])
  expect(refused).toMatchObject({ code: 'FORBIDDEN', detail: expect.stringContaining(member.ready.peerId) })
  expect((await admin.cli(['agent', 'exec', own.id, '--', 'echo', 'ours'])).stdout).toBe('ours\n')
  // The host may always stop what runs on it.
  expect(await other.json(['agent', 'kill', own.id])).toMatchObject({ status: 'stopped' })
})

test('a member does not kill the agent of another node', async () => {
  const agent = await admin.json(['agent', 'spawn', '--node', 'other'])
  expect(await refusal(member, ['agent', 'kill', agent.id])).toMatchObject({ code: 'FORBIDDEN' })
  expect(await admin.json(['agent', 'show', agent.id])).toMatchObject({ status: 'idle' })
})

test('an observer lists and shows, and neither spawns nor runs nor kills', async () => {
  const agent = await admin.json(['agent', 'spawn', '--node', 'member'])
  const { agents } = await observer.json(['agent', 'list'])
  expect(agents.map(({ id }: { id: string }) => id)).toContain(agent.id)
  expect(await observer.json(['agent', 'show', agent.id])).toMatchObject({ status: 'idle' })
  for (const args of [
    ['agent', 'spawn'],
    ['agent', 'spawn', '--node', 'observer'],
    ['agent', 'kill', agent.id],
  ])
    expect(await refusal(observer, args)).toMatchObject({ code: 'FORBIDDEN' })
  expect(await refusal(observer, ['agent', 'exec', agent.id, '--', 'true'])).toMatchObject({ code: 'FORBIDDEN' })
})
