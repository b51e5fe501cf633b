/** Nodes that end: killed, stopped, started again. What was acknowledged is there; what they ran does not outlive them. */
import { afterEach, describe, expect, test } from 'vitest'
import { withoutSandbox } from '../support/isolation.ts'
import { createTestBed, openCli, type TestNode } from '../support/nodes.ts'
import { processesWith } from '../support/processes.ts'
import { waitFor } from '../support/wait.ts'

let bed = createTestBed()
afterEach(async () => {
  await bed.dispose()
  bed = createTestBed()
}, 30_000)

/** Probes, suspicion and two accusers: 3 missed probes of 1 s and up to 1 s each, then 4 s times log10 of the realm. */
const DETECTOR_BOUND_MS = 12_000

const three = async (): Promise<[TestNode, TestNode, TestNode]> => {
  const specs = ['one', 'two', 'three'].map((name) => ({ name, args: ['--capacity', '4'] }))
  const nodes = await bed.realm(specs, 'admin')
  await waitFor('every node sees three', async () => {
    const views = await Promise.all(nodes.map((node) => node.json(['peers'])))
    return views.every((view) => view.peers.filter((peer: { state: string }) => peer.state === 'alive').length === 3)
  })
  return nodes as [TestNode, TestNode, TestNode]
}

const states = async (node: TestNode): Promise<Record<string, string>> => {
  const { peers } = await node.json(['peers'])
  return Object.fromEntries(peers.map((peer: { name: string; state: string }) => [peer.name, peer.state]))
}

describe('a node that is killed', () => {
  test('has its agents shown as lost by every other node, and is the same peer with its agents when it is back', async () => {
    const [one, two, three_] = await three()
    const there = await one.json(['agent', 'spawn', '--node', 'three', '--label', 'keep=me'])
    const here = await one.json(['agent', 'spawn', '--node', 'two'])
    await one.cli(['agent', 'exec', there.id, '--', 'sh', '-c', 'echo kept > file'])
    await three_.end('SIGKILL')

    for (const node of [one, two]) {
      const lost = await waitFor(
        `${node.name} shows the agent as lost`,
        async () => {
          const { agents } = await node.json(['agent', 'list', '--status', 'lost'])
          return agents.find((agent: { id: string }) => agent.id === there.id)
        },
        { withinMs: DETECTOR_BOUND_MS },
      )
      expect(lost.reason).toMatch(/three/)
      expect(await node.json(['agent', 'show', there.id])).toMatchObject({ status: 'lost', labels: { keep: 'me' } })
    }
    expect((await two.cli(['agent', 'exec', here.id, '--', 'echo', 'still here'])).stdout).toBe('still here\n')
    const refused = await one.cli(['agent', 'exec', there.id, '--json', '--', 'true'])
    expect(refused.stderr).toContain('AGENT_LOST')

    const back = await three_.restart()
    expect(back.ready.peerId).toBe(three_.ready.peerId)
    const again = await waitFor('the agent is back', async () => {
      const agent = await two.json(['agent', 'show', there.id])
      return agent.status === 'idle' && agent
    })
    expect(again).toMatchObject({ id: there.id, epoch: 1, hostName: 'three' })
    expect((await one.cli(['agent', 'exec', there.id, '--', 'cat', 'file'])).stdout).toBe('kept\n')
  }, 90_000)

  test('the moment after it answered a spawn still has the agent', async () => {
    const [node] = (await bed.realm([{ name: 'alone' }])) as [TestNode]
    const agent = await node.json(['agent', 'spawn', '--role', 'durable'])
    await node.end('SIGKILL')
    const back = await node.restart()
    const { agents } = await back.json(['agent', 'list'])
    expect(agents).toMatchObject([{ id: agent.id, role: 'durable', status: 'idle' }])
  }, 60_000)
})

describe('a node that is stopped', () => {
  test('is gone from every view within two seconds', async () => {
    const [one, two, three_] = await three()
    await three_.end('SIGTERM')
    expect(three_.process.exitCode).toBe(0)
    for (const node of [one, two])
      await waitFor(`${node.name} has heard`, async () => ((await states(node)).three ?? 'left') === 'left', {
        withinMs: 2_000,
      })
  }, 60_000)
})

describe.skipIf(withoutSandbox('no process outlives its node'))('no process outlives its node', () => {
  for (const [how, signal] of [
    ['kill -9', 'SIGKILL'],
    ['a stop', 'SIGTERM'],
  ] as const)
    test(`after ${how}, counted`, async () => {
      const [node] = (await bed.realm([{ name: 'alone' }])) as [TestNode]
      const agent = await node.json(['agent', 'spawn'])
      expect(agent.isolation).toBe('bwrap')
      const mark = `godel-outlive-${process.pid}-${signal}`
      const script = `(setsid sleep 987 ${mark} || setsid sh -c 'while :; do sleep 1; done' ${mark}) & while :; do sleep 1; done # ${mark}`
      const exec = openCli(['agent', 'exec', agent.id, '--data-dir', node.dataDir, '--', 'sh', '-c', script, mark])
      await waitFor('the tree runs', () => processesWith(mark).length >= 3)
      await node.end(signal)
      await waitFor('nothing of it is left', () => processesWith(mark).filter((pid) => pid !== exec.pid).length === 0, {
        withinMs: 5_000,
      })
      exec.kill('SIGKILL')
    }, 60_000)
})
