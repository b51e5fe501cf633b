/** Nodes of a mesh inside the test's process: a real `net` on loopback, a store in memory, and the `mesh` room on top. */
import type { Capacity, NodeTraits } from '../../src/base/advertisement.ts'
import { silentAudit, type Audit } from '../../src/base/audit.ts'
import type { Clock } from '../../src/base/clock.ts'
import { GodelError } from '../../src/base/errors.ts'
import { limits as defaults, type Limits } from '../../src/base/limits.ts'
import { silentLog, type Log } from '../../src/base/log.ts'
import { silentMeter } from '../../src/base/meter.ts'
import { createNodeKey, type NodeKey } from '../../src/identity/node-key.ts'
import { rootName } from '../../src/identity/realm-document.ts'
import type { RootKeys } from '../../src/identity/root-keys.ts'
import { startMesh, type Mesh } from '../../src/mesh/mesh.ts'
import type { BoundMethod } from '../../src/net/method.ts'
import { startNet, type Net } from '../../src/net/net.ts'
import { createRealClock } from '../../src/node/real-clock.ts'
import { openMemoryStore } from '../../src/store/memory.ts'
import type { Store } from '../../src/store/store.ts'

export interface MeshNode {
  readonly name: string
  readonly key: NodeKey
  readonly store: Store
  readonly net: Net
  readonly mesh: Mesh
  /** What it says it can take; change it and call `mesh.advertise()`. */
  readonly capacity: { -readonly [K in keyof Capacity]: Capacity[K] }
  /** Cuts the node off from everybody, both ways; `heal` lets it dial and be dialled again. */
  cut(): void
  heal(): void
  /** From now on it neither answers nor says anything, with its connections open, as after SIGSTOP; `wake` as after SIGCONT. */
  sleep(): void
  wake(): void
  /** Good-bye and stop. */
  leave(): Promise<void>
  /** Stops without a word, as `kill -9` would: the sockets close. */
  kill(): Promise<void>
}

export interface MeshNodeOptions {
  name: string
  key?: NodeKey
  rootKey?: NodeKey
  /** The root keys that it holds; in memory, and of `rootKey` alone, unless told. */
  roots?: RootKeys
  onFailed?: (error: GodelError) => void
  store?: Store
  realm?: string | undefined
  join?: string
  bootstrap?: string[]
  announce?: string[]
  limits?: Partial<Limits>
  traits?: Partial<NodeTraits>
  log?: Log
  audit?: Audit
  clock?: Clock
}

export const traitsOf = (name: string, traits: Partial<NodeTraits> = {}): NodeTraits => ({
  name,
  labels: {},
  capabilities: [],
  runtimes: [{ kind: 'process', version: '1' }],
  gpu: { count: 0, types: [] },
  cost: {},
  isolation: 'none',
  acceptUnsandboxed: true,
  shareable: false,
  shareFraction: 0,
  ...traits,
})

/** Starts one; what `startMesh` throws is thrown after the net was closed again. */
export const startMeshNode = async (options: MeshNodeOptions): Promise<MeshNode> => {
  const { name, log = silentLog, audit = silentAudit, clock = createRealClock() } = options
  const key = options.key ?? createNodeKey()
  const rootKey = options.rootKey ?? createNodeKey()
  const store = options.store ?? openMemoryStore()
  const limits: Limits = { ...defaults, ...options.limits }
  const common = { key, limits, clock, log: log.child({ node: name }), meter: silentMeter, audit }
  const line = cuttable(await startNet(common, { listen: ['/ip4/127.0.0.1/tcp/0'] }))
  const dozing = dozable(line.net)
  const { net } = dozing
  const capacity: Capacity = { status: 'available', currentLoad: 0, running: 0, maxConcurrent: 8 }
  let mesh: Mesh
  try {
    mesh = await startMesh(
      {
        ...common,
        net,
        store,
        capacity: () => ({ ...capacity }),
        traits: traitsOf(name, options.traits),
        rootKey: () => Promise.resolve(rootKey),
        roots: options.roots ?? rootsInMemory(rootKey),
        ...(options.onFailed && { onFailed: options.onFailed }),
      },
      { realm: options.realm, join: options.join, bootstrap: options.bootstrap ?? [], announce: options.announce },
    )
  } catch (error) {
    await net.close()
    throw error
  }
  const kill = async () => {
    await mesh.close()
    await net.close()
  }
  return {
    name,
    key,
    store,
    net,
    mesh,
    capacity,
    cut: line.cut,
    heal: line.heal,
    sleep: dozing.sleep,
    wake: dozing.wake,
    kill,
    async leave() {
      await mesh.leave()
      await kill()
    },
  }
}

