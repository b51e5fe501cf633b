/**
 * What a node shows of its peers when something is wrong with them, with the way to them, or with itself: each told apart as far as
 * can be, by what `peers --json` prints. Real processes; the ways are real as well, and cut or slowed where that is needed.
 */
import { execFile } from 'node:child_process'
import { text } from 'node:stream/consumers'
import { promisify } from 'node:util'
import { afterAll, afterEach, beforeAll, describe, expect, test } from 'vitest'
import type { NodeStatusReport, PeerReport } from '../../src/base/report.ts'
import { openApi } from '../support/api.ts'
import { createMachines, withoutNamespaces, type Machine } from '../support/namespaces.ts'
import { createTestBed, type TestNode } from '../support/nodes.ts'
import { startSlowProxy } from '../support/slow-proxy.ts'
import { waitFor } from '../support/wait.ts'

/** Three missed probes of 1 s, then 4 s times log10 of the realm, and slack for a busy machine. */
const DOWN = { withinMs: 15_000, everyMs: 200 }
/** Five seconds of good answers after the peer has spoken. */
const RECOVERED = { withinMs: 20_000, everyMs: 200 }

const shownBy = async (node: TestNode, name: string): Promise<PeerReport> => {
  const { peers } = await node.json<{ peers: PeerReport[] }>(['peers'])
  const peer = peers.find((one) => one.name === name)
  if (!peer) throw new Error(`${node.name} does not know ${name}`)
  return peer
}

const everybodyAlive = (nodes: TestNode[]) =>
  waitFor(
    'everybody sees everybody alive',
    async () => {
      for (const node of nodes) {
        const { peers } = await node.json<{ peers: PeerReport[] }>(['peers'])
        if (peers.filter(({ state }) => state === 'alive').length !== nodes.length) return false
      }
      return true
    },
    RECOVERED,
  )

/** How many accusations a node has made. */
const accusationsBy = async (node: TestNode): Promise<number> => {
  const metrics = await text(await openApi(node, 'GET', '/metrics'))
  const lines = metrics.split('\n').filter((line) => line.startsWith('godel_mesh_accusations_total'))
  return lines.reduce((sum, line) => sum + Number(line.slice(line.lastIndexOf(' ') + 1)), 0)
}

const pause = (ms: number) => new Promise((resolve) => setTimeout(resolve, ms))

