/**
 * A whole realm in simulated time. engine.ts is the time, network.ts with processor.ts the world that nodes live in, sim-net.ts with
 * gossip-model.ts and envelopes.ts the `Net` port on it; everything above that port is the product's own code. This file builds
 * nodes, starts and ends them, and begins a realm in the middle of its life, where growing it would take too long.
 */
import type { Capacity } from '../../src/base/advertisement.ts'
import type { Clock } from '../../src/base/clock.ts'
import { hash32 } from '../../src/base/hash.ts'
import { limits as defaults, type Limits } from '../../src/base/limits.ts'
import { silentLog, type Log } from '../../src/base/log.ts'
import { silentMeter } from '../../src/base/meter.ts'
import { startAdvertiser } from '../../src/mesh/advertiser.ts'
import { openFailover } from '../../src/mesh/failover.ts'
import { openIncarnation } from '../../src/mesh/incarnation.ts'
import { facade, type Mesh, type MeshDeps } from '../../src/mesh/mesh.ts'
import { startParts, type Parts } from '../../src/mesh/parts.ts'
import type { PeerRecord } from '../../src/mesh/records.ts'
import { createNeighbours } from '../../src/mesh/ring.ts'
import { createView, type MeshView, type PeerView } from '../../src/mesh/view.ts'
import type { Net } from '../../src/net/net.ts'
import { traitsOf } from '../support/mesh.ts'
import { createEngine, settle, type Engine } from './engine.ts'
import { createEnvelopes, type Envelopes } from './envelopes.ts'
import { createMessageIds } from './gossip-model.ts'
import { createNetwork, noFaults, profiles, type Faults, type Network, type ProfileName } from './network.ts'
import { createNodeClock, createProcessor, type Processor } from './processor.ts'
import { createSimRealm, startWallMs, type SimRealm } from './realm.ts'
import { createRng, type Rng } from './rng.ts'
import { createSimNet, type SimNet } from './sim-net.ts'
import { openSimStore } from './sim-store.ts'

export interface SimNode {
  readonly index: number
  readonly peer: string
  readonly name: string
  readonly capacity: { -readonly [K in keyof Capacity]: Capacity[K] }
  readonly store: ReturnType<typeof openSimStore>
  /** `up` from its start until it is killed, vanishes or has left. */
  state: 'off' | 'up' | 'gone'
  /** What it is now; of a node that is gone, what it was. */
  live: Live | undefined
}

/** One life of a node, from a start to its end. */
export interface Live {
  readonly net: SimNet
  readonly clock: Clock
  readonly processor: Processor
  readonly view: MeshView
  readonly parts: Parts
  readonly mesh: Mesh
  readonly startedAtMs: number
}

export interface WorldOptions {
  /** How many nodes there can be; `begin` or `start` brings them up. */
  nodes: number
  seed: string
  profile?: ProfileName
  faults?: Partial<Faults>
  limits?: Partial<Limits>
  log?: Log
  /** Puts something between the mesh and the net of each node, to watch it. */
  wrapNet?: (net: Net) => Net
}

export interface World {
  readonly engine: Engine
  readonly network: Network
  readonly envelopes: Envelopes
  readonly realm: SimRealm
  readonly rng: Rng
  readonly limits: Limits
  readonly nodes: readonly SimNode[]
  /** Those that are up. */
  up(): SimNode[]
  byPeer(peer: string): SimNode | undefined
  /** The first `count` nodes, all of which know one another, connected as the product would connect them. */
  begin(count: number): Promise<void>
  /** Starts a node that finds the realm through `seeds`. */
  start(index: number, seeds: readonly SimNode[]): Promise<Live>
  /** Ends a process: its sockets close. */
  kill(node: SimNode): void
  /** Ends a host: nothing of it is heard any more. */
  vanish(node: SimNode): void
  leave(node: SimNode): Promise<void>
  /** Called with every change that a node sees, of nodes that start from now on. */
  onChange(fn: (observer: SimNode, entry: PeerView, previous?: PeerView) => void): void
  /** Lets `ms` pass. */
  run(ms: number, done?: () => boolean): Promise<void>
  sent(): { bytes: number; frames: number }
  /** For how long nodes have been up, all lives of all nodes together. */
  upMs(): number
}

