/**
 * A double: another node with the key of this one, as from a copied data directory. This node's numbers are on disk before they
 * are used, so a word above its own last one is not its own. One that was issued before this node started, or a last word, may
 * still be a leftover of a store that was lost: that is answered with a higher number. A younger one seems to come from a double
 * that runs now, but how old a word is says whoever hands it on, who may have kept it from before the store was lost. So the
 * first one is answered with a number far above all that was ever used, and only who goes above that one too runs now: two that
 * answer each other would never end, so this node stops.
 */
import type { Clock } from '../base/clock.ts'
import { GodelError, reasonOf } from '../base/errors.ts'
import type { Limits } from '../base/limits.ts'
import type { Log } from '../base/log.ts'
import type { PeerRecord } from './records.ts'
import type { MeshView } from './view.ts'

export interface Double {
  /** Somebody holds `record` of this node, which is above its own last word. */
  heard(record: PeerRecord): void
  /** A peer says which word of this node it holds. That is no proof: where it is above the own, the word itself is asked for. */
  shown(peer: string, held: { incarnation: number; sequence: number }): void
  /** A double was found. */
  isFound(): boolean
}

export const createDouble = (deps: {
  self: string
  view: MeshView
  clock: Clock
  log: Log
  limits: Pick<Limits, 'duplicateMarginMs' | 'duplicateLeap'>
  /** Answers with an incarnation above this one. */
  refute: (incarnation: number) => void
  /** Takes in what a peer holds of this node. */
  fetch: (peer: string) => Promise<void>
  /** DUPLICATE_IDENTITY; told once. */
  onFound: (error: GodelError) => void
}): Double => {
  const { self, view, clock, log, limits, refute, fetch, onFound } = deps
  const startedAtMs = clock.monotonicMs()
  let found = false
  /** The number that only a double that runs now can go above. */
  let challenge: number | undefined

  return {
    heard(record) {
      const { incarnation, left } = record.ad
      if (left || record.issuedAtMs <= startedAtMs + limits.duplicateMarginMs) return refute(incarnation)
      if (found) return
      if (challenge === undefined || incarnation <= challenge) {
        challenge ??= incarnation + limits.duplicateLeap
        return refute(challenge - 1)
      }
      found = true
      const error = new GodelError({ code: 'DUPLICATE_IDENTITY', peer: self, incarnation })
      log.error('another node speaks with the identity of this one', { incarnation })
      onFound(error)
    },
    shown(peer, held) {
      const own = view.record(self)?.ad
      if (!own || found) return
      const isAbove =
        held.incarnation > own.incarnation || (held.incarnation === own.incarnation && held.sequence > own.sequence)
      if (isAbove)
        fetch(peer).catch((error: unknown) =>
          log.debug('the word of this node was not fetched', { peer, error: reasonOf(error) }),
        )
    },
    isFound: () => found,
  }
}