describe('a peer', () => {
  let bed = createTestBed()
  let nodes: [TestNode, TestNode, TestNode]
  beforeAll(async () => {
    nodes = (await bed.realm(['one', 'two', 'three'].map((name) => ({ name })))) as typeof nodes
    await everybodyAlive(nodes)
  }, 60_000)
  afterEach(async () => everybodyAlive(nodes), 30_000)
  afterAll(async () => {
    await bed.dispose()
    bed = createTestBed()
  }, 30_000)

  test('that was killed is down because nothing listens there; started again it is recovering, and then alive', async () => {
    const [one, two, three] = nodes
    await three.end('SIGKILL')
    for (const node of [one, two]) {
      const down = await waitFor(
        `${node.name} shows it as down`,
        async () => {
          const peer = await shownBy(node, 'three')
          return peer.state === 'down' && peer
        },
        DOWN,
      )
      expect(down.verdict).toMatchObject({ reason: 'accused' })
      expect(down.verdict!.accusers.toSorted()).toEqual([one.ready.peerId, two.ready.peerId].toSorted())
      expect(Object.values(down.verdict!.evidence)).toEqual(['refused', 'refused'])
    }
    expect((await one.cli(['peers'])).stdout).toMatch(/three +down .* refused /)
    nodes[2] = await three.restart()
    await waitFor('it is recovering', async () => (await shownBy(one, 'three')).state === 'recovering', RECOVERED)
    await waitFor('it is alive', async () => (await shownBy(one, 'three')).state === 'alive', RECOVERED)
    expect(await shownBy(one, 'three')).toMatchObject({ restarts: 1, restartedAtMs: expect.any(Number) })
  }, 90_000)

  test('that is started again at once is shown as restarted, and was neither down nor recovering', async () => {
    const [one, two, three] = nodes
    // On a busy machine a start may take longer than three probes.
    for (const node of [one, three]) await node.json(['configure', '--failure-threshold', '10', '--scope', 'node'])
    const before = (await shownBy(one, 'two')).restarts
    const states = new Set<string>()
    await two.end('SIGKILL')
    const back = two.restart()
    await waitFor('it is seen to have restarted', async () => {
      const peer = await shownBy(one, 'two')
      states.add(peer.state)
      return peer.restarts > before
    })
    nodes[1] = await back
    const peer = await shownBy(three, 'two')
    expect([...states, peer.state]).not.toContain('down')
    expect(peer.state).toBe('alive')
    expect(Math.abs(peer.restartedAtMs! - Date.now())).toBeLessThan(20_000)
    for (const node of [one, three]) await node.json(['configure', '--failure-threshold', '3', '--scope', 'node'])
  }, 60_000)

  test('that is stopped accepts and gives no answer; when it wakes it accuses nobody, and is back without a restart', async () => {
    const [one, two, three] = nodes
    const before = await accusationsBy(two)
    const { restarts } = await shownBy(one, 'two')
    two.process.kill('SIGSTOP')
    try {
      for (const node of [one, three]) {
        const down = await waitFor(
          `${node.name} shows it as down`,
          async () => {
            const peer = await shownBy(node, 'two')
            return peer.state === 'down' && peer
          },
          DOWN,
        )
        expect(Object.values(down.verdict!.evidence)).toEqual(['no-answer', 'no-answer'])
      }
    } finally {
      two.process.kill('SIGCONT')
    }
    const { detector } = await two.json<NodeStatusReport>(['status'])
    const states = (await two.json<{ peers: PeerReport[] }>(['peers'])).peers.map(({ state }) => state)
    expect(states).toEqual(['alive', 'alive', 'alive'])
    expect(detector.watched).toBe(2)
    await waitFor('it is recovering', async () => (await shownBy(one, 'two')).state === 'recovering', RECOVERED)
    await everybodyAlive(nodes)
    expect(await accusationsBy(two)).toBe(before)
    expect((await shownBy(one, 'two')).restarts).toBe(restarts)
  }, 90_000)

  test('that gets too little of its processor accuses nobody, and says why', async () => {
    const [one, , three] = nodes
    const before = await accusationsBy(three)
    // Something for it to be wrong about: one of its subjects is stopped for longer than three probes take.
    one.process.kill('SIGSTOP')
    try {
      for (let round = 0; round < 8; round++) {
        three.process.kill('SIGSTOP')
        await pause(600)
        three.process.kill('SIGCONT')
        await pause(200)
      }
      const { detector } = await three.json<NodeStatusReport>(['status'])
      expect(detector).toMatchObject({ slow: true, why: 'loop-lag' })
      expect(await accusationsBy(three)).toBe(before)
    } finally {
      three.process.kill('SIGCONT')
      one.process.kill('SIGCONT')
    }
    await waitFor('it trusts itself again', async () => {
      return !(await three.json<NodeStatusReport>(['status'])).detector.slow
    })
  }, 60_000)

  test('is judged by settings that change while the node runs', async () => {
    const [one, two] = nodes
    const changed = await two.json([
      'configure',
      '--failure-threshold',
      '5',
      '--recovery-time',
      '2s',
      '--scope',
      'node',
    ])
    expect(changed).toEqual({
      healthCheckIntervalMs: 1_000,
      failureThreshold: 5,
      recoveryTimeMs: 2_000,
      source: 'node',
    })
    expect(await two.json(['configure'])).toEqual(changed)
    expect(await one.json(['configure'])).toMatchObject({ failureThreshold: 3 })
    const refused = await two.cli(['configure', '--failure-threshold', '5', '--scope', 'realm', '--json'])
    expect([refused.code, refused.stderr]).toEqual([1, expect.stringContaining('FORBIDDEN')])
    const forAll = await one.json(['configure', '--failure-threshold', '4'])
    expect(forAll).toMatchObject({ failureThreshold: 4, recoveryTimeMs: 5_000, source: 'realm' })
    await waitFor('the realm has taken it up, over what a node was told before', async () => {
      const { failureThreshold, source } = await two.json(['configure'])
      return failureThreshold === 4 && source === 'realm'
    })
    const wrong = await two.cli(['configure', '--recovery-time', 'soon'])
    expect([wrong.code, wrong.stderr]).toEqual([2, expect.stringContaining('recoveryTime')])
  }, 30_000)
})

const isOff = await withoutNamespaces('a silent link and a slow link between two nodes')
const run = promisify(execFile)

