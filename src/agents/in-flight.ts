/**
 * This node's own placements that no advertisement reflects yet. They count as load of their target, so that a burst from one
 * node does not herd; they end when the target says something newer than the placement, or after `limits.inFlightMs`.
 */
import type { Clock, Timer } from '../base/clock.ts'
import type { Limits } from '../base/limits.ts'
import type { View } from '../mesh/view.ts'
import type { Candidates } from '../routing/candidates.ts'

export interface InFlight {
  /** Counts a placement at `target` from now on. Call exactly one of the two functions that it gives. */
  begin(target: string): { placed(): void; failed(): void }
  close(): void
}

interface Waiting {
  placedAtMs: number
  timer: Timer
}

export const createInFlight = (deps: {
  peer: string
  candidates: Candidates
  view: View
  clock: Clock
  limits: Pick<Limits, 'inFlightMs'>
}): InFlight => {
  const { peer, candidates, view, clock, limits } = deps
  const waiting = new Map<string, Set<Waiting>>()

  const settle = (target: string, entry: Waiting): void => {
    entry.timer.cancel()
    const entries = waiting.get(target)
    if (!entries?.delete(entry)) return
    if (entries.size === 0) waiting.delete(target)
    candidates.settled(target)
  }

  const off = view.onChange((entry) => {
    const issuedAtMs = clock.monotonicMs() - entry.ageMs
    for (const placement of waiting.get(entry.peer) ?? [])
      if (issuedAtMs >= placement.placedAtMs) settle(entry.peer, placement)
  })

  return {
    begin(target) {
      // The own node's admission is known at once and needs no estimate.
      if (target === peer) return { placed() {}, failed() {} }
      candidates.placed(target)
      return {
        placed() {
          const entry: Waiting = {
            placedAtMs: clock.monotonicMs(),
            timer: clock.after(limits.inFlightMs, () => settle(target, entry)),
          }
          waiting.set(target, (waiting.get(target) ?? new Set()).add(entry))
        },
        failed: () => candidates.settled(target),
      }
    },
    close() {
      off()
      for (const entries of waiting.values()) for (const entry of entries) entry.timer.cancel()
    },
  }
}
