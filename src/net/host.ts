/**
 * The libp2p node: TCP, Noise, Yamux, identify, ping, gossipsub, with the defaults replaced that were measured to fail.
 */
import { generateKeyPairFromSeed } from '@libp2p/crypto/keys'
import type { GossipSub, GossipSubComponents } from '@libp2p/gossipsub'
import { identify } from '@libp2p/identify'
import type { ComponentLogger, Libp2p, Logger, PrivateKey, StreamHandler } from '@libp2p/interface'
import { noise } from '@libp2p/noise'
import { ping } from '@libp2p/ping'
import { tcp } from '@libp2p/tcp'
import { yamux } from '@libp2p/yamux'
import { createLibp2p } from 'libp2p'
import { GodelError, reasonOf } from '../base/errors.ts'
import type { Limits } from '../base/limits.ts'
import { inOneWrite, withFewWindowUpdates } from './lean-writes.ts'
import { noiseCrypto } from './noise-crypto.ts'

export interface HostOptions {
  readonly privateKey: PrivateKey
  readonly listen: readonly string[]
  readonly limits: Limits
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
    transports: [tcp({ outboundSocketInactivityTimeout: 0, inboundSocketInactivityTimeout: 0 })],
    connectionEncrypters: [(components) => inOneWrite(noise({ crypto: noiseCrypto })(components), limits)],
    streamMuxers: [() => withFewWindowUpdates(muxer(), limits)],
    connectionManager: {
      maxConnections: limits.connectionsMax,
      inboundConnectionThreshold: limits.inboundConnectionsPerSecond,
      maxIncomingPendingConnections: limits.pendingInboundConnectionsMax,
      dialTimeout: limits.dialTimeoutMs,
      addressDialTimeout: limits.dialTimeoutMs,
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
