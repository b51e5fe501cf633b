/**
 * Who is connected and who is admitted. libp2p speaks of connections; rooms want to know of peers: told of the first
 * connection to one and of the end of the last.
 */
import type { Connection, IdentifyResult, Libp2p, PeerId } from '@libp2p/interface'
import { networkInterfaces } from 'node:os'
import { peerIdFromString } from '@libp2p/peer-id'
import { multiaddr, type Multiaddr } from '@multiformats/multiaddr'
import type { Clock } from '../base/clock.ts'
import { GodelError } from '../base/errors.ts'
import type { Limits } from '../base/limits.ts'
import type { Log } from '../base/log.ts'
import type { Standing } from '../base/standing.ts'
import { inOrderOfUse, ipOfDirect, isCircuit, plainIp, relayOf } from './addresses.ts'
import { deadlineSignal } from './deadline-signal.ts'
import { readyFor } from './host.ts'
import type { ConnectionKind, Direction } from './net.ts'
import { reasonOf } from './reason.ts'
import { isRelayed } from './relay.ts'

export interface PeersDeps {
  readonly self: string
  readonly limits: Limits
  readonly clock: Clock
  readonly log: Log
  /** Admission began or ended; for the gossip gate. */
  onAdmitted(peer: string): void
  onGone(peer: string): void
}

export interface Peers {
  /** Begins to listen to the host's events. */
  attach(host: Libp2p): void
  dial(peer: string, addresses: readonly string[], signal?: AbortSignal): Promise<void>
  disconnect(peer: string): Promise<void>
  admit(peer: string, standing: Standing): void
  standingOf(peer: string): Standing | undefined
  expel(peer: string): void
  isAdmitted(peer: string): boolean
  isConnected(peer: string): boolean
  connected(): string[]
  /** Open connections: those through a relay first, then the newest last. */
  connections(peer: string): Connection[]
  /** Every open connection. */
  all(): Connection[]
  remoteAddresses(peer: string): string[]
  connectionKind(peer: string): ConnectionKind | undefined
  /** Closes the connections whose own end is at an address that this host has no more: nobody would tell. */
  dropStranded(): void
  observedIp(peer: string): string | undefined
  onConnected(fn: (peer: string, direction: Direction) => void): () => void
  onDisconnected(fn: (peer: string) => void): () => void
}

/** A multiaddr in text without its /p2p part. */
export const bareAddress = (address: Multiaddr): string => address.toString().replace(/\/p2p\/[^/]+$/, '')

/** Where our end of a connection over TCP is, which libp2p keeps to itself. */
const localIpOf = (connection: Connection): string | undefined => {
  const { maConn } = connection as unknown as { maConn?: { socket?: { localAddress?: string } } }
  const ip = maConn?.socket?.localAddress
  return ip === undefined ? undefined : plainIp(ip)
}

