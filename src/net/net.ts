/**
 * Room net: everything between a peer's bytes and a room's handler; the only room that imports libp2p.
 *
 * net.ts          this map, the `Net` port and `startNet`, which puts the parts together and stops them in bounded time
 * method.ts       what a wire method is (a row), and what rooms see of RPC; registry.ts holds the rows
 * host.ts         the libp2p node, with its cipher in noise-crypto.ts and fewer writes by lean-writes.ts; peers.ts who is connected and admitted; envelope.ts signed envelopes
 * relay.ts        circuits through members; addresses.ts tells addresses apart, bounds.ts keeps strangers from crowding in,
 *                 probe.ts dials back, mdns.ts looks around on the LAN
 * pubsub.ts       gossip, spoken with admitted peers alone, for which gossip-gate.ts stands between libp2p and gossipsub
 * rpc.ts          calls (/godel/rpc/1): which session a call takes; session.ts one session, of which caller.ts and callee.ts
 *                 are the two sides; frame.ts its bytes, outbox.ts what is to be sent, item-inbox.ts and item-sender.ts
 *                 streams with credit, wire-error.ts errors, reason.ts their words, deadlines.ts and deadline-signal.ts time, local-call.ts calls to self
 * bulk.ts         large transfers (/godel/bulk/1), with bulk-frame.ts its bytes and bulk-stream.ts its back-pressure
 */
import type { GossipSubComponents } from '@libp2p/gossipsub'
import { silentAudit, type Audit } from '../base/audit.ts'
import type { Clock } from '../base/clock.ts'
import { GodelError, reasonOf } from '../base/errors.ts'
import type { Limits } from '../base/limits.ts'
import type { Log } from '../base/log.ts'
import type { Meter } from '../base/meter.ts'
import type { Access, GuestStanding, Scope, Standing } from '../base/standing.ts'
import { inOrderOfUse } from './addresses.ts'
import { createBounds } from './bounds.ts'
import { bulkProtocol, createBulk } from './bulk.ts'
import { open, seal } from './envelope.ts'
import { createGossipGate } from './gossip-gate.ts'
import { privateKeyOf, startHost } from './host.ts'
import { createHints, startMdns } from './mdns.ts'
import type { Rpc } from './method.ts'
import { bareAddress, createPeers, type Peers } from './peers.ts'
import { probe } from './probe.ts'
import { createPubsub } from './pubsub.ts'
import { createRelay } from './relay.ts'
import { createRpc, rpcProtocol } from './rpc.ts'

export interface NetDeps {
  /** The node's Ed25519 identity: its PeerId and the 32 bytes from which libp2p makes the key. */
  readonly key: { readonly peer: string; readonly seed: Uint8Array }
  readonly limits: Limits
  readonly clock: Clock
  readonly log: Log
  readonly meter: Meter
  /** Where calls are put down that are not allowed; nowhere unless told. */
  readonly audit?: Audit | undefined
}

export interface NetOptions {
  /** Multiaddrs to listen on, such as `/ip4/0.0.0.0/tcp/0`; none to only dial. */
  readonly listen: readonly string[]
  /** Whether it relays for members of its realm; true unless told. */
  readonly relay?: boolean | undefined
  /** Finds peers on the LAN; false unless told. */
  readonly mdns?: boolean | undefined
  /** Where mDNS is spoken; the group and port that all speak at unless told. */
  readonly mdnsPort?: number | undefined
}

/** What the handler of a topic says of a message: only `accept` passes it on to others. */
export type Verdict = 'accept' | 'ignore' | 'reject'
export type TopicHandler = (bytes: Uint8Array, from: string) => Verdict | Promise<Verdict>

/** Gossip with admitted peers; `from` of a handler is the peer that passed the message on, not its author. */
export interface Pubsub {
  /**
   * One handler per topic (CONFLICT for a second). Members take part; a guest does where `guests` says so of it, and is
   * neither heard nor told anything on other topics. Gives the function that ends the subscription.
   */
  subscribe(
    topic: string,
    handler: TopicHandler,
    guests?: (peer: string, standing: GuestStanding) => boolean,
  ): () => void
  /** TOO_LARGE over limits.gossipMessageBytesMax. Without any listener the message goes nowhere, which is no error. */
  publish(topic: string, bytes: Uint8Array): Promise<void>
}

/** Who may send for a purpose, as for a method. */
export interface BulkAccess {
  readonly access: Access
  readonly guests?: Scope | 'any'
}

