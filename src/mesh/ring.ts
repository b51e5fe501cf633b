/** Who watches whom: consistent hashing on a ring of peers (Karger and others, 1997). A node's watchers are the next few after it. Pure. */
import { sha256Hex } from '../base/hash.ts'
import type { PeerState } from './records.ts'

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

interface Watchable {
  readonly peer: string
  readonly incarnation: number
  readonly state: PeerState
  readonly accusers: readonly string[]
}

/**
 * The subjects of a watcher: those that the ring gives it among the living, and those that are down by its own word, since a node
 * that was only stopped for a while keeps its connections, hears no gossip, and is to be told as soon as it answers.
 */
export const subjectsOf = (
  self: string,
  peers: Iterable<Watchable>,
  watchers: number,
): { peer: string; incarnation: number }[] => {
  const incarnations = new Map<string, number>()
  const up: string[] = []
  const accused: string[] = []
  for (const { peer, incarnation, state, accusers } of peers) {
    incarnations.set(peer, incarnation)
    if (state !== 'down' && state !== 'left') up.push(peer)
    if (state === 'down' && accusers.includes(self)) accused.push(peer)
  }
  return [...watchedBy(self, up, watchers), ...accused].map((peer) => ({ peer, incarnation: incarnations.get(peer)! }))
}
