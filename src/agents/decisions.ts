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
  let wake = Promise.withResolvers<void>()

  return {
    add(decision) {
      ring.push({ number: count++, decision })
      if (ring.length > kept) ring.shift()
      wake.resolve()
      wake = Promise.withResolvers<void>()
    },
    recent: (limit) =>
      ring
        .slice(-limit)
        .map((entry) => entry.decision)
        .toReversed(),
    async *follow(signal) {
      let next = count
      const aborted = Promise.withResolvers<void>()
      const onAbort = () => aborted.resolve()
      signal.addEventListener('abort', onAbort, { once: true })
      try {
        while (!signal.aborted) {
          const waiting = wake.promise
          for (const { number, decision } of ring.filter((entry) => entry.number >= next)) {
            next = number + 1
            yield decision
          }
          if (next >= count) await Promise.race([waiting, aborted.promise])
        }
      } finally {
        signal.removeEventListener('abort', onAbort)
      }
    },
  }
}