export type BulkHandler = (
  peer: string,
  header: unknown,
  source: AsyncIterable<Uint8Array>,
  signal: AbortSignal,
) => Promise<unknown>

/** Large one-way transfers between admitted peers, each on a stream of its own, answered by the receiver at the end. */
export interface Bulk {
  /**
   * Gives the receiver's answer. PEER_UNREACHABLE if nothing was sent, STREAM_LOST if the connection or the receiver went
   * away or nothing moved for limits.bulkIdleTimeoutMs, CANCELLED, what `source` throws, or what the receiver threw.
   */
  send(
    peer: string,
    purpose: string,
    header: unknown,
    source: AsyncIterable<Uint8Array>,
    options?: { signal?: AbortSignal },
  ): Promise<unknown>
  /** One handler per purpose (CONFLICT for a second), for members unless told. What it throws is thrown to the sender. */
  handle(purpose: string, handler: BulkHandler, access?: BulkAccess): void
}

export type Direction = 'inbound' | 'outbound'

/** How a peer is connected. `isDialled`: this node dialled it; `dialledUs`: it dialled this node; both can be. */
export type ConnectionKind =
  | { readonly kind: 'direct'; readonly isDialled: boolean; readonly dialledUs: boolean }
  | { readonly kind: 'relayed'; readonly through: string }

export interface Net {
  /** Our own PeerId. */
  readonly peer: string
  /** Multiaddrs, without the /p2p suffix, that others can dial. */
  addresses(): string[]
  /** Connects, unless a connection is open. PEER_UNREACHABLE, CANCELLED. A resolved dial is not admission. */
  dial(peer: string, addresses: readonly string[], signal?: AbortSignal): Promise<void>
  isConnected(peer: string): boolean
  connected(): string[]
  /** Dialable addresses that the peer gave of itself or was dialled at, without the /p2p suffix. */
  remoteAddresses(peer: string): string[]
  /** How the peer is connected at its best; undefined without a connection. */
  connectionKind(peer: string): ConnectionKind | undefined
  /** Closes the connections whose own end is at an address that this host has no more: nobody would tell. */
  dropStranded(): void
  /** The IP address from which the peer is connected directly. */
  observedIp(peer: string): string | undefined
  /** Whether something that speaks as libp2p does answers at one of these addresses, within limits.dialBackTimeoutMs. */
  probe(addresses: readonly string[]): Promise<boolean>
  /** Relays that members hold for this node; see addresses(), which tells how it is reached through them. */
  readonly relays: {
    /** Asks a connected member; PEER_UNREACHABLE where it does not relay. */
    reserve(peer: string): Promise<void>
    release(peer: string): void
    held(): string[]
    /** Circuits that this node relays for others. */
    carried(): number
  }
  /** Called with what mDNS finds: hints, from whoever speaks on the LAN. */
  onHint(fn: (peer: string, addresses: readonly string[]) => void): () => void
  /** Called on the first connection to a peer. */
  onConnected(fn: (peer: string, direction: Direction) => void): () => void
  /** Called when the last connection to a peer is closed. */
  onDisconnected(fn: (peer: string) => void): () => void
  disconnect(peer: string): Promise<void>
  /**
   * From now on gossip is spoken with the peer and its calls are answered as far as its standing goes; ends with its last
   * connection. Once more with another standing: that one counts from then on.
   */
  admit(peer: string, standing: Standing): void
  /** The standing of an admitted peer. */
  standingOf(peer: string): Standing | undefined
  /** Takes admission back and cuts the connections, with every call and stream on them, whatever the peer does. */
  expel(peer: string): void
  isAdmitted(peer: string): boolean
  readonly rpc: Rpc
  readonly pubsub: Pubsub
  readonly bulk: Bulk
  /** A signed envelope (libp2p RFC 0002) of `payload` by our key, valid in `domain` alone. */
  seal(domain: string, payload: Uint8Array): Promise<Uint8Array>
  /** The author and the payload of a signed envelope; INVALID_MESSAGE if it is forged, altered or of another domain. */
  open(domain: string, envelope: Uint8Array): Promise<{ peer: string; payload: Uint8Array }>
  /** Ends everything within limits.stopTimeoutMs. */
  close(): Promise<void>
}

