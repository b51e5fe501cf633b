/**
 * Circuits through members, for two nodes neither of which can be dialled (circuit relay v2, by libp2p). Stock relays serve
 * anybody and cut a circuit at 128 KiB or two minutes; here a member serves members alone, and a circuit has neither end,
 * but a pace and a bound on what waits in it, which libp2p's relay has not.
 *
 * Only a peer at which a reservation is held may bring circuits in: libp2p would take a circuit from anybody, and would
 * reserve with that peer on top.
 */
import { AsyncLocalStorage } from 'node:async_hooks'
import {
  circuitRelayServer,
  circuitRelayTransport,
  RELAY_V2_HOP_CODEC,
  RELAY_V2_STOP_CODEC,
  type CircuitRelayServerComponents,
  type CircuitRelayService,
  type CircuitRelayTransportComponents,
} from '@libp2p/circuit-relay-v2'
import type { Connection, ConnectionGater, PeerId, Stream, StreamHandler, Transport } from '@libp2p/interface'
import { peerIdFromString } from '@libp2p/peer-id'
import { multiaddr } from '@multiformats/multiaddr'
import type { Clock, Timer } from '../base/clock.ts'
import { GodelError } from '../base/errors.ts'
import type { Limits } from '../base/limits.ts'
import { createTokenBucket, type TokenBucket } from '../base/token-bucket.ts'
import { relayedAddresses } from './addresses.ts'
import { reasonOf } from './reason.ts'

export interface RelayDeps {
  readonly limits: Limits
  readonly clock: Clock
  /** Whether the peer is an admitted member: guests and strangers are not served. */
  isMember(peer: string): boolean
}

export interface Relay {
  readonly gater: ConnectionGater
  readonly transport: (components: CircuitRelayTransportComponents) => Transport
  /** The serving side. */
  readonly server: (components: CircuitRelayServerComponents) => CircuitRelayService
  /** Asks a connected peer to relay for this node; PEER_UNREACHABLE where it does not. */
  reserve(peer: string): Promise<void>
  /** Gives it up: nothing comes in there any more. The relay forgets it when its time is over. */
  release(peer: string): void
  /** The peers that relay for this node at present. */
  relays(): string[]
  /** The addresses at which this node is reached through them. */
  addresses(): string[]
  /** The peer's admission has ended: nothing is relayed to it any more. */
  gone(peer: string): void
  /** Circuits that this node relays at present. */
  circuits(): number
}

/** What the transport keeps of its reservations, beyond its declared interface. */
interface Reservations {
  addRelay(peer: PeerId, type: 'configured'): Promise<unknown>
  hasReservation(peer: PeerId): boolean
  reservations: Iterable<[PeerId, Held]> & { get(peer: PeerId): Held | undefined; delete(peer: PeerId): void }
}
interface Held {
  timeout: NodeJS.Timeout
  reservation: { addrs: Uint8Array[] }
}

/** The same object with some of its parts exchanged. Components come in a proxy, which cannot be spread. */
const exchanged = <T extends object>(whole: T, parts: Partial<T>): T =>
  new Proxy(whole, {
    get(target, key) {
      if (key in parts) return parts[key as keyof T]
      const part: unknown = Reflect.get(target, key)
      return typeof part === 'function' ? part.bind(target) : part
    },
  })

