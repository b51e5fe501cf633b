/** Who watches whom: consistent hashing on a ring of peers (Karger and others, 1997). A node's watchers are the next few after it. Pure. */
import { sha256Hex } from '../base/hash.ts'

const place = (peer: string): string => sha256Hex(`ring\0${peer}`)

/** The peers in the order of the ring. */
export const ringOf = (peers: Iterable<string>): string[] =>
  [...peers]
    .map((peer) => ({ peer, at: place(peer) }))
    .sort((a, b) => (a.at < b.at ? -1 : 1))
    .map(({ peer }) => peer)

/** Those that `self` watches: the `watchers` before it on the ring, or all others where there are no more. */
export const watchedBy = (self: string, peers: Iterable<string>, watchers: number): string[] => {
  const ring = ringOf(new Set([...peers, self]))
  const at = ring.indexOf(self)
  const count = Math.min(watchers, ring.length - 1)
  return Array.from({ length: count }, (_, index) => ring[(at - 1 - index + 2 * ring.length) % ring.length]!)
}
