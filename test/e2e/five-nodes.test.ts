/** Five nodes of which some fall silent or die: agents are found through the homes that are left, and slots are used up exactly. */
import { afterAll, beforeAll, expect, test } from 'vitest'
import { rendezvous } from '../../src/base/hash.ts'
import { limits } from '../../src/base/limits.ts'
import { callApi, spawnOver } from '../support/api.ts'
import { createTestBed, type TestNode } from '../support/nodes.ts'
import { waitFor } from '../support/wait.ts'

const SLOTS = 6
const SLACK_MS = 2_000
const bed = createTestBed()
let nodes: TestNode[]

const peersOf = async (node: TestNode): Promise<{ name: string; state: string; running: number }[]> =>
  (await callApi(node, 'GET', '/v1/peers')).body.peers

const waitForStates = (what: string, watchers: TestNode[], states: Record<string, string>) =>
  waitFor(
    what,
    async () => {
      for (const node of watchers) {
        const seen = new Map((await peersOf(node)).map(({ name, state }) => [name, state]))
        if (Object.entries(states).some(([name, state]) => seen.get(name) !== state)) return false
      }
      return true
    },
    { withinMs: 20_000 },
  )

beforeAll(async () => {
  nodes = await bed.realm(['a', 'b', 'c', 'd', 'e'].map((name) => ({ name, args: ['--capacity', String(SLOTS)] })))
  await waitForStates('everybody sees five', nodes, { a: 'alive', b: 'alive', c: 'alive', d: 'alive', e: 'alive' })
}, 60_000)
afterAll(bed.dispose, 30_000)

test('five nodes that spawn as many agents as there are slots place every one of them', async () => {
  const count = nodes.length * SLOTS
  const answers = await Promise.all(Array.from({ length: count }, (_, index) => spawnOver(nodes[index % 5]!)))
  expect(answers.filter(({ status }) => status !== 201).map(({ body }) => body)).toEqual([])
  for (const node of nodes) {
    const { agents, unanswered } = (await callApi(node, 'GET', '/v1/agents')).body
    expect(unanswered).toEqual([])
    for (const { name } of nodes)
      expect(agents.filter((agent: { hostName: string }) => agent.hostName === name)).toHaveLength(SLOTS)
  }
  for (const { body } of answers.slice(5)) await callApi(nodes[0]!, 'DELETE', `/v1/agents/${body.id}`)
}, 60_000)

test('a node that stands still is named by a list in time, and its agents are shown from their homes', async () => {
  const [asking, stopped] = nodes as [TestNode, TestNode]
  const { body: agent } = await spawnOver(asking, { requirements: { node: stopped.name } })
  stopped.process.kill('SIGSTOP')
  try {
    const start = performance.now()
    const { agents, unanswered } = (await callApi(asking, 'GET', '/v1/agents')).body
    expect(performance.now() - start).toBeLessThan(limits.listTimeoutMs + SLACK_MS)
    expect(unanswered).toMatchObject([{ node: stopped.name }])
    const shown = agents.find(({ id }: { id: string }) => id === agent.id)
    expect(shown).toMatchObject({ hostName: stopped.name, reason: expect.stringMatching(/answer/) })
    const looking = performance.now()
    expect((await callApi(nodes[2]!, 'GET', `/v1/agents/${agent.id}`)).body).toMatchObject({ hostName: stopped.name })
    expect(performance.now() - looking).toBeLessThan(2 * limits.lookupTimeoutMs + SLACK_MS)
  } finally {
    stopped.process.kill('SIGCONT')
  }
  await waitForStates('it is back', nodes, { [stopped.name]: 'alive' })
  expect((await callApi(asking, 'GET', `/v1/agents/${agent.id}`)).body).toMatchObject({ status: 'idle', epoch: 1 })
}, 60_000)

test('an agent is found from everywhere after two of its three homes and then its host have died', async () => {
  const [first] = nodes as [TestNode]
  const peers = nodes.map((node) => node.ready.peerId)
  const nodeOf = (peer: string) => nodes.find((node) => node.ready.peerId === peer)!
  // The host is to be no home, so that it is the homes alone that know of it in the end.
  const placed = async (): Promise<{ id: string; host: string; homes: string[] }> => {
    for (;;) {
      const { body } = await spawnOver(first)
      const homes = rendezvous(body.id, peers, limits.agentHomes)
      if (!homes.includes(body.host)) return { ...body, homes }
      await callApi(first, 'DELETE', `/v1/agents/${body.id}`)
    }
  }
  const { id, host, homes } = await placed()
  const dead: TestNode[] = []
  for (const peer of [...homes.slice(0, 2), host]) {
    const victim = nodeOf(peer)
    await victim.end('SIGKILL')
    dead.push(victim)
    const rest = nodes.filter((node) => !dead.includes(node))
    await waitForStates(`${victim.name} is down`, rest, { [victim.name]: 'down' })
    const expected = peer === host ? 'lost' : 'idle'
    for (const node of rest)
      await waitFor(`${node.name} finds it ${expected}`, async () => {
        const listed = (await callApi(node, 'GET', '/v1/agents')).body.agents.find(
          (agent: { id: string }) => agent.id === id,
        )
        const shown = (await callApi(node, 'GET', `/v1/agents/${id}`)).body
        return listed?.status === expected && shown.status === expected
      })
  }
  const back = await nodeOf(host).restart()
  const rest = [...nodes.filter((node) => !dead.includes(node)), back]
  for (const node of rest)
    await waitFor(`${node.name} finds it again`, async () => {
      return (await callApi(node, 'GET', `/v1/agents/${id}`)).body.status === 'idle'
    })
}, 90_000)
