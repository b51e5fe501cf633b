/**
 * The same course of events with real nodes (libp2p on loopback, in this process) and with simulated ones: hops of what is said,
 * and bytes on the wire. Times are compared too, but with many real nodes on few cores they measure the queue for the
 * processor, so the part of a core that was used stands beside them.
 */
import { hash } from 'node:crypto'
import { subscribe, unsubscribe } from 'node:diagnostics_channel'
import type { Socket } from 'node:net'
import type { Capacity } from '../../src/base/advertisement.ts'
import { limits } from '../../src/base/limits.ts'
import { silentLog } from '../../src/base/log.ts'
import { silentMeter } from '../../src/base/meter.ts'
import { createNodeKey } from '../../src/identity/node-key.ts'
import { startMesh, type Mesh } from '../../src/mesh/mesh.ts'
import type { View } from '../../src/mesh/view.ts'
import { startNet, type Net } from '../../src/net/net.ts'
import { createRealClock } from '../../src/node/real-clock.ts'
import { openMemoryStore } from '../../src/store/memory.ts'
import { traitsOf } from '../support/mesh.ts'
import { spreadOf } from './measure.ts'
import { createWorld } from './world.ts'

/** A realm that can be watched, real or simulated. Nodes are numbered in the order in which they came. */
interface Bed {
  readonly nodes: BedNode[]
  /** Brings one node more up, which finds the realm through the first. */
  join(): Promise<void>
  leave(node: BedNode): Promise<void>
  /** All that was written to sockets so far, by everybody. */
  bytes(): number
  /** Lets time pass, at most `ms`, until `done`. */
  wait(ms: number, done?: () => boolean): Promise<void>
  nowMs(): number
  readonly hops: HopCount
  close(): Promise<void>
}

interface BedNode {
  readonly peer: string
  readonly view: View
  readonly capacity: { -readonly [K in keyof Capacity]: Capacity[K] }
  advertise(): void
  /** Up to its leaving. */
  isUp: boolean
}

export interface BedFigures {
  idleBytesPerNodePerSecond: number
  changingBytesPerNodePerSecond: number
  bytesPerChangePerNode: number
  changeHopsMean: number
  changeHopsMax: number
  changeP50Ms: number
  changeP99Ms: number
  leavingBytesPerNodePerSecond: number
  leaveHopsMean: number
  leaveP99Ms: number
  joiningBytesPerNodePerSecond: number
  joinHopsMean: number
  joinFullViewP50Ms: number
  utilisation: number
}

/** How many hops each message took to each node, from who passed it on. */
interface HopCount {
  published(peer: string, bytes: Uint8Array): void
  received(peer: string, from: string, bytes: Uint8Array): void
  /** All first deliveries since the last call. */
  take(): number[]
}

const createHopCount = (): HopCount => {
  let byMessage = new Map<string, Map<string, number>>()
  const of = (bytes: Uint8Array): Map<string, number> => {
    const key = hash('sha1', bytes, 'hex')
    const found = byMessage.get(key) ?? new Map<string, number>()
    byMessage.set(key, found)
    return found
  }
  return {
    published(peer, bytes) {
      const hops = of(bytes)
      if (!hops.has(peer)) hops.set(peer, 0)
    },
    received(peer, from, bytes) {
      const hops = of(bytes)
      const before = hops.get(from)
      if (before !== undefined && !hops.has(peer)) hops.set(peer, before + 1)
    },
    take() {
      const all = [...byMessage.values()].flatMap((hops) => [...hops.values()].filter((count) => count > 0))
      byMessage = new Map()
      return all
    },
  }
}

/** A net whose gossip is watched. */
const watched = (net: Net, hops: HopCount): Net => ({
  ...net,
  pubsub: {
    publish(topic, bytes) {
      hops.published(net.peer, bytes)
      return net.pubsub.publish(topic, bytes)
    },
    subscribe: (topic, handler, guests) =>
      net.pubsub.subscribe(
        topic,
        (bytes, from) => {
          hops.received(net.peer, from, bytes)
          return handler(bytes, from)
        },
        guests,
      ),
  },
})