export const createRelay = (deps: RelayDeps): Relay => {
  const { limits, clock, isMember } = deps
  const hop = new AsyncLocalStorage<Stream>()
  let held: Reservations | undefined
  let service: CircuitRelayService | undefined
  let circuits = 0

  const gater: ConnectionGater = {
    denyInboundRelayReservation: (source) => !isMember(source.toString()),
    denyOutboundRelayedConnection: (source, destination) =>
      !isMember(source.toString()) || !isMember(destination.toString()) || circuits >= limits.relayCircuitsMax,
    denyInboundRelayedConnection: (relay) => !isMember(relay.toString()),
  }

  const transport: Relay['transport'] = (components) => {
    const { registrar } = components
    const handle: typeof registrar.handle = (protocol, handler, options) => {
      const checked: StreamHandler = (stream, connection) => {
        if (protocol !== RELAY_V2_STOP_CODEC || held?.hasReservation(connection.remotePeer) === true)
          return handler(stream, connection)
        stream.abort(new Error('it does not relay for this node'))
      }
      return registrar.handle(protocol, checked, options)
    }
    const made = circuitRelayTransport({
      maxInboundStopStreams: limits.relayCircuitsPerPeerMax,
      maxOutboundStopStreams: limits.relayCircuitsPerPeerMax,
      reservationCompletionTimeout: limits.dialTimeoutMs,
      reservationConcurrency: limits.relayReservationsMax, // one that ends drops those that wait, and nobody is told
    })(exchanged(components, { registrar: exchanged(registrar, { handle }) }))
    held = (made as unknown as { reservationStore: Reservations }).reservationStore
    return made
  }

  /** Both ends of a circuit are at hand when the stream to its far end is open. */
  const begin = (near: Stream, far: Stream) => {
    circuits++
    far.addEventListener('close', () => circuits--, { once: true })
    const rate = { perSecond: limits.relayBytesPerSecond, burst: limits.relayBytesPerSecond }
    pace(near, far, createTokenBucket(clock, rate), deps)
    pace(far, near, createTokenBucket(clock, rate), deps)
  }

  const server: Relay['server'] = (components) => {
    const { registrar, connectionManager } = components
    const handle: typeof registrar.handle = (protocol, handler, options) => {
      const known: StreamHandler = (stream, connection) => hop.run(stream, () => handler(stream, connection))
      return registrar.handle(protocol, protocol === RELAY_V2_HOP_CODEC ? known : handler, options)
    }
    const opening = (connection: Connection): Connection =>
      exchanged(connection, {
        newStream: async (protocols, options) => {
          const far = await connection.newStream(protocols, options)
          const near = hop.getStore()
          if (near !== undefined) begin(near, far)
          return far
        },
      })
    const getConnections: typeof connectionManager.getConnections = (peer) => {
      const all = connectionManager.getConnections(peer)
      return all.filter((each) => !isRelayed(each)).map(opening)
    }
    service = circuitRelayServer({
      maxInboundHopStreams: limits.relayCircuitsPerPeerMax,
      maxOutboundStopStreams: limits.relayCircuitsPerPeerMax,
      hopTimeout: limits.dialTimeoutMs,
      reservations: {
        applyDefaultLimit: false,
        maxReservations: limits.relayReservationsMax,
        reservationTtl: limits.relayReservationMs,
      },
    })(
      exchanged(components, {
        registrar: exchanged(registrar, { handle }),
        connectionManager: exchanged(connectionManager, { getConnections }),
      }),
    )
    return service
  }

  return {
    gater,
    transport,
    server,
    async reserve(peer) {
      try {
        await held?.addRelay(peerIdFromString(peer), 'configured')
      } catch (error) {
        throw new GodelError(
          { code: 'PEER_UNREACHABLE', peer, reason: `it does not relay: ${reasonOf(error)}` },
          { cause: error },
        )
      }
    },
    release(peer) {
      const id = peerIdFromString(peer)
      clearTimeout(held?.reservations.get(id)?.timeout)
      held?.reservations.delete(id)
    },
    relays: () => [...(held?.reservations ?? [])].map(([id]) => id.toString()),
    addresses: () =>
      [...(held?.reservations ?? [])].flatMap(([id, { reservation }]) =>
        relayedAddresses(
          id.toString(),
          reservation.addrs.map((bytes) => multiaddr(bytes).toString()),
          limits.relayAddressesPerRelay,
        ),
      ),
    gone(peer) {
      const id = peerIdFromString(peer)
      const reservations = service?.reservations
      // Its timer would end a later reservation of the same peer.
      ;(reservations?.get(id)?.signal as { clear?(): void } | undefined)?.clear?.()
      reservations?.delete(id)
    },
    circuits: () => circuits,
  }
}

export const isRelayed = (connection: Pick<Connection, 'remoteAddr'>): boolean =>
  connection.remoteAddr.toString().includes('/p2p-circuit')

/**
 * Holds one direction of a circuit to its rate (what was on its way, one window at most, comes on top), and stops reading where the other end takes nothing: libp2p joins the two
 * streams with a queue that has no bound.
 */
const pace = (from: Stream, to: Stream, bucket: TokenBucket, { limits, clock }: RelayDeps): void => {
  let waitingBytes = 0
  let pausedForRate: Timer | undefined

  const settle = () => {
    const full = waitingBytes > limits.relayBufferBytes
    if (from.status !== 'open') return
    if (full || pausedForRate !== undefined) return from.pause()
    from.resume()
  }
  from.addEventListener('message', ({ data }) => {
    waitingBytes += data.byteLength
    const waitMs = bucket.spend(data.byteLength)
    if (waitMs > 0)
      pausedForRate ??= clock.after(waitMs, () => {
        pausedForRate = undefined
        settle()
      })
    if (waitMs > 0 || waitingBytes > limits.relayBufferBytes) settle()
  })
  const send = to.send.bind(to)
  to.send = (data) => {
    const wasFull = waitingBytes > limits.relayBufferBytes
    waitingBytes = Math.max(0, waitingBytes - data.byteLength)
    if (wasFull) settle()
    return send(data)
  }
  from.addEventListener('close', () => pausedForRate?.cancel(), { once: true })
}