describe.skipIf(isOff)('the way to a peer', () => {
  const names = ['near', 'far', 'third']
  const bed = createTestBed()
  let site: Awaited<ReturnType<typeof createMachines>>
  let machines: Machine[]
  let nodes: [TestNode, TestNode, TestNode]
  let proxy: Awaited<ReturnType<typeof startSlowProxy>>

  const nft = (machine: Machine, ...lines: string[]) => {
    const [file, ...args] = [...machine.prefix, 'nft', lines.join('; ')]
    return run(file!, args)
  }

  /** The far node reaches the near one through the test's proxy alone, and is dialled by nobody. */
  beforeAll(async () => {
    site = await createMachines(names)
    machines = site.machines
    const [near, far, third] = machines as [Machine, Machine, Machine]
    // The proxy is on the test's side of the cables, where the near node listens as well.
    const side = '198.19.0.2'
    const first = await bed.start({ name: 'near', machine: near, args: ['--listen', `/ip4/${side}/tcp/0`] })
    const portOn = (address: string) =>
      Number(first.ready.listen.find((one) => one.startsWith(`/ip4/${address}/`))!.split('/')[4])
    proxy = await startSlowProxy(portOn(side), { host: side })
    await nft(
      far,
      'add table ip way',
      'add chain ip way out { type nat hook output priority -100 ; }',
      `add rule ip way out ip daddr ${near.address} tcp dport ${portOn(near.address)} dnat to ${site.testAddress}:${proxy.port}`,
      'add chain ip way after { type nat hook postrouting priority 100 ; }',
      'add rule ip way after oifname test snat to 198.19.1.2',
      'add chain ip way in { type filter hook input priority 0 ; }',
      `add rule ip way in ip saddr ${near.address} tcp flags & (syn|ack) == syn drop`,
    )
    const { token } = await first.json(['realm', 'invite', '--uses', '2'])
    const others = [far, third].map((machine) => bed.start({ name: machine.name, machine, join: token }))
    nodes = [first, ...(await Promise.all(others))] as typeof nodes
    await everybodyAlive(nodes)
  }, 60_000)
  afterAll(async () => {
    await bed.dispose()
    proxy?.close()
    await site?.dispose()
  }, 30_000)

  test('that is slow is shown with its round trip, and the peer stays alive', async () => {
    const [near, far] = nodes
    const before = (await accusationsBy(near)) + (await accusationsBy(far))
    proxy.setDelay(250, 100)
    const slow = await waitFor('the round trip is measured', async () => {
      const peer = await shownBy(near, 'far')
      return (peer.rttMs ?? 0) > 400 && peer
    })
    expect(slow).toMatchObject({ state: 'alive', link: 'direct' })
    await pause(5_000)
    for (const [node, name] of [
      [near, 'far'],
      [far, 'near'],
    ] as const) {
      const peer = await shownBy(node, name)
      expect(peer).toMatchObject({ state: 'alive', link: 'direct' })
      expect(peer.rttMs).toBeGreaterThan(400)
      expect(peer.rttMs).toBeLessThan(1_000)
    }
    expect((await accusationsBy(near)) + (await accusationsBy(far))).toBe(before)
    expect((await near.cli(['peers'])).stdout).toMatch(/far +alive .* ms away /)
    proxy.setDelay(0)
    await waitFor('it is quick again', async () => ((await shownBy(near, 'far')).rttMs ?? 999) < 100)
  }, 60_000)

  test('that is silent in one direction is shown as indirect where others get an answer, and the peer stays alive', async () => {
    const [near, far, third] = nodes
    const [before, { restarts }] = [await accusationsBy(near), await shownBy(near, 'far')]
    proxy.mute('forth', true)
    for (const [node, name] of [
      [near, 'far'],
      [far, 'near'],
    ] as const)
      await waitFor(`${node.name} hears of ${name} through others`, async () => {
        return (await shownBy(node, name)).link === 'indirect'
      })
    await pause(10_000)
    expect(await shownBy(near, 'far')).toMatchObject({ state: 'alive', link: 'indirect', restarts })
    expect(await shownBy(third, 'far')).toMatchObject({ state: 'alive', link: 'direct' })
    expect(await accusationsBy(near)).toBe(before)
    expect((await near.cli(['peers'])).stdout).toMatch(/far +alive .* answers others only /)
    proxy.mute('forth', false)
    proxy.reset()
    await waitFor('the link is direct again', async () => (await shownBy(near, 'far')).link === 'direct', RECOVERED)
  }, 60_000)

  test('that is silent for everybody brings the peer down: it does not answer, nobody is told more', async () => {
    const [near, , third] = nodes
    await machines[1]!.cut()
    proxy.mute('forth', true)
    proxy.mute('back', true)
    const down = await waitFor(
      'far is down',
      async () => {
        const peer = await shownBy(third, 'far')
        return peer.state === 'down' && peer
      },
      DOWN,
    )
    const met = down.verdict!.evidence
    expect(Object.keys(met).toSorted()).toEqual([near.ready.peerId, third.ready.peerId].toSorted())
    for (const one of Object.values(met)) expect(['no-answer', 'unreachable']).toContain(one)
    await machines[1]!.mend()
    proxy.mute('forth', false)
    proxy.mute('back', false)
    proxy.reset()
    await everybodyAlive(nodes)
  }, 90_000)
})