const openRealBed = async (count: number): Promise<Bed> => {
  const clock = createRealClock()
  const sockets = new Set<Socket>()
  const closedBytes = { sum: 0 }
  const onSocket = (message: unknown): void => {
    const { socket } = message as { socket: Socket }
    sockets.add(socket)
    socket.once('close', () => {
      closedBytes.sum += socket.bytesWritten
      sockets.delete(socket)
    })
  }
  for (const name of ['net.client.socket', 'net.server.socket']) subscribe(name, onSocket)
  const hops = createHopCount()
  const nodes: BedNode[] = []
  const running = new Map<BedNode, { mesh: Mesh; net: Net }>()
  let token: string | undefined

  const join = async (): Promise<void> => {
    const key = createNodeKey()
    const rootKey = createNodeKey()
    const common = { key, limits, clock, log: silentLog, meter: silentMeter }
    const net = watched(await startNet(common, { listen: ['/ip4/127.0.0.1/tcp/0'] }), hops)
    const capacity: BedNode['capacity'] = { status: 'available', currentLoad: 0, running: 0, maxConcurrent: 8 }
    const mesh = await startMesh(
      {
        ...common,
        net,
        store: openMemoryStore(),
        capacity: () => ({ ...capacity }),
        traits: traitsOf(`node-${nodes.length}`),
        rootKey: () => Promise.resolve(rootKey),
      },
      token === undefined ? { realm: 'bed', bootstrap: [] } : { join: token, bootstrap: [] },
    )
    token ??= await mesh.invite({ uses: count + 50, ttlMs: 3_600_000, role: 'member' })
    const node: BedNode = { peer: net.peer, view: mesh.view, capacity, advertise: mesh.advertise, isUp: true }
    nodes.push(node)
    running.set(node, { mesh, net })
  }

  const end = async (node: BedNode, isLeaving: boolean): Promise<void> => {
    const { mesh, net } = running.get(node)!
    running.delete(node)
    node.isUp = false
    if (isLeaving) await mesh.leave()
    await mesh.close()
    await net.close()
  }

  return {
    nodes,
    join,
    leave: (node) => end(node, true),
    bytes: () => closedBytes.sum + [...sockets].reduce((sum, socket) => sum + socket.bytesWritten, 0),
    async wait(ms, done) {
      const endMs = clock.monotonicMs() + ms
      while (clock.monotonicMs() < endMs && !done?.())
        await new Promise<void>((resolve) => clock.after(Math.min(5, ms), resolve))
    },
    nowMs: clock.monotonicMs,
    hops,
    async close() {
      await Promise.all([...running.keys()].map((node) => end(node, false)))
      for (const name of ['net.client.socket', 'net.server.socket']) unsubscribe(name, onSocket)
    },
  }
}

const openSimBed = async (count: number, seed: string): Promise<Bed> => {
  const hops = createHopCount()
  const world = await createWorld({ nodes: count + 10, seed, wrapNet: (net) => watched(net, hops) })
  const nodes: BedNode[] = []
  return {
    nodes,
    hops,
    async join() {
      const index = nodes.length
      const live = await world.start(index, index === 0 ? [] : [world.nodes[0]!])
      const { peer, capacity } = world.nodes[index]!
      const advertise = () => void live.processor.submit(0.1, live.mesh.advertise)
      nodes.push({ peer, view: live.view, capacity, advertise, isUp: true })
    },
    async leave(node) {
      node.isUp = false
      await world.leave(world.byPeer(node.peer)!)
    },
    bytes: () => world.sent().bytes,
    wait: (ms, done) => world.run(ms, done),
    nowMs: world.engine.nowMs,
    close: () => Promise.resolve(),
  }
}

const settleMs = 20_000
const idleMs = 45_000
const changes = 40
const goings = 4
/** How long each of them is given, so that both beds are measured over the same time. */
const turnMs = { change: 400, going: 4_000 }

