/** The placement decisions of this node: the newest ones kept, and a live feed of those that come. */
import type { Decision } from '../base/need.ts'

export interface Decisions {
  add(decision: Decision): void
  /** The newest first, at most `limit`. */
  recent(limit: number): Decision[]
  /** Decisions from now on, until `signal` aborts. A reader that falls behind skips to what is kept. */
  follow(signal: AbortSignal): AsyncIterable<Decision>
}

/** Keeps the last `kept` decisions in memory. */
export const createDecisions = ({ kept }: { kept: number }): Decisions => {
  const ring: { number: number; decision: Decision }[] = []
  let count = 0
  const waiting = new Set<() => void>()
  const wake = () => {
    for (const resolve of waiting) resolve()
    waiting.clear()
  }

  return {
    add(decision) {
      ring.push({ number: count++, decision })
      if (ring.length > kept) ring.shift()
      wake()
    },
    recent: (limit) =>
      ring
        .slice(-limit)
        .map((entry) => entry.decision)
        .toReversed(),
    async *follow(signal) {
      let next = count
      signal.addEventListener('abort', wake, { once: true })
      try {
        while (!signal.aborted) {
          for (const { number, decision } of ring.filter((entry) => entry.number >= next)) {
            next = number + 1
            yield decision
          }
          if (next >= count && !signal.aborted) await new Promise<void>((resolve) => waiting.add(resolve))
        }
      } finally {
        signal.removeEventListener('abort', wake)
      }
    },
  }
}
