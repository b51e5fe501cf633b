/** Where a node listens when nobody said: at the port that it had before, so that its peers find it again. */
import { createServer } from 'node:net'
import { networkInterfaces } from 'node:os'
import { decode, encode } from '../base/codec.ts'
import type { Limits } from '../base/limits.ts'
import type { Store } from '../store/store.ts'

const SPACE = 'node'
const KEY = 'peer-port'
const ANY = '0.0.0.0'
const ANY6 = '::'

const isFree = (port: number, host: string): Promise<boolean> =>
  new Promise((resolve) => {
    const probe = createServer()
    probe.once('error', () => resolve(false))
    probe.listen({ port, host, ipv6Only: true }, () => probe.close(() => resolve(true)))
  })

const lastPort = (store: Store): number | undefined => {
  const kept = store.get(SPACE, KEY)
  const port = kept === undefined ? undefined : decode(kept, 'the last port')
  return typeof port === 'number' ? port : undefined
}

/** Whether some interface of this host has an IPv6 address, be it loopback. */
const hasIp6 = (): boolean =>
  Object.values(networkInterfaces())
    .flat()
    .some((each) => each?.family === 'IPv6')

/** An address whose port is left open takes this one, if it is free. */
const settled = async (address: string, port: number | undefined): Promise<string> => {
  const open = /^\/ip[46]\/([^/]+)\/tcp\/0(\/ws)?$/.exec(address)
  const host = open?.[1]
  if (host === undefined || port === undefined || !(await isFree(port, host))) return address
  return address.replace(/\/tcp\/0(?=$|\/)/, `/tcp/${port}`)
}

/**
 * The addresses that were asked for; else every address of this host, IPv6 too where it has that, at the last port, the
 * usual one, or a free one. With a port for WebSockets, every address at that one besides.
 */
export const listenAddresses = async (
  asked: { readonly listen: readonly string[]; readonly websocket?: number | undefined },
  store: Store,
  limits: Pick<Limits, 'peerPort'>,
): Promise<string[]> => {
  const last = lastPort(store)
  const hosts = [`/ip4/${ANY}`, ...(hasIp6() ? [`/ip6/${ANY6}`] : [])]
  const web = asked.websocket === undefined ? [] : hosts.map((host) => `${host}/tcp/${asked.websocket}/ws`)
  const isOpen = asked.listen.length === 0
  const port = isOpen && last === undefined && (await isFree(limits.peerPort, ANY)) ? limits.peerPort : last
  const plain = isOpen ? hosts.map((host) => `${host}/tcp/0`) : asked.listen
  return [...(await Promise.all(plain.map((address) => settled(address, port)))), ...web]
}

/** Keeps the port of a TCP address that this node listens on. */
export const rememberPort = async (addresses: readonly string[], store: Store): Promise<void> => {
  const port = addresses.map((address) => /\/tcp\/(\d+)$/.exec(address)?.[1]).find((found) => found !== undefined)
  if (port !== undefined) await store.commit([{ space: SPACE, key: KEY, value: encode(Number(port)) }])
}
