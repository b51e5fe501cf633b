/** Capacity holds, whatever the advertisements say and however many ask at the same moment. */
import { afterAll, beforeAll, expect, test } from 'vitest'
import { createTestBed, type TestNode } from '../support/nodes.ts'
import { spawnOver } from '../support/api.ts'
import { waitFor } from '../support/wait.ts'

const bed = createTestBed()
let nodes: TestNode[]

beforeAll(async () => {
  nodes = await bed.realm(['one', 'two', 'three'].map((name) => ({ name, args: ['--capacity', '4'] })))
  await waitFor('every node sees three', async () => {
    const views = await Promise.all(nodes.map((node) => node.json(['peers'])))
    return views.every((view) => view.peers.length === 3)
  })
}, 60_000)
afterAll(bed.dispose, 30_000)

const liveByHost = async (node: TestNode): Promise<Record<string, number>> => {
  const { agents, unanswered } = await node.json(['agent', 'list'])
  expect(unanswered).toEqual([])
  const counts: Record<string, number> = {}
  for (const agent of agents) counts[agent.hostName] = (counts[agent.hostName] ?? 0) + 1
  return counts
}

test('one slot after another of an idle node is found from outside, to the last', async () => {
  const agents = []
  for (let slot = 0; slot < 4; slot++) agents.push(await nodes[0]!.json(['agent', 'spawn', '--node', 'two']))
  expect(agents.map((agent) => agent.hostName)).toEqual(['two', 'two', 'two', 'two'])
  for (const agent of agents) await nodes[0]!.json(['agent', 'kill', agent.id])
})

test('a spawn that fails for good leaves no slot taken and no files waiting', async () => {
  for (let attempt = 0; attempt < 5; attempt++) {
    const { status, body } = await spawnOver(nodes[0]!, {
      requirements: { node: 'two' },
      workspace: { git: 'http://127.0.0.1:1/nothing.git' },
    })
    expect([status, body.code]).toEqual([422, 'WORKSPACE_FAILED'])
  }
  await waitFor('its slots are free', async () => (await nodes[1]!.json(['status'])).capacity.running === 0)
})

test('three nodes that spawn forty agents at once fill twelve slots exactly, and every refusal is typed', async () => {
  const attempts = Array.from({ length: 40 }, (_, index) => spawnOver(nodes[index % 3]!))
  const results = await Promise.all(attempts)
  const placed = results.filter((result) => result.status === 201)
  const refused = results.filter((result) => result.status !== 201)
  expect(placed).toHaveLength(12)
  expect(new Set(refused.map((result) => result.body.code))).toEqual(new Set(['NO_CANDIDATE']))
  for (const node of nodes) expect(await liveByHost(node)).toEqual({ one: 4, two: 4, three: 4 })
}, 60_000)

test('a thirteenth agent is refused and says that each node is full', async () => {
  const refused = await nodes[1]!.cli(['agent', 'spawn', '--json'])
  expect(refused.code).not.toBe(0)
  const problem = JSON.parse(refused.stderr)
  expect(problem.code).toBe('NO_CANDIDATE')
  expect(problem.considered).toHaveLength(3)
  for (const entry of problem.considered) expect(entry.reasons.join()).toMatch(/full/i)
})

test('a slot that was freed on one node is found from another at once', async () => {
  const { agents } = await nodes[0]!.json(['agent', 'list', '--node', 'three'])
  await nodes[0]!.json(['agent', 'kill', agents[0].id])
  const agent = await nodes[1]!.json(['agent', 'spawn'])
  expect(agent.hostName).toBe('three')
})