export const createPeers = (deps: PeersDeps): Peers => {
  const { self, limits, clock, log } = deps
  const admitted = new Map<string, Standing>()
  const addresses = new Map<string, string[]>()
  const connectedFns = new Set<(peer: string, direction: Direction) => void>()
  const disconnectedFns = new Set<(peer: string) => void>()
  let host: Libp2p | undefined

  const tell = <A extends unknown[]>(fns: Set<(...args: A) => void>, ...args: A) => {
    for (const fn of fns) {
      try {
        fn(...args)
      } catch (error) {
        log.error('a listener for connections failed', { reason: reasonOf(error) })
      }
    }
  }

  const idOf = (peer: string): PeerId | undefined => {
    try {
      return peerIdFromString(peer)
    } catch {
      return undefined
    }
  }

  const connections = (peer: string): Connection[] => {
    const id = idOf(peer)
    if (id === undefined || host === undefined) return []
    const open = host.getConnections(id).filter((connection) => connection.status === 'open')
    if (open.length < 2) return open
    return [...open.filter(isRelayed), ...open.filter((connection) => !isRelayed(connection))]
  }

  /** The peer through which a connection goes. Of one that came in, the address is that of our connection to the relay. */
  const throughOf = (connection: Connection): string => {
    const address = connection.remoteAddr.toString()
    const [base = ''] = address.split('/p2p-circuit')
    const own = host?.getConnections().find((each) => !isRelayed(each) && each.remoteAddr.toString() === base)
    return relayOf(address) ?? own?.remotePeer.toString() ?? 'unknown'
  }

  const learn = (peer: string, found: readonly string[]) => {
    const known = new Set([...found, ...(addresses.get(peer) ?? [])])
    addresses.delete(peer)
    addresses.set(peer, [...known].slice(0, limits.addressesPerPeerMax))
    for (const other of addresses.keys()) {
      if (addresses.size <= 2 * limits.connectionsMax) break
      addresses.delete(other)
    }
  }

  const onIdentify = (result: IdentifyResult) => {
    const found = result.listenAddrs.slice(0, limits.addressesPerPeerMax).map(bareAddress)
    learn(result.peerId.toString(), found)
  }

  /** Where there are too many connections, libp2p cuts those of the least value. */
  const value = (peer: string, tag: { value: number } | undefined) => {
    const id = idOf(peer)
    if (id !== undefined) host?.peerStore.merge(id, { tags: { admitted: tag } }).catch(() => {})
  }

  const end = (peer: string) => {
    if (!admitted.delete(peer)) return
    value(peer, undefined)
    deps.onGone(peer)
  }

  /** Lets what was sent still arrive, for a short time; then the connections are cut. */
  const closeAll = async (peer: string) => {
    const deadline = deadlineSignal(clock, limits.disconnectTimeoutMs)
    const closing = connections(peer).map(async (connection) => {
      try {
        await connection.close({ signal: deadline.signal })
      } catch (error) {
        connection.abort(error as Error)
      }
    })
    await Promise.all(closing)
    deadline.done()
  }

  /** At once, with every stream and call on them: a close that asks the other end to agree can be drawn out by it. */
  const cut = (peer: string) => {
    const id = idOf(peer)
    if (id === undefined || host === undefined) return
    for (const connection of host.getConnections(id)) connection.abort(new Error('the peer was put out'))
  }

  const unreachable = (peer: string, reason: string, cause?: unknown) =>
    new GodelError({ code: 'PEER_UNREACHABLE', peer, reason }, { cause })

  const targets = (peer: string, given: readonly string[]): Multiaddr[] => {
    const parsed: Multiaddr[] = []
    for (const address of inOrderOfUse(given).slice(0, limits.addressesPerPeerMax)) {
      if (relayOf(address) === self) continue
      try {
        parsed.push(multiaddr(`${bareAddress(multiaddr(address))}/p2p/${peer}`))
      } catch (error) {
        log.debug('an address does not parse', { peer, address, reason: reasonOf(error) })
      }
    }
    return parsed
  }

  const dialAll = async (found: readonly Multiaddr[], signal: AbortSignal): Promise<void> => {
    await readyFor(host!, found.map(String))
    await host!.dial([...found], { signal })
  }

  /** Of a relay that this node is connected to one address is enough, and it comes before those that are to be dialled. */
  const byRelay = (relayed: readonly string[]): string[] => {
    const isAtHand = (relay: string | undefined) =>
      relay !== undefined && connections(relay).some((each) => !isRelayed(each))
    const atHand = new Map(relayed.map((address) => [relayOf(address), address]))
    const near = [...atHand].filter(([relay]) => isAtHand(relay)).map(([, address]) => address)
    return near.length > 0 ? near : [...relayed]
  }

  /** Relays only once no direct address has answered, and before all the time is over: what is dropped never answers. */
  const directFirst = async (found: readonly Multiaddr[], signal: AbortSignal): Promise<void> => {
    const direct = found.filter((address) => !isCircuit(address.toString()))
    const relayed = byRelay(found.map(String).filter(isCircuit)).map((address) => multiaddr(address))
    if (direct.length === 0 || relayed.length === 0) return dialAll(direct.length > 0 ? direct : relayed, signal)
    const part = deadlineSignal(clock, limits.directDialsTimeoutMs, signal)
    try {
      await dialAll(direct, part.signal)
    } catch (error) {
      if (signal.aborted) throw error
      await dialAll(relayed, signal)
    } finally {
      part.done()
    }
  }

  return {
    attach(started) {
      host = started
      host.addEventListener('peer:connect', (event) => {
        const peer = event.detail.toString()
        tell(connectedFns, peer, connections(peer)[0]?.direction ?? 'inbound')
      })
      host.addEventListener('peer:disconnect', (event) => {
        const peer = event.detail.toString()
        end(peer)
        tell(disconnectedFns, peer)
      })
      host.addEventListener('peer:identify', (event) => onIdentify(event.detail))
    },

    async dial(peer, given, signal) {
      if (peer === self) throw unreachable(peer, 'it is this node')
      if (connections(peer).length > 0) return
      const found = targets(peer, given)
      if (found.length === 0) throw unreachable(peer, 'no address of it is known')
      const deadline = deadlineSignal(clock, limits.dialTimeoutMs, signal)
      try {
        await directFirst(found, deadline.signal)
        learn(peer, found.map(bareAddress))
      } catch (error) {
        if (signal?.aborted === true) throw new GodelError({ code: 'CANCELLED', what: `the dial to ${peer}` })
        if (deadline.expired) throw unreachable(peer, `no answer within ${limits.dialTimeoutMs} ms`, error)
        throw unreachable(peer, reasonOf(error), error)
      } finally {
        deadline.done()
      }
    },

    disconnect: closeAll,

    admit(peer, standing) {
      if (connections(peer).length === 0) return
      const isNew = !admitted.has(peer)
      admitted.set(peer, standing)
      if (!isNew) return
      value(peer, { value: limits.admittedTag })
      deps.onAdmitted(peer)
    },

    standingOf: (peer) => admitted.get(peer),

    expel(peer) {
      end(peer)
      cut(peer)
    },

    isAdmitted: (peer) => admitted.has(peer),
    isConnected: (peer) => connections(peer).length > 0,
    connected: () => host?.getPeers().map((id) => id.toString()) ?? [],
    connections,
    all: () => host?.getConnections() ?? [],
    remoteAddresses: (peer) => [...(addresses.get(peer) ?? [])],
    connectionKind(peer) {
      const connection = connections(peer).at(-1)
      if (connection === undefined) return undefined
      if (isRelayed(connection)) return { kind: 'relayed', through: throughOf(connection) }
      const isDialled = connections(peer).some((each) => !isRelayed(each) && each.direction === 'outbound')
      const dialledUs = connections(peer).some((each) => !isRelayed(each) && each.direction === 'inbound')
      return { kind: 'direct', isDialled, dialledUs }
    },
    dropStranded() {
      const own = new Set(
        Object.values(networkInterfaces()).flatMap((all) => (all ?? []).map(({ address }) => address)),
      )
      for (const connection of host?.getConnections() ?? []) {
        const ip = localIpOf(connection)
        if (ip !== undefined && !own.has(ip)) connection.abort(new Error('this host has its address no more'))
      }
    },
    observedIp(peer) {
      const connection = connections(peer).findLast((each) => !isRelayed(each))
      const ip = connection === undefined ? undefined : ipOfDirect(connection.remoteAddr.toString())
      return ip === undefined ? undefined : plainIp(ip)
    },
    onConnected(fn) {
      connectedFns.add(fn)
      return () => void connectedFns.delete(fn)
    },
    onDisconnected(fn) {
      disconnectedFns.add(fn)
      return () => void disconnectedFns.delete(fn)
    },
  }
}
