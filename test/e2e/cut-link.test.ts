/**
 * A cable that is pulled: nobody is told, nothing is refused, nothing arrives. Each node on a machine of its own, on one switch.
 * Whatever was under way ends in bounded time with a typed answer, and after healing there is one agent.
 */
import { once } from 'node:events'
import { afterAll, beforeAll, describe, expect, test } from 'vitest'
import { limits } from '../../src/base/limits.ts'
import { callApi, openApi, spawnOver } from '../support/api.ts'
import { createMachines, withoutNamespaces, type Machine } from '../support/namespaces.ts'
import { createTestBed, type TestNode } from '../support/nodes.ts'
import { processesWith } from '../support/processes.ts'
import { startSlowGit } from '../support/slow-git.ts'
import { waitFor } from '../support/wait.ts'

/** Three missed probes, then the time to answer an accusation: alone a node waits six times as long as with others. */
const DOWN_MS = 10_000
const DOWN_ALONE_MS = 22_000
/** From the mended cable to the same view on every node; seeds are dialled again after a doubling wait. */
const HEALED_MS = 20_000
const SLACK_MS = 2_000

const names = ['caller', 'first', 'second', 'other']
const bed = createTestBed()
let site: Awaited<ReturnType<typeof createMachines>> | undefined
let machines: Machine[]
let nodes: TestNode[]

const isOff = await withoutNamespaces('agents across a cable that is pulled')

beforeAll(async () => {
  if (isOff) return
  site = await createMachines(names)
  machines = site.machines
  const inPool = ['first', 'second']
  const argsOf = (name: string) => (inPool.includes(name) ? ['--label', 'pool=x'] : [])
  const specs = machines.map((machine) => ({ name: machine.name, machine, args: argsOf(machine.name) }))
  nodes = await bed.realm(specs, 'admin')
  await everybodyUp()
}, 60_000)
afterAll(async () => {
  await bed.dispose()
  await site?.dispose()
}, 30_000)

const stateOf = async (seenFrom: TestNode, name: string): Promise<string> => {
  const { body } = await callApi(seenFrom, 'GET', '/v1/peers')
  return body.peers.find((peer: { name: string }) => peer.name === name)?.state
}

const everybodyUp = () =>
  waitFor(
    'everybody sees everybody',
    async () => {
      for (const node of nodes) for (const name of names) if ((await stateOf(node, name)) !== 'alive') return false
      return true
    },
    { withinMs: HEALED_MS },
  )

const timed = async <T>(work: Promise<T>): Promise<{ result: T; tookMs: number }> => {
  const start = performance.now()
  return { result: await work, tookMs: performance.now() - start }
}

/** Every node lists the agent once, as it is, and shows the same. */
const oneAgent = (id: string, expected: Record<string, unknown>) =>
  waitFor(
    `one live ${id} everywhere`,
    async () => {
      for (const node of nodes) {
        const { body } = await callApi(node, 'GET', '/v1/agents')
        const live = body.agents.filter((agent: { id: string }) => agent.id === id)
        if (body.unanswered.length > 0 || live.length !== 1) return false
        expect(live[0]).toMatchObject(expected)
        expect((await callApi(node, 'GET', `/v1/agents/${id}`)).body).toMatchObject(expected)
      }
      return true
    },
    { withinMs: HEALED_MS },
  )

const idOf = (last: string) => `ag_0192f0c1-2345-7abc-8def-0123456789a${last}`

