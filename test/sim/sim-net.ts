/** The `Net` port of one simulated node: connections, admission, calls and gossip over the simulated network. */
import type { Clock } from '../../src/base/clock.ts'
import { decode, encode } from '../../src/base/codec.ts'
import { GodelError, toGodelError } from '../../src/base/errors.ts'
import type { Limits } from '../../src/base/limits.ts'
import type { Standing } from '../../src/base/standing.ts'
import { mustBeAllowed } from '../../src/net/callee.ts'
import type { BoundMethod, CallContext, CallOptions, Method, Rpc } from '../../src/net/method.ts'
import type { Direction, Net } from '../../src/net/net.ts'
import { createRegistry } from '../../src/net/registry.ts'
import { decodeError, encodeError } from '../../src/net/wire-error.ts'
import type { Envelopes } from './envelopes.ts'
import { createGossipNode, frameBytes, type GossipFrame, type GossipNode, type MessageIds } from './gossip-model.ts'
import type { Link, Network, Station } from './network.ts'
import type { Processor } from './processor.ts'
import type { Rng } from './rng.ts'

/** What a call costs beside its payload: kind, id, flags, deadline, name. */
const requestHeadBytes = 28
const responseHeadBytes = 9
/** What answering, and taking in an answer, costs a node, in milliseconds of its processor. */
export const rpcCostMs = 0.3
const rpcCost = () => rpcCostMs

export interface SimNet extends Net {
  readonly station: Station
  readonly gossip: GossipNode
  /** While it holds, nothing is published: for a mesh that is begun in the middle of its life. */
  muted: boolean
}

interface SimNetDeps {
  index: number
  peer: string
  address: string
  clock: Clock
  limits: Limits
  processor: Processor
  network: Network
  envelopes: Envelopes
  ids: MessageIds
  rng: Rng
  /** The node of a PeerId as it runs now. */
  find: (peer: string) => SimNet | undefined
}

interface Call {
  readonly peer: string
  readonly link: Link
  fail(error: GodelError): void
}