type Listener = (observer: SimNode, entry: PeerView, previous?: PeerView) => void

/** Every node reads one copy of an envelope and of what it says, or ten thousand views would not fit. */
const sharing = (view: MeshView, envelopes: Envelopes): MeshView => ({
  ...view,
  setSelf(record, present) {
    envelopes.sharedAd(record.envelope, record.ad)
    view.setSelf(record, present)
  },
  merge: (record) =>
    view.merge({
      ...record,
      ad: envelopes.sharedAd(record.envelope, record.ad),
      envelope: envelopes.shared(record.envelope),
    }),
  accuse: (subject, incarnation, accusation) =>
    view.accuse(subject, incarnation, { ...accusation, envelope: envelopes.shared(accusation.envelope) }),
})

const addressOf = (index: number): string => `/ip4/10.${index >> 16}.${(index >> 8) & 255}.${index & 255}/tcp/7374`

export const createWorld = async (options: WorldOptions): Promise<World> => {
  const { seed, profile = 'lan', faults = {}, log = silentLog } = options
  const limits: Limits = { ...defaults, peersPerRealmMax: options.nodes + 64, ...options.limits }
  const engine = createEngine()
  const rng = createRng(`${seed}/world`)
  const envelopes = createEnvelopes()
  const ids = createMessageIds()
  const realm = await createSimRealm(seed, options.nodes)
  const listeners: Listener[] = []
  const ended = { bytes: 0, frames: 0, upMs: 0 }
  const lifeMs = (node: SimNode): number => engine.nowMs() - node.live!.startedAtMs
  const nodes = realm.keys.map(({ peer }, index): SimNode => {
    const capacity = { status: 'available' as const, currentLoad: 0, running: 0, maxConcurrent: 8 }
    return { index, peer, name: `node-${index}`, capacity, store: openSimStore(), state: 'off', live: undefined }
  })
  const byPeer = new Map(nodes.map((node) => [node.peer, node]))
  const up = () => nodes.filter((node) => node.state === 'up')
  const network = createNetwork(
    { engine, rng: createRng(`${seed}/network`), stations: () => up().map((node) => node.live!.net.station) },
    { profile: profiles[profile], faults: { ...noFaults, ...faults } },
  )

  /** The parts of a life that need nobody else. */
  const body = (node: SimNode) => {
    const { index, peer, name } = node
    const chance = createRng(`${seed}/${name}/${engine.nowMs()}`)
    const processor = createProcessor(engine)
    const skew = { startWallMs, skewMs: chance.between(-30_000, 30_000), drift: chance.between(-50e-6, 50e-6) }
    const clock = createNodeClock(engine, processor, skew)
    const find = (other: string) => byPeer.get(other)?.live?.net
    const common = { index, peer, clock, limits, processor, network, envelopes, ids, find }
    const net = createSimNet({ ...common, address: addressOf(index), rng: createRng(`${seed}/${name}/gossip`) })
    const own = createView({ clock, limits, log }, { peer })
    return { chance, processor, clock, net, own, view: sharing(own, envelopes) }
  }

  const { wrapNet = (net: Net) => net } = options
  const depsOf = (node: SimNode, { chance, clock, net, view }: ReturnType<typeof body>) => ({
    net: wrapNet(net),
    key: realm.keys[node.index]!,
    store: node.store,
    clock,
    log: log.child({ node: node.name }),
    meter: silentMeter,
    limits,
    capacity: () => ({ ...node.capacity }),
    traits: traitsOf(node.name),
    rootKey: (): ReturnType<MeshDeps['rootKey']> => Promise.reject(new Error('no root key is simulated')),
    random: chance.next,
    view,
    member: realm.memberOf(node.index),
    certificates: realm.certificates,
  })

  const bringUp = async (node: SimNode, made: ReturnType<typeof body>, seeds: readonly SimNode[]): Promise<Live> => {
    const deps = depsOf(node, made)
    const given = seeds.map((other) => ({ peer: other.peer, addresses: [addressOf(other.index)] }))
    const incarnation = await openIncarnation(node.store)
    const { settings } = deps.member.realm().document
    const failover = openFailover({
      ...{ store: node.store, log, limits },
      realmSettings: () => settings,
      amend: () => Promise.resolve(undefined),
    })
    const parts = await startParts({ ...deps, incarnation, failover, announce: [], seeds: () => given })
    const { net, clock, processor, view } = made
    const live: Live = {
      net,
      clock,
      processor,
      view,
      parts,
      mesh: facade(deps, parts, failover),
      startedAtMs: engine.nowMs(),
    }
    node.live = live
    view.onChange((entry, previous) => {
      for (const listener of listeners) listener(node, entry, previous)
    })
    return live
  }

  /** What a node will say first, sealed ahead, so that the others can know it already. */
  const firstWord = async (node: SimNode, peers: number): Promise<PeerRecord> => {
    const made = body(node)
    let last: PeerRecord | undefined
    const view = { ...made.view, size: () => peers, setSelf: (record: PeerRecord) => void (last = record) }
    const { certificate, realm: realmOf } = realm.memberOf(node.index)
    const incarnation = { current: () => 1, raise: () => Promise.resolve(1) }
    const saying = { incarnation, view, certificate, realm: () => realmOf().id, gossip: () => Promise.resolve() }
    const advertiser = await startAdvertiser({ ...depsOf(node, made), ...saying })
    // A start says it twice: once for itself, and once more for the realm.
    await advertiser.fresh()
    advertiser.close()
    made.processor.kill()
    return { ...last!, ad: envelopes.sharedAd(last!.envelope, last!.ad) }
  }

  const begin = async (count: number): Promise<void> => {
    const founding = nodes.slice(0, count)
    const records: PeerRecord[] = []
    for (const node of founding) records.push(await firstWord(node, count))
    const bodies = founding.map(body)
    for (const [index, node] of founding.entries()) {
      const { net, own } = bodies[index]!
      for (const record of records) if (record.peer !== node.peer) own.merge(record)
      net.muted = true
    }
    // A body is found through its node from here on; the parts follow.
    for (const [index, node] of founding.entries()) node.live = bodies[index]! as unknown as Live
    const linked = pairs(founding, limits, rng)
    for (const [a, b] of linked) {
      network.establish(bodies[a]!.net.station, bodies[b]!.net.station)
      bodies[a]!.net.admit(nodes[b]!.peer, { kind: 'member', role: b === 0 ? 'admin' : 'member' })
      bodies[b]!.net.admit(nodes[a]!.peer, { kind: 'member', role: a === 0 ? 'admin' : 'member' })
    }
    for (const [index, node] of founding.entries()) {
      await bringUp(node, bodies[index]!, [])
      node.state = 'up'
    }
    await settle()
    for (const { net } of bodies) net.muted = false
    for (const [a, b] of rng.sample(linked, linked.length)) {
      const [one, other] = [bodies[a]!.net, bodies[b]!.net]
      const both = Math.max(one.gossip.meshSize(), other.gossip.meshSize()) < limits.gossipDegree + 2
      one.gossip.meet(other.peer, both)
      other.gossip.meet(one.peer, both)
    }
    refreshInTurn(founding, count)
  }

  /** In the middle of their lives nodes refresh what they say at times of their own, not all at one. */
  const refreshInTurn = (founding: readonly SimNode[], count: number): void => {
    const everyMs = Math.min(
      limits.advertiseIntervalMsMax,
      Math.max(limits.advertiseIntervalMsMin, (count / limits.advertisePeersPerSecond) * 1_000),
    )
    for (const node of founding) {
      const { processor, parts } = node.live!
      engine.at(engine.nowMs() + rng.next() * everyMs, () => processor.submit(1, () => void parts.advertiser.publish()))
    }
  }

  const end = (node: SimNode): void => {
    node.state = 'gone'
    const { net } = node.live!
    ended.bytes += net.station.sent.bytes
    ended.frames += net.station.sent.frames
    ended.upMs += lifeMs(node)
    net.gossip.close()
    net.station.processor.kill()
  }

  return {
    engine,
    network,
    envelopes,
    realm,
    rng,
    limits,
    nodes,
    up,
    byPeer: (peer) => byPeer.get(peer),
    begin,
    async start(index, seeds) {
      const node = nodes[index]!
      const made = body(node)
      node.live = made as unknown as Live
      node.state = 'up'
      const live = await bringUp(node, made, seeds)
      await settle()
      return live
    },
    kill(node) {
      end(node)
      network.reset(node.live!.net.station)
    },
    vanish(node) {
      end(node)
      network.vanish(node.live!.net.station)
    },
    async leave(node) {
      const { mesh, net, processor } = node.live!
      let done = false
      processor.submit(1, () => void mesh.leave().finally(() => (done = true)))
      while (!done && !processor.isDead()) await engine.runUntil(engine.nowMs() + 50, () => done)
      await mesh.close()
      end(node)
      network.reset(net.station)
    },
    onChange: (fn) => void listeners.push(fn),
    run: (ms, done) => engine.runUntil(engine.nowMs() + ms, done),
    upMs: () => up().reduce((sum, node) => sum + lifeMs(node), ended.upMs),
    sent() {
      const all = up().map((node) => node.live!.net.station.sent)
      return {
        bytes: all.reduce((sum, { bytes }) => sum + bytes, ended.bytes),
        frames: all.reduce((sum, { frames }) => sum + frames, ended.frames),
      }
    },
  }
}

