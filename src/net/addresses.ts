/** Multiaddrs as text: which are any, which are direct, which go through a relay, and which a peer is worth being told. */
import { multiaddr } from '@multiformats/multiaddr'

const ipOf = (address: string): string | undefined => /^\/ip[46]\/([^/]+)/.exec(address)?.[1]

const parses = (address: string): boolean => {
  try {
    multiaddr(address)
    return true
  } catch {
    return false
  }
}

/** Whether a node can listen there: an IP address, a TCP port, and `/ws` behind it for WebSockets. */
export const isListenable = (address: string): boolean =>
  /^\/ip[46]\/[^/]+\/tcp\/\d+(\/ws)?$/.test(address) && parses(address)

/** Whether a node may be dialled there: an address or a name, and a TCP port; what else is behind it has to be a multiaddr. */
export const isDialable = (address: string): boolean =>
  /^\/(ip4|ip6|dns|dns4|dns6)\/[^/]+\/tcp\/\d+(\/|$)/.test(address) && parses(address)

export const isCircuit = (address: string): boolean => address.includes('/p2p-circuit')
export const isLoopback = (address: string): boolean => /^\/ip4\/127\.|^\/ip6\/::1\//.test(address)
export const isWebSocket = (address: string): boolean => /\/wss?(\/|$)/.test(address)

/** The IP address of a direct address; undefined for one with a name, and for one through a relay. */
export const ipOfDirect = (address: string): string | undefined => (isCircuit(address) ? undefined : ipOf(address))

/** An IPv4 address that came in over an IPv6 socket is the same address. */
export const plainIp = (ip: string): string => ip.replace(/^::ffff:(?=\d+\.\d+\.\d+\.\d+$)/i, '')

/** The PeerId of the relay in an address through one. */
export const relayOf = (address: string): string | undefined => /\/p2p\/([^/]+)\/p2p-circuit/.exec(address)?.[1]

/**
 * The addresses of a relay (with its /p2p part or without) as addresses through it: those that somebody elsewhere can
 * dial, the first `most` of them. Those on loopback only where there are no others.
 */
export const relayedAddresses = (relay: string, given: readonly string[], most: number): string[] => {
  const direct = [...new Set(given.filter((each) => !isCircuit(each)).map((each) => each.replace(/\/p2p\/[^/]+$/, '')))]
  const elsewhere = direct.filter((each) => !isLoopback(each))
  return (elsewhere.length > 0 ? elsewhere : direct).slice(0, most).map((each) => `${each}/p2p/${relay}/p2p-circuit`)
}

/**
 * The most telling first, since only some fit into an advertisement: those through relays, which are there only where they
 * are needed, then direct ones, then loopback. Link-local ones, which need a zone, not at all.
 */
export const inOrderOfUse = (addresses: readonly string[]): string[] => {
  const rank = (address: string) => (isCircuit(address) ? 0 : isLoopback(address) ? 2 : 1)
  return addresses
    .filter((address) => !/^\/ip6(zone\/[^/]+\/ip6)?\/fe80:/i.test(address))
    .toSorted((a, b) => rank(a) - rank(b))
}