/** Starts libp2p and the parts on top of it. INVALID_ARGUMENT for an address that cannot be listened on. */
export const startNet = async (deps: NetDeps, options: NetOptions): Promise<Net> => {
  const { limits, clock } = deps
  const log = deps.log.child({ room: 'net' })
  const self = deps.key.peer
  const privateKey = await privateKeyOf(deps.key.seed)

  const peers: Peers = createPeers({
    self,
    limits,
    clock,
    log,
    onAdmitted: (peer) => gate.admitted(peer),
    onGone: (peer) => {
      gate.gone(peer)
      relay.gone(peer)
    },
  })
  const { isAdmitted, standingOf, connections } = peers
  const isMember = (peer: string) => standingOf(peer)?.kind === 'member'
  const relay = createRelay({ limits, clock, isMember })
  const gate = createGossipGate({ limits, clock, log, isAdmitted, connections })
  const pubsub = createPubsub({ limits, clock, log, meter: deps.meter, standingOf })
  const streams = { limits, clock, log, meter: deps.meter, audit: deps.audit ?? silentAudit, standingOf }
  const rpc = createRpc({ ...streams, self, openStream: streamOpener(peers, rpcProtocol) })
  const bulk = createBulk({ ...streams, openStream: streamOpener(peers, bulkProtocol) })

  const host = await startHost({
    privateKey,
    listen: options.listen,
    limits,
    gater: { ...relay.gater, ...createBounds({ limits, isAdmitted, all: () => peers.all() }) },
    relay: { ...relay, serve: options.relay ?? true },
    gossip: (components) => pubsub.service({ ...pick(components), registrar: gate.wrap(components.registrar) }),
    onStream: {
      [rpcProtocol]: { handle: rpc.accept, maxInboundStreams: limits.rpcSessionsPerConnectionMax },
      [bulkProtocol]: { handle: bulk.accept, maxInboundStreams: limits.inboundStreamsPerProtocol },
    },
    onCreated: peers.attach,
  })

  const hints = createHints()
  const looking =
    options.mdns === true ? await startMdns(host, { limits, log, port: options.mdnsPort }, hints.tell) : undefined

  const close = async () => {
    looking?.stop()
    rpc.close()
    bulk.close()
    gate.close()
    await withinTime(clock, limits.stopTimeoutMs, Promise.resolve(host.stop()), log)
  }

  return {
    peer: self,
    addresses: () => inOrderOfUse([...host.getMultiaddrs().map(bareAddress), ...relay.addresses()]),
    dial: peers.dial,
    isConnected: peers.isConnected,
    connected: peers.connected,
    remoteAddresses: peers.remoteAddresses,
    connectionKind: peers.connectionKind,
    dropStranded: peers.dropStranded,
    observedIp: peers.observedIp,
    probe: (addresses) => probe(addresses, { clock, limits }),
    relays: { reserve: relay.reserve, release: relay.release, held: relay.relays, carried: relay.circuits },
    onHint: hints.on,
    onConnected: peers.onConnected,
    onDisconnected: peers.onDisconnected,
    disconnect: peers.disconnect,
    admit: peers.admit,
    standingOf: peers.standingOf,
    expel: peers.expel,
    isAdmitted,
    rpc,
    pubsub,
    bulk,
    seal: (domain, payload) => seal(privateKey, domain, payload),
    open,
    close,
  }
}

/** libp2p hands its components over in a proxy, which cannot be spread. */
const pick = (components: GossipSubComponents): GossipSubComponents => ({
  privateKey: components.privateKey,
  peerId: components.peerId,
  peerStore: components.peerStore,
  registrar: components.registrar,
  connectionManager: components.connectionManager,
  logger: components.logger,
})

/** Opens a stream on the newest connection to a peer; PEER_UNREACHABLE without one. */
const streamOpener = (peers: Peers, protocol: string) => async (peer: string, signal: AbortSignal) => {
  const connection = peers.connections(peer).at(-1)
  if (connection === undefined) throw new GodelError({ code: 'PEER_UNREACHABLE', peer, reason: 'it is not connected' })
  return { stream: await connection.newStream(protocol, { signal }), connection }
}

/** Waits for `work`, and no longer than `timeoutMs`: stopping libp2p may hang. */
const withinTime = (clock: Clock, timeoutMs: number, work: Promise<unknown>, log: Log): Promise<void> =>
  new Promise((resolve) => {
    const timer = clock.after(timeoutMs, () => {
      log.warn('libp2p did not stop in time', { timeoutMs })
      resolve()
    })
    work
      .catch((error: unknown) => log.warn('libp2p did not stop cleanly', { reason: reasonOf(error) }))
      .finally(() => {
        timer.cancel()
        resolve()
      })
  })
