/**
 * Whose place a newcomer takes in a full view: that of the oldest tombstone (a peer that has left, or whose life is over), never of
 * one that lives. The number of the last word of whoever gave way is remembered, so that a replay does not bring it back: as many
 * as the view holds, for as long as the tombstone would have stood. Beyond that a replay makes a peer look alive until the
 * word's own time to live is over, no longer, and its probes fail meanwhile.
 */
import type { Limits } from '../base/limits.ts'
import type { PeerRecord } from './records.ts'

export interface Tombstones {
  /** An entry is one now, or is one no longer. Those that stay one keep their place. */
  note(peer: string, isOne: boolean): void
  /** The one that has been one for longest. */
  oldest(): string | undefined
  /** It gives way. */
  evicted(record: PeerRecord): void
  /** A word of somebody who gave way, and no later one than the last. */
  isReplay(record: PeerRecord, nowMs: number): boolean
}

interface Last {
  readonly incarnation: number
  readonly left: boolean
  readonly sequence: number
  readonly untilMs: number
}

const isLater = (a: PeerRecord['ad'], b: Last): boolean =>
  (a.incarnation - b.incarnation || Number(a.left) - Number(b.left) || a.sequence - b.sequence) > 0

export const createTombstones = (limits: Pick<Limits, 'peersPerRealmMax' | 'tombstoneMs'>): Tombstones => {
  const standing = new Set<string>()
  const gone = new Map<string, Last>()
  return {
    note(peer, isOne) {
      if (isOne) standing.add(peer)
      else standing.delete(peer)
    },
    oldest: () => standing.values().next().value,
    evicted(record) {
      const { peer, ad, issuedAtMs } = record
      const { incarnation, left, sequence, ttlMs } = ad
      standing.delete(peer)
      gone.delete(peer)
      gone.set(peer, { incarnation, left, sequence, untilMs: issuedAtMs + ttlMs + limits.tombstoneMs })
      if (gone.size > limits.peersPerRealmMax) gone.delete(gone.keys().next().value!)
    },
    isReplay(record, nowMs) {
      const known = gone.get(record.peer)
      if (known === undefined) return false
      if (nowMs < known.untilMs && !isLater(record.ad, known)) return true
      gone.delete(record.peer)
      return false
    },
  }
}