export const createSimNet = (deps: SimNetDeps): SimNet => {
  const { index, peer: self, address, clock, limits, processor, network, envelopes, find } = deps
  const links = new Map<string, Link>()
  const standings = new Map<string, Standing>()
  const addresses = new Map<string, string[]>()
  const connectedFns = new Set<(peer: string, direction: Direction) => void>()
  const disconnectedFns = new Set<(peer: string) => void>()
  const calls = new Set<Call>()
  const registry = createRegistry(self)

  const otherOf = (link: Link): Station => (link.ends[0] === station ? link.ends[1] : link.ends[0])
  const isOpen = (link: Link): boolean => link.open[link.ends[0] === station ? 0 : 1]
  const unreachable = (peer: string, reason: string) => new GodelError({ code: 'PEER_UNREACHABLE', peer, reason })

  const station: Station = {
    index,
    peer: self,
    processor,
    side: 0,
    silent: false,
    sent: { bytes: 0, frames: 0 },
    opened(link, direction) {
      const { peer } = otherOf(link)
      const isFirst = !links.has(peer)
      links.set(peer, link)
      addresses.set(peer, find(peer)?.addresses() ?? [])
      if (isFirst) for (const fn of connectedFns) fn(peer, direction)
    },
    closed(link) {
      const { peer } = otherOf(link)
      for (const call of [...calls])
        if (call.link === link)
          call.fail(new GodelError({ code: 'STREAM_LOST', peer, reason: 'the connection closed' }))
      // A newer connection has taken its place: the peer stays admitted, and gossip goes on over the new one.
      if (links.get(peer) !== link) {
        if (!standings.has(peer)) return
        gossip.gone(peer)
        return gossip.admitted(peer)
      }
      links.delete(peer)
      end(peer)
      for (const fn of disconnectedFns) fn(peer)
    },
  }

  const end = (peer: string): void => {
    if (standings.delete(peer)) gossip.gone(peer)
  }

  const gossip = createGossipNode({
    clock,
    limits,
    rng: deps.rng,
    ids: deps.ids,
    isAdmitted: (peer) => standings.has(peer),
    send(peer, frame) {
      const link = links.get(peer)
      const other = find(peer)
      if (!link || !other) return
      sendGossip(link, other, frame)
    },
  })

  const kinds: GossipFrame['type'][] = ['subscribe', 'message', 'dontwant', 'ihave', 'iwant', 'graft', 'prune']
  const sendGossip = (link: Link, other: SimNet, frame: GossipFrame): void => {
    const bytes = frameBytes(frame)
    const isGossip = frame.type === 'message'
    const costMs = () => other.gossip.costMs(self, frame)
    const kind = 16 + kinds.indexOf(frame.type)
    network.send(link, station, { bytes, costMs, isGossip, kind }, () => other.gossip.receive(self, frame))
  }

  const answer = async (from: string, method: Method, payload: Uint8Array): Promise<Uint8Array> => {
    const row: BoundMethod = registry.find(method.name, method.version)
    const standing = standings.get(from)
    mustBeAllowed(row.method, standing, from)
    const request = row.method.parseRequest(decode(payload, method.name))
    const context = {
      peer: from,
      standing,
      signal: new AbortController().signal,
      incoming: none(),
    } as CallContext<never>
    const response = await row.handle(request as never, context)
    return encode(row.method.parseResponse(response))
  }

  /** Sends one call and gives its answer, or what the peer threw. */
  const exchange = (other: SimNet, link: Link, method: Method, payload: Uint8Array, options: CallOptions) =>
    new Promise<unknown>((resolve, reject) => {
      const { timeoutMs = limits.rpcDefaultTimeoutMs, signal } = options
      const finish = (): boolean => {
        timer.cancel()
        signal?.removeEventListener('abort', onAbort)
        return calls.delete(call)
      }
      const call: Call = { peer: other.peer, link, fail: (error) => void (finish() && reject(error)) }
      const onAbort = () => call.fail(new GodelError({ code: 'CANCELLED', what: method.name }))
      const timer = clock.after(timeoutMs, () =>
        call.fail(new GodelError({ code: 'DEADLINE_EXCEEDED', what: method.name, afterMs: timeoutMs })),
      )
      signal?.addEventListener('abort', onAbort, { once: true })
      calls.add(call)
      const back = (bytes: Uint8Array, take: () => void) => {
        if (!link.open[link.ends[0] === other.station ? 0 : 1]) return
        const frame = { bytes: bytes.byteLength + responseHeadBytes, costMs: rpcCost, isGossip: false, kind: 3 }
        network.send(link, other.station, frame, () => (finish() ? take() : 'quiet'))
      }
      const frame = {
        bytes: payload.byteLength + requestHeadBytes + method.name.length,
        costMs: rpcCost,
        isGossip: false,
        kind: 2,
      }
      network.send(link, station, frame, () => {
        serve(other)(self, method, payload).then(
          (bytes) =>
            back(bytes, () => settleWith(resolve, reject, () => method.parseResponse(decode(bytes, method.name)))),
          (error: unknown) => {
            const bytes = encodeError(error, limits.rpcErrorBytesMax)
            back(bytes, () => reject(decodeError(bytes, other.peer)))
          },
        )
      })
    })

  const call = async (peer: string, method: Method, request: unknown, options: CallOptions = {}): Promise<unknown> => {
    const link = links.get(peer)
    const other = find(peer)
    if (!link || !other || !isOpen(link)) throw unreachable(peer, 'it is not connected')
    if (options.signal?.aborted) throw new GodelError({ code: 'CANCELLED', what: method.name })
    const payload = encode(request)
    if (payload.byteLength > method.requestBytesMax)
      throw new GodelError({
        code: 'TOO_LARGE',
        what: method.name,
        bytes: payload.byteLength,
        limitBytes: method.requestBytesMax,
      })
    return exchange(other, link, method, payload, options)
  }

  const dial: Net['dial'] = (peer, given, signal) => {
    if (links.has(peer)) return Promise.resolve()
    if (given.length === 0) return Promise.reject(unreachable(peer, 'no address of it is known'))
    return new Promise((resolve, reject) => {
      const finish = (): void => {
        timer.cancel()
        signal?.removeEventListener('abort', onAbort)
      }
      const onAbort = () => {
        finish()
        reject(new GodelError({ code: 'CANCELLED', what: `the dial to ${peer}` }))
      }
      const timer = clock.after(limits.dialTimeoutMs, () => {
        finish()
        reject(unreachable(peer, `no answer within ${limits.dialTimeoutMs} ms`))
      })
      if (signal?.aborted) return onAbort()
      signal?.addEventListener('abort', onAbort, { once: true })
      network.dial(station, find(peer)?.station, (outcome) => {
        finish()
        if (typeof outcome === 'string') reject(unreachable(peer, outcome))
        else resolve()
      })
    })
  }

  const unsupported = (what: string) => new GodelError({ code: 'INTERNAL', reason: `${what} is not simulated` })
  /** What there is of the port for nodes behind firewalls: here everybody reaches everybody. */
  const reachable = {
    connectionKind: (peer: string) =>
      links.has(peer) ? { kind: 'direct' as const, isDialled: true, dialledUs: false } : undefined,
    dropStranded() {},
    observedIp: () => undefined,
    probe: () => Promise.resolve(true),
    relays: {
      reserve: () => Promise.reject(unsupported('a relay')),
      release() {},
      held: () => [],
      carried: () => 0,
    },
    onHint: () => () => {},
  }
  const net: SimNet = {
    ...reachable,
    station,
    gossip,
    muted: false,
    peer: self,
    addresses: () => [address],
    dial,
    isConnected: (peer) => links.has(peer),
    connected: () => [...links.keys()],
    remoteAddresses: (peer) => [...(addresses.get(peer) ?? [])],
    onConnected: (fn) => subscribed(connectedFns, fn),
    onDisconnected: (fn) => subscribed(disconnectedFns, fn),
    disconnect(peer) {
      const link = links.get(peer)
      if (link) network.close(link, station)
      return Promise.resolve()
    },
    admit(peer, standing) {
      if (!links.has(peer)) return
      const isNew = !standings.has(peer)
      standings.set(peer, standing)
      if (isNew) gossip.admitted(peer)
    },
    standingOf: (peer) => standings.get(peer),
    expel(peer) {
      end(peer)
      void net.disconnect(peer)
    },
    isAdmitted: (peer) => standings.has(peer),
    rpc: {
      call: call as Rpc['call'],
      stream: () => {
        throw unsupported('a stream')
      },
      register: registry.register,
    },
    pubsub: {
      ...gossip.pubsub,
      publish: (topic, bytes) => (net.muted ? Promise.resolve() : gossip.pubsub.publish(topic, bytes)),
    },
    bulk: { send: () => Promise.reject(unsupported('a transfer')), handle() {} },
    seal: (domain, payload) => Promise.resolve(envelopes.seal(domain, self, payload)),
    open: async (domain, envelope) => envelopes.open(domain, envelope),
    close() {
      gossip.close()
      processor.kill()
      network.reset(station)
      return Promise.resolve()
    },
  }
  servers.set(net, answer)
  return net
}

/** How a node answers; not part of the port, since only the other end of a call comes here. */
const servers = new WeakMap<SimNet, (from: string, method: Method, payload: Uint8Array) => Promise<Uint8Array>>()
const serve = (net: SimNet) => servers.get(net)!

const none = async function* (): AsyncGenerator<never> {}

const subscribed = <F>(fns: Set<F>, fn: F): (() => void) => {
  fns.add(fn)
  return () => void fns.delete(fn)
}

const settleWith = (resolve: (value: unknown) => void, reject: (error: unknown) => void, make: () => unknown): void => {
  try {
    resolve(make())
  } catch (error) {
    reject(toGodelError(error))
  }
}