/** Root keys as createRootKeys keeps them, without files. */
const rootsInMemory = (first: NodeKey): RootKeys => {
  let present = first
  let next: NodeKey | undefined
  return {
    held: async (roots) => [present, next].find((key) => key !== undefined && roots.includes(rootName(key))),
    prepare: async () => (next ??= createNodeKey()),
    async adopt() {
      if (next) present = next
      next = undefined
    },
  }
}

/** A net that can be cut off: while it is, every connection is closed and no dial succeeds. */
const cuttable = (net: Net): { net: Net; cut(): void; heal(): void } => {
  let isCut = false
  net.onConnected((peer) => {
    if (isCut) void net.disconnect(peer)
  })
  const dial: Net['dial'] = (peer, addresses, signal) =>
    isCut
      ? Promise.reject(new GodelError({ code: 'PEER_UNREACHABLE', peer, reason: 'the line is cut' }))
      : net.dial(peer, addresses, signal)
  return {
    net: { ...net, dial },
    cut() {
      isCut = true
      for (const peer of net.connected()) void net.disconnect(peer)
    },
    heal() {
      isCut = false
    },
  }
}

/** A net that can be silenced: while it sleeps, whatever it is asked and whatever it says waits. */
const dozable = (net: Net): { net: Net; sleep(): void; wake(): void } => {
  let awake = Promise.withResolvers<void>()
  let asleep = false
  awake.resolve()
  const waiting =
    (handle: BoundMethod['handle']): BoundMethod['handle'] =>
    (request, context) =>
      awake.promise.then(() => handle(request, context))
  const rpc: Net['rpc'] = {
    ...net.rpc,
    call: (...call) => awake.promise.then(() => net.rpc.call(...call)),
    register: (methods) =>
      net.rpc.register(
        methods.map(({ method, handle }) => ({
          method,
          // A stream is begun at once even so; a promise of one is none.
          handle: method.kind === 'stream' ? handle : waiting(handle),
        })),
      ),
  }
  const pubsub: Net['pubsub'] = {
    publish: (topic, bytes) => awake.promise.then(() => net.pubsub.publish(topic, bytes)),
    // Gossip is lost, as it may be.
    subscribe: (topic, handler, guests) =>
      net.pubsub.subscribe(topic, (bytes, from) => (asleep ? 'ignore' : handler(bytes, from)), guests),
  }
  return {
    net: { ...net, rpc, pubsub },
    sleep() {
      asleep = true
      awake = Promise.withResolvers()
    },
    wake() {
      asleep = false
      awake.resolve()
    },
  }
}

/** Waits until `check` holds; fails with `what` and its last value after `withinMs`. Gives the milliseconds that it took. */
export const until = async (what: string, check: () => unknown, withinMs = 15_000): Promise<number> => {
  const clock = createRealClock()
  const startMs = clock.monotonicMs()
  for (;;) {
    const value = await check()
    const elapsedMs = clock.monotonicMs() - startMs
    if (value === true) return elapsedMs
    if (elapsedMs > withinMs) throw new Error(`not within ${withinMs} ms: ${what} (last: ${JSON.stringify(value)})`)
    await new Promise<void>((resolve) => clock.after(20, resolve))
  }
}

/** The states that a node sees, by name in order: `a:alive b:down`. */
export const statesSeenBy = (node: MeshNode): string =>
  [...node.mesh.view.entries()]
    .map((entry) => `${entry.ad.name}:${entry.state}`)
    .toSorted()
    .join(' ')