/** Grows a realm to `count` nodes and measures it. */
const measure = async (bed: Bed, count: number, say: (what: string) => void): Promise<BedFigures> => {
  while (bed.nodes.length < count) {
    await bed.join()
    await bed.wait(50)
  }
  const isFull = () => bed.nodes.every((node) => !node.isUp || aliveIn(node.view) === up().length)
  const up = () => bed.nodes.filter((node) => node.isUp)
  await bed.wait(120_000, isFull)
  say(`${count} nodes know one another`)
  await bed.wait(settleMs)

  const cpu = process.cpuUsage()
  const measureFromMs = bed.nowMs()
  const idle = await during(bed, () => bed.wait(idleMs))
  bed.hops.take()
  say('idle measured')

  const changeMs: number[] = []
  const changing = await during(bed, async () => {
    for (let turn = 0; turn < changes; turn++) {
      const startMs = bed.nowMs()
      const node = up()[1 + Math.floor(((up().length - 2) * turn) / changes)]!
      const load = (node.capacity.currentLoad = node.capacity.currentLoad > 0.5 ? 0.1 : 0.9)
      const seen = watchFor(bed, up(), (entry) => entry.peer === node.peer && entry.load === load)
      node.advertise()
      await bed.wait(10_000, () => seen.times.length >= up().length - 1)
      seen.stop()
      changeMs.push(...seen.times)
      await restOf(bed, startMs, turnMs.change)
    }
  })
  const changeHops = bed.hops.take()
  say('changes measured')

  const leaveMs: number[] = []
  const leaving = await during(bed, async () => {
    for (let turn = 0; turn < goings; turn++) {
      const startMs = bed.nowMs()
      const node = up()[5 + turn * 7]!
      const seen = watchFor(bed, up(), (entry) => entry.peer === node.peer && entry.state === 'left')
      await bed.leave(node)
      await bed.wait(10_000, () => seen.times.length >= up().length)
      seen.stop()
      leaveMs.push(...seen.times)
      await restOf(bed, startMs, turnMs.going)
    }
  })
  const leaveHops = bed.hops.take()
  say('leaving measured')

  const joinMs: number[] = []
  const joining = await during(bed, async () => {
    for (let turn = 0; turn < goings; turn++) {
      const startMs = bed.nowMs()
      await bed.join()
      await bed.wait(30_000, () => aliveIn(bed.nodes.at(-1)!.view) >= up().length)
      joinMs.push(bed.nowMs() - startMs)
      await restOf(bed, startMs, turnMs.going)
    }
  })
  const joinHops = bed.hops.take()
  const used = process.cpuUsage(cpu)
  const perNodeSecond = ({ bytes, ms }: { bytes: number; ms: number }) => (bytes * 1_000) / ms / count
  const mean = (values: readonly number[]) => values.reduce((sum, value) => sum + value, 0) / Math.max(1, values.length)
  return {
    idleBytesPerNodePerSecond: perNodeSecond(idle),
    changingBytesPerNodePerSecond: perNodeSecond(changing),
    bytesPerChangePerNode: (changing.bytes - (idle.bytes / idle.ms) * changing.ms) / changes / count,
    changeHopsMean: mean(changeHops),
    changeHopsMax: Math.max(...changeHops),
    changeP50Ms: spreadOf(changeMs).p50Ms ?? NaN,
    changeP99Ms: spreadOf(changeMs).p99Ms ?? NaN,
    leavingBytesPerNodePerSecond: perNodeSecond(leaving),
    leaveHopsMean: mean(leaveHops),
    leaveP99Ms: spreadOf(leaveMs).p99Ms ?? NaN,
    joiningBytesPerNodePerSecond: perNodeSecond(joining),
    joinHopsMean: mean(joinHops),
    joinFullViewP50Ms: spreadOf(joinMs).p50Ms ?? NaN,
    utilisation: (used.user + used.system) / 1_000 / (bed.nowMs() - measureFromMs),
  }
}

/** Lets the rest of a turn pass. */
const restOf = (bed: Bed, startMs: number, ms: number) => bed.wait(Math.max(1, startMs + ms - bed.nowMs()))

const aliveIn = (view: View): number => view.alive().length

const during = async (bed: Bed, act: () => Promise<void>): Promise<{ bytes: number; ms: number }> => {
  const [bytes, ms] = [bed.bytes(), bed.nowMs()]
  await act()
  return { bytes: bed.bytes() - bytes, ms: bed.nowMs() - ms }
}

const watchFor = (
  bed: Bed,
  observers: readonly BedNode[],
  isIt: (entry: { peer: string; state: string; load: number }) => boolean,
): { times: number[]; stop(): void } => {
  const startMs = bed.nowMs()
  const times: number[] = []
  const offs = observers.map((observer) => {
    let seen = false
    return observer.view.onChange(({ peer, state, ad, self }) => {
      if (seen || self || !isIt({ peer, state, load: ad.currentLoad })) return
      seen = true
      times.push(bed.nowMs() - startMs)
    })
  })
  return {
    times,
    stop() {
      for (const off of offs) off()
    },
  }
}

/** Runs the course on both; `say` is told how far it is. */
export const calibrate = async (
  { nodes, seed }: { nodes: number; seed: string },
  say: (what: string) => void = () => {},
): Promise<{ real: BedFigures; simulated: BedFigures }> => {
  const simBed = await openSimBed(nodes, seed)
  const simulated = await measure(simBed, nodes, (what) => say(`simulated: ${what}`))
  const bed = await openRealBed(nodes)
  try {
    return { real: await measure(bed, nodes, (what) => say(`real: ${what}`)), simulated }
  } finally {
    await bed.close()
  }
}
