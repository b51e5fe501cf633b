/** Where a node listens when nobody said: at the port that it had before, so that its peers find it again. */
import { createServer } from 'node:net'
import { decode, encode } from '../base/codec.ts'
import type { Limits } from '../base/limits.ts'
import type { Store } from '../store/store.ts'

const SPACE = 'node'
const KEY = 'peer-port'
const ANY = '0.0.0.0'

const isFree = (port: number, host: string): Promise<boolean> =>
  new Promise((resolve) => {
    const probe = createServer()
    probe.once('error', () => resolve(false))
    probe.listen(port, host, () => probe.close(() => resolve(true)))
  })

const lastPort = (store: Store): number | undefined => {
  const kept = store.get(SPACE, KEY)
  const port = kept === undefined ? undefined : decode(kept, 'the last port')
  return typeof port === 'number' ? port : undefined
}

/** An address whose port is left open takes the port of the last start, if it is free. */
const settled = async (address: string, last: number | undefined): Promise<string> => {
  const open = /^\/ip[46]\/([^/]+)\/tcp\/0$/.exec(address)
  const host = open?.[1]
  if (host === undefined || last === undefined || !(await isFree(last, host))) return address
  return address.replace(/0$/, String(last))
}

/** The addresses that were asked for; else every address of this host at the last port, the usual one, or a free one. */
export const listenAddresses = async (
  asked: readonly string[],
  store: Store,
  limits: Pick<Limits, 'peerPort'>,
): Promise<string[]> => {
  const last = lastPort(store)
  const usual = asked.length === 0 && last === undefined && (await isFree(limits.peerPort, ANY))
  const open = usual ? [`/ip4/${ANY}/tcp/${limits.peerPort}`] : [`/ip4/${ANY}/tcp/0`]
  return Promise.all((asked.length > 0 ? asked : open).map((address) => settled(address, last)))
}

/** Keeps the port of a TCP address that this node listens on. */
export const rememberPort = async (addresses: readonly string[], store: Store): Promise<void> => {
  const port = addresses.map((address) => /\/tcp\/(\d+)/.exec(address)?.[1]).find((found) => found !== undefined)
  if (port !== undefined) await store.commit([{ space: SPACE, key: KEY, value: encode(Number(port)) }])
}
