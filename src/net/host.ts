/**
 * The libp2p node: TCP and circuits, Noise, Yamux, identify, ping, gossipsub, with the defaults replaced that were measured
 * to fail. WebSockets cost 5 MB and 20 ms to load, so they are loaded with the first address that needs them.
 */
import { generateKeyPairFromSeed } from '@libp2p/crypto/keys'
import type { GossipSub, GossipSubComponents } from '@libp2p/gossipsub'
import { identify } from '@libp2p/identify'
import type {
  ComponentLogger,
  ConnectionGater,
  Libp2p,
  Logger,
  PrivateKey,
  StreamHandler,
  Transport,
} from '@libp2p/interface'
import { noise } from '@libp2p/noise'
import { ping } from '@libp2p/ping'
import { tcp } from '@libp2p/tcp'
import { yamux } from '@libp2p/yamux'
import { createLibp2p } from 'libp2p'
import { GodelError, reasonOf } from '../base/errors.ts'
import type { Limits } from '../base/limits.ts'
import { isWebSocket } from './addresses.ts'
import { inOneWrite, withFewWindowUpdates } from './lean-writes.ts'
import { noiseCrypto } from './noise-crypto.ts'
import type { Relay } from './relay.ts'

export interface HostOptions {
  readonly privateKey: PrivateKey
  readonly listen: readonly string[]
  readonly limits: Limits
  readonly gater: ConnectionGater
  /** Circuits, taken and, with `serve`, relayed for members. */
  readonly relay: Pick<Relay, 'transport' | 'server'> & { serve: boolean }
  /** Makes the gossip service from the components of the host. */
  gossip(components: GossipSubComponents): GossipSub
  /** Our own protocols. They are known before the first connection comes in. */
  readonly onStream: Record<string, { handle: StreamHandler; maxInboundStreams: number }>
  /** Called before the host starts, so that no event of it is missed. */
  onCreated(host: Libp2p): void
}

/** libp2p's form of a node key. */
export const privateKeyOf = (seed: Uint8Array): Promise<PrivateKey> => generateKeyPairFromSeed('Ed25519', seed)

const silent: Logger = Object.assign(() => {}, {
  error: () => {},
  trace: () => {},
  enabled: false,
  newScope: () => silent,
})

/** libp2p tells of its inner steps; what matters to an operator is logged by this room where it happens. */
const silentLogger: ComponentLogger = { forComponent: () => silent }

/** Creates and starts the host. INVALID_ARGUMENT for an address that cannot be listened on. */
export const startHost = async (options: HostOptions): Promise<Libp2p> => {
  const { limits } = options
  const muxer = yamux({
    maxInboundStreams: 2 * limits.inboundStreamsPerProtocol,
    streamOptions: {
      maxStreamWindowSize: limits.streamWindowBytesMax,
      maxReadBufferLength: limits.streamReadBytesMax,
      maxWriteBufferLength: limits.streamWriteBytesMax,
    },
  })
  const host = await createLibp2p({
    privateKey: options.privateKey,
    start: false,
    logger: silentLogger,
    addresses: { listen: [...options.listen] },
    transports: [
      tcp({ outboundSocketInactivityTimeout: 0, inboundSocketInactivityTimeout: 0 }),
      options.relay.transport as never,
      ...(options.listen.some(isWebSocket) ? [await webSocketTransport()] : []),
    ],
    connectionGater: options.gater,
    connectionEncrypters: [(components) => inOneWrite(noise({ crypto: noiseCrypto })(components), limits)],
    streamMuxers: [() => withFewWindowUpdates(muxer(), limits)],
    connectionManager: {
      maxConnections: limits.connectionsMax,
      inboundConnectionThreshold: limits.inboundConnectionsPerSecond,
      maxIncomingPendingConnections: limits.pendingInboundConnectionsMax,
      dialTimeout: limits.dialTimeoutMs,
      addressDialTimeout: limits.directDialTimeoutMs,
      reconnectRetries: 0, // the mesh has its own loop, since this one gives up after a few tries
    },
    connectionMonitor: {
      pingInterval: limits.connectionPingIntervalMs,
      pingTimeout: { minTimeout: limits.connectionPingTimeoutMs, maxTimeout: 4 * limits.connectionPingTimeoutMs },
    },
    services: {
      identify: identify({ maxObservedAddresses: 4 }),
      ping: ping(),
      gossip: options.gossip as never,
      ...(options.relay.serve && { relay: options.relay.server as never }),
    },
  })
  for (const [protocol, { handle, maxInboundStreams }] of Object.entries(options.onStream)) {
    await host.handle(protocol, handle, { maxInboundStreams, maxOutboundStreams: limits.inboundStreamsPerProtocol })
  }
  options.onCreated(host)
  try {
    await host.start()
  } catch (cause) {
    await Promise.resolve(host.stop()).catch(() => {})
    throw new GodelError(
      { code: 'INVALID_ARGUMENT', field: 'listen', reason: `cannot be used: ${reasonOf(cause)}` },
      { cause },
    )
  }
  return host
}

/** libp2p's components, beyond its declared interface. */
export const componentsOf = (host: Libp2p) => (host as unknown as { components: Components }).components
interface Components {
  transportManager: { add(transport: Transport): void; getTransports(): Transport[] }
}

const webSocketTransport = async () => (await import('@libp2p/websockets')).webSockets()

/** Makes the host able to dial these addresses, where it takes more than it has by now. */
export const readyFor = async (host: Libp2p, addresses: readonly string[]): Promise<void> => {
  if (!addresses.some(isWebSocket)) return
  const make = await webSocketTransport()
  const { transportManager } = componentsOf(host)
  const made = make(componentsOf(host) as never)
  const isThere = transportManager.getTransports().some((each) => each[Symbol.toStringTag] === made[Symbol.toStringTag])
  if (!isThere) transportManager.add(made)
}
