/**
 * Stands between libp2p and gossipsub, so that gossip is spoken with admitted peers alone. Gossipsub learns of peers and
 * streams from the registrar that it is given: this one passes a stream or a peer on only once the peer is admitted. An
 * inbound stream that comes earlier waits, paused and for a bounded time.
 *
 * The gate also opens gossipsub's outbound streams. Left to itself gossipsub opens them one after the other, so that one
 * peer that does not answer holds up all, and never again once one was lost; here each is opened on its own, and opened
 * again as long as the peer stays admitted.
 */
import type { Connection, PeerId, Stream, StreamHandler, Topology } from '@libp2p/interface'
import type { GossipSubComponents } from '@libp2p/gossipsub'
import { every, type Clock, type Timer } from '../base/clock.ts'
import type { Limits } from '../base/limits.ts'
import type { Log } from '../base/log.ts'
import { deadlineSignal } from './deadline-signal.ts'
import { reasonOf } from './reason.ts'

type Registrar = GossipSubComponents['registrar']

export interface GossipGateDeps {
  readonly limits: Pick<Limits, 'admissionTimeoutMs' | 'dialTimeoutMs' | 'gossipReopenMs'>
  readonly clock: Clock
  readonly log: Log
  isAdmitted(peer: string): boolean
  /** Open connections to the peer, the newest last. */
  connections(peer: string): Connection[]
}

export interface GossipGate {
  /** The registrar for gossipsub. */
  wrap(registrar: Registrar): Registrar
  admitted(peer: string): void
  /** The peer was expelled, or its last connection closed. */
  gone(peer: string): void
  close(): void
}

interface WaitingStream {
  readonly stream: Stream
  readonly pass: () => void
  readonly timer: Timer
}

interface Member {
  opening: boolean
  stream: Stream | undefined
  peerId: PeerId | undefined
}

export const createGossipGate = (deps: GossipGateDeps): GossipGate => {
  const { limits, clock, log } = deps
  const members = new Map<string, Member>()
  const waiting = new Map<string, Set<WaitingStream>>()
  const protocols: string[] = []
  let topology: Topology | undefined

  /** A connection as gossipsub sees it: what it opens is the stream that the gate has opened already. */
  const shown = (connection: Connection, stream?: Stream): Connection =>
    ({
      remotePeer: connection.remotePeer,
      remoteAddr: connection.remoteAddr,
      direction: connection.direction,
      get status() {
        return connection.status
      },
      newStream: () =>
        stream === undefined ? Promise.reject(new Error('the gate opens it')) : Promise.resolve(stream),
    }) as unknown as Connection

  const openOutbound = async (peer: string, member: Member) => {
    const connection = deps.connections(peer).findLast((each) => each.status === 'open')
    if (connection === undefined || protocols.length === 0) return
    member.opening = true
    const deadline = deadlineSignal(clock, limits.dialTimeoutMs)
    try {
      const stream = await connection.newStream(protocols, { signal: deadline.signal })
      if (members.get(peer) !== member) return stream.abort(new Error('the peer is not admitted any more'))
      member.stream = stream
      member.peerId = connection.remotePeer
      await topology?.onConnect?.(connection.remotePeer, shown(connection, stream))
    } catch (error) {
      log.debug('no gossip stream could be opened', { peer, reason: reasonOf(error) })
    } finally {
      deadline.done()
      member.opening = false
    }
  }

  const reconcile = () => {
    for (const [peer, member] of members) {
      if (!member.opening && member.stream?.writeStatus !== 'writable') void openOutbound(peer, member)
    }
  }
  const repeating = every(
    clock,
    () => limits.gossipReopenMs,
    reconcile,
    () => {},
  )

  const onInbound = (stream: Stream, connection: Connection, handler: StreamHandler) => {
    const peer = connection.remotePeer.toString()
    if (deps.isAdmitted(peer)) return handler(stream, shown(connection))
    const streams = waiting.get(peer) ?? new Set<WaitingStream>()
    waiting.set(peer, streams)
    const leave = () => {
      timer.cancel()
      streams.delete(entry)
      if (streams.size === 0 && waiting.get(peer) === streams) waiting.delete(peer)
    }
    const timer = clock.after(limits.admissionTimeoutMs, () => {
      leave()
      stream.abort(new Error('gossip is spoken with members only'))
    })
    const pass = () => {
      leave()
      if (stream.status !== 'open') return
      void handler(stream, shown(connection))
      stream.resume()
    }
    const entry: WaitingStream = { stream, timer, pass }
    streams.add(entry)
    stream.addEventListener('close', leave)
    stream.pause()
  }

  const wrap = (registrar: Registrar): Registrar => ({
    handle: (protocol, handler, options) => {
      protocols.push(protocol)
      const gated: StreamHandler = (stream, connection) => onInbound(stream, connection, handler)
      return registrar.handle(protocol, gated, { ...options, maxInboundStreams: 2 })
    },
    unhandle: (protocol, options) => registrar.unhandle(protocol, options),
    register: (_protocol, given) => {
      topology = given
      return Promise.resolve('gate')
    },
    unregister: () => (topology = undefined),
    getProtocols: () => registrar.getProtocols(),
    getHandler: (protocol) => registrar.getHandler(protocol),
    getTopologies: (protocol) => registrar.getTopologies(protocol),
    use: (protocol, middleware) => registrar.use(protocol, middleware),
    unuse: (protocol) => registrar.unuse(protocol),
    getMiddleware: (protocol) => registrar.getMiddleware(protocol),
  })

  return {
    wrap,
    admitted(peer) {
      if (members.has(peer)) return
      const member: Member = { opening: false, stream: undefined, peerId: undefined }
      members.set(peer, member)
      void openOutbound(peer, member)
      for (const entry of [...(waiting.get(peer) ?? [])]) entry.pass()
    },
    gone(peer) {
      const member = members.get(peer)
      members.delete(peer)
      for (const entry of [...(waiting.get(peer) ?? [])]) {
        entry.timer.cancel()
        entry.stream.abort(new Error('the peer is not admitted'))
      }
      waiting.delete(peer)
      if (member?.peerId !== undefined) topology?.onDisconnect?.(member.peerId)
    },
    close() {
      repeating.stop()
      for (const streams of waiting.values()) for (const entry of streams) entry.timer.cancel()
      waiting.clear()
      members.clear()
    },
  }
}