describe.skipIf(isOff)('a cable that is pulled', () => {
  test('at the target of a spawn: the agent is placed elsewhere under a second epoch, and is one after healing', async () => {
    const [caller] = nodes as [TestNode]
    const git = await startSlowGit()
    const id = idOf('1')
    try {
      const workspace = { git: git.url(site!.testAddress) }
      const answer = spawnOver(caller, { id, workspace, requirements: { nodeLabels: { pool: 'x' } } })
      await git.asked
      const first = await waitFor('a target has begun', async () => {
        const { body } = await callApi(caller, 'GET', `/v1/agents/${id}`)
        return body.status === 'starting' && nodes.find(({ name }) => name === body.hostName)
      })
      const machine = machines.find(({ name }) => name === first.name)!
      await machine.cut()
      git.release()
      const { result, tookMs } = await timed(answer)
      expect(result.body).toMatchObject({ id, epoch: 2, status: 'idle' })
      expect(result.body.hostName).not.toBe(first.name)
      expect(tookMs).toBeLessThan(DOWN_MS + SLACK_MS)
      await waitFor('the first copy runs too, where nobody can tell it', async () => {
        const { agents } = (await callApi(first, 'GET', '/v1/agents')).body
        return agents.some((agent: { epoch: number; status: string }) => agent.epoch === 1 && agent.status === 'idle')
      })
      await machine.mend()
      await everybodyUp()
      await oneAgent(id, { epoch: 2, hostName: result.body.hostName, status: 'idle' })
    } finally {
      git.close()
    }
  }, 60_000)

  test('at the caller of a spawn: it is told that the outcome is in doubt, and finds the same agent when it asks again', async () => {
    const [caller, first] = nodes as [TestNode, TestNode]
    const git = await startSlowGit()
    const id = idOf('2')
    try {
      const request = { id, workspace: { git: git.url(site!.testAddress) }, requirements: { node: 'first' } }
      const answer = spawnOver(caller, request)
      await git.asked
      await machines[0]!.cut()
      git.release()
      await waitFor('the target goes on by itself', async () => {
        return (await callApi(first, 'GET', `/v1/agents/${id}`)).body.status === 'idle'
      })
      const { result, tookMs } = await timed(answer)
      expect(result.body).toMatchObject({ code: 'SPAWN_IN_DOUBT', agent: id })
      expect(tookMs).toBeLessThan(DOWN_ALONE_MS + SLACK_MS)
      await machines[0]!.mend()
      await everybodyUp()
      const again = await spawnOver(caller, request)
      expect(again).toMatchObject({ status: 201, body: { id, epoch: 1, hostName: 'first' } })
      await oneAgent(id, { epoch: 1, hostName: 'first', status: 'idle' })
    } finally {
      git.close()
    }
  }, 60_000)

  test('at the host of a running command: lists name the silent host in time, the reader hears of the loss', async () => {
    const [caller, first, second] = nodes as [TestNode, TestNode, TestNode]
    const { body: agent } = await spawnOver(caller, { requirements: { node: 'second' } })
    const mark = `godel-cut-${process.pid}`
    const command = { command: 'sh', args: ['-c', `echo up; while :; do sleep 1; done # ${mark}`] }
    const exec = await openApi(caller, 'POST', `/v1/agents/${agent.id}/exec`, command)
    let said = ''
    exec.setEncoding('utf8').on('data', (part: string) => (said += part))
    await waitFor('the command runs', () => said.includes('"output"') && processesWith(mark).length > 0)
    await machines[2]!.cut()

    const { result, tookMs } = await timed(callApi(first, 'GET', '/v1/agents'))
    expect(tookMs).toBeLessThan(limits.listTimeoutMs + SLACK_MS)
    expect(result.body.unanswered).toMatchObject([{ node: 'second' }])
    const listed = result.body.agents.find((one: { id: string }) => one.id === agent.id)
    expect(listed).toMatchObject({ hostName: 'second', reason: expect.stringMatching(/answer/) })
    const looked = await timed(callApi(first, 'GET', `/v1/agents/${agent.id}`))
    expect(looked.result.body).toMatchObject({ id: agent.id, hostName: 'second' })
    expect(looked.tookMs).toBeLessThan(3 * limits.lookupTimeoutMs)

    await timed(once(exec, 'end')).then((ended) => expect(ended.tookMs).toBeLessThan(DOWN_MS + SLACK_MS))
    const last = JSON.parse(said.trim().split('\n').at(-1)!)
    expect(last).toMatchObject({ type: 'error', problem: { code: 'STREAM_LOST' } })
    await waitFor('the agent is shown as lost', async () => {
      return (await callApi(caller, 'GET', `/v1/agents/${agent.id}`)).body.status === 'lost'
    })
    await waitFor('the command, which nobody reads, has ended', () => processesWith(mark).length === 0, {
      withinMs: DOWN_ALONE_MS,
    })
    await machines[2]!.mend()
    await everybodyUp()
    await oneAgent(agent.id, { epoch: 1, hostName: 'second', status: 'idle' })
    expect((await second.cli(['agent', 'exec', agent.id, '--', 'echo', 'back'])).stdout).toBe('back\n')
  }, 90_000)
})
