/**
 * Finds peers on the LAN by multicast DNS. Whoever is there can say anything, so what is found is a hint and no more. What
 * is said: this node's PeerId and its private addresses under a name drawn anew at each start; nothing of its realm.
 */
import type { Libp2p } from '@libp2p/interface'
import type { Limits } from '../base/limits.ts'
import type { Log } from '../base/log.ts'
import { bareAddress } from './peers.ts'
import { componentsOf } from './host.ts'
import { reasonOf } from './reason.ts'

type Hint = (peer: string, addresses: readonly string[]) => void

/** Hands on what is found to whoever listens by then. */
export const createHints = () => {
  const fns = new Set<Hint>()
  return {
    tell: ((peer, addresses) => {
      for (const fn of fns) fn(peer, addresses)
    }) as Hint,
    on(fn: Hint): () => void {
      fns.add(fn)
      return () => void fns.delete(fn)
    },
  }
}

/** Where it cannot be spoken, for want of a network, that is logged and nothing is found. */
export const startMdns = async (
  host: Libp2p,
  deps: { limits: Pick<Limits, 'mdnsIntervalMs' | 'addressesPerPeerMax'>; log: Log; port?: number | undefined },
  tell: Hint,
): Promise<{ stop(): void }> => {
  const { limits, log, port } = deps
  const { mdns } = await import('@libp2p/mdns')
  const options = { interval: limits.mdnsIntervalMs, ...(port !== undefined && { port }) }
  const service = mdns(options)(componentsOf(host) as never) as unknown as {
    start(): Promise<void>
    stop(): Promise<void>
    addEventListener(type: 'peer', fn: (event: CustomEvent<{ id: unknown; multiaddrs: unknown[] }>) => void): void
  }
  const self = host.peerId.toString()
  service.addEventListener('peer', ({ detail }) => {
    const peer = String(detail.id)
    const addresses = detail.multiaddrs.slice(0, limits.addressesPerPeerMax).map((each) => bareAddress(each as never))
    if (peer !== self) tell(peer, addresses)
  })
  const failed = (error: unknown) => log.warn('mDNS does not work here', { reason: reasonOf(error) })
  await service.start().catch(failed)
  return { stop: () => void service.stop().catch(failed) }
}