/** Who is connected: of a small realm everybody, otherwise watchers with whom they watch, and others by chance up to what is wanted. */
const pairs = (founding: readonly SimNode[], limits: Limits, rng: Rng): [number, number][] => {
  const made = new Set<string>()
  const degree = founding.map(() => 0)
  const found: [number, number][] = []
  const connect = (a: number, b: number): void => {
    const key = a < b ? `${a} ${b}` : `${b} ${a}`
    if (a === b || made.has(key)) return
    made.add(key)
    found.push([a, b])
    degree[a]!++
    degree[b]!++
  }
  if (founding.length <= limits.fullMeshPeersMax) {
    for (const { index: a } of founding) for (const { index: b } of founding.slice(0, a)) connect(a, b)
    return found
  }
  const indexOf = new Map(founding.map(({ peer, index }) => [peer, index]))
  // Only those in the neighbourhood are asked about: everybody about everybody would take minutes in a large realm.
  const ring = founding.map(({ peer }) => peer).toSorted((one, other) => placeOf(one) - placeOf(other))
  const around = 4 * limits.watchersPerNode
  for (const [at, peer] of ring.entries()) {
    const near = Array.from(
      { length: around },
      (_, step) => ring[(at - 1 - step + around * ring.length) % ring.length]!,
    )
    for (const watched of createNeighbours(peer, limits.watchersPerNode).nearest(() => near))
      connect(indexOf.get(peer)!, indexOf.get(watched)!)
  }
  for (const { index } of founding)
    while (degree[index]! < limits.connectionsWanted) connect(index, rng.below(founding.length))
  return found
}

/** The place of a peer on the ring of src/mesh/ring.ts. */
const placeOf = (peer: string): number => hash32(`ring\0${peer}`)
