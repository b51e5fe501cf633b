/** Governing a realm by the commands, in real processes: a second issuer, a node put out and taken back, and all of it on record. */
import { afterAll, beforeAll, expect, test } from 'vitest'
import { createTestBed, type TestNode } from '../support/nodes.ts'
import { waitFor } from '../support/wait.ts'

const bed = createTestBed()
afterAll(() => bed.dispose())

let founder: TestNode
let second: TestNode
let third: TestNode
beforeAll(async () => {
  ;[founder, second, third] = (await bed.realm([{ name: 'one' }, { name: 'two' }, { name: 'three' }])) as [
    TestNode,
    TestNode,
    TestNode,
  ]
  await waitFor('all see all', async () => (await connectedTo(founder)).length === 2)
})

const connectedTo = async (node: TestNode): Promise<string[]> => {
  const { peers } = await node.json(['peers'])
  return peers.filter((peer: any) => !peer.self && peer.connected).map((peer: any) => peer.name)
}

const auditOf = async (node: TestNode): Promise<any[]> => (await node.json(['audit'])).entries

test('a member that was promoted by its name invites, and one that was demoted does not', async () => {
  expect((await second.cli(['realm', 'invite'])).stderr).toMatch(/not allowed/)
  const { issuers } = await founder.json(['realm', 'promote', 'two'])
  expect(issuers).toContainEqual({ peer: second.ready.peerId, name: 'two', roles: ['member', 'observer'] })
  await waitFor('the second node may invite', async () => (await second.cli(['realm', 'invite'])).code === 0)
  await founder.json(['realm', 'demote', 'two'])
  await waitFor('it may not any more', async () => (await second.cli(['realm', 'invite'])).code === 1)
  expect((await founder.cli(['realm', 'show'])).stdout).not.toContain('two (')
})

test('a node that is revoked is out at once, is shown as such, and comes back when that is lifted', async () => {
  await founder.json(['realm', 'revoke', 'three', '--yes'])
  await waitFor('nobody is connected to it', async () => {
    const seen = [...(await connectedTo(founder)), ...(await connectedTo(second))]
    return !seen.includes('three')
  })
  const { revocations } = await second.json(['realm', 'revocations'])
  expect(revocations).toMatchObject([{ peer: third.ready.peerId, by: founder.ready.peerId }])
  expect((await second.json(['status'])).trust.revocations).toBe(1)
  await waitFor('its attempts to come back are on record', async () =>
    (await auditOf(founder)).some(
      ({ by, outcome, reason }) => by === third.ready.peerId && outcome === 'refused' && /revoked/.test(reason),
    ),
  )
  await founder.json(['realm', 'lift', third.ready.peerId])
  await waitFor('it is back', async () => (await connectedTo(founder)).includes('three'), { withinMs: 60_000 })
})

test('the founder cannot be put out by the one that it promoted, and says why', async () => {
  const refused = await second.cli(['realm', 'revoke', 'one', '--yes', '--json'])
  expect(refused.code).toBe(1)
  expect(JSON.parse(refused.stderr)).toMatchObject({ code: 'FORBIDDEN', next: expect.any(String) })
  expect(await auditOf(second)).toContainEqual(
    expect.objectContaining({ action: 'revoke', subject: founder.ready.peerId, outcome: 'refused' }),
  )
})

test('an admin ends an agent of another, which is on record on both sides; a member is refused, which is too', async () => {
  const agent = await second.json(['agent', 'spawn', '--node', 'two'])
  await founder.json(['agent', 'kill', agent.id])
  const act = { action: 'kill an agent of another owner', subject: agent.id, outcome: 'done' }
  expect(await auditOf(second)).toContainEqual(expect.objectContaining({ ...act, by: founder.ready.peerId }))
  expect(await auditOf(founder)).toContainEqual(expect.objectContaining({ ...act, by: 'api' }))
  const own = await founder.json(['agent', 'spawn', '--node', 'one'])
  expect((await second.cli(['agent', 'kill', own.id])).stderr).toMatch(/not allowed/)
  expect(await auditOf(founder)).toContainEqual(
    expect.objectContaining({ action: 'call agent.kill', by: second.ready.peerId, outcome: 'refused' }),
  )
})

test('a token that was used up is refused, and the refusal is on record with the stranger', async () => {
  const { token } = await founder.json(['realm', 'invite'])
  await bed.start({ name: 'four', join: token })
  await expect(bed.start({ name: 'five', join: token })).rejects.toThrow(/TOKEN_USED_UP/)
  const entries = await auditOf(founder)
  expect(entries.find(({ action }) => action === 'a join')).toMatchObject({
    outcome: 'refused',
    by: expect.stringMatching(/^12D3KooW/),
    reason: expect.stringMatching(/^TOKEN_USED_UP/),
  })
  expect(JSON.stringify(entries)).not.toContain(token)
  const acts = entries.filter(({ by }) => by === 'api').map(({ action }) => action)
  expect(acts).toEqual([
    'invite 2 as member',
    'promote for member, observer',
    'demote',
    'revoke',
    'lift',
    'kill an agent of another owner',
    'invite 1 as member',
  ])
})
