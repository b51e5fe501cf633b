/**
 * Many deadlines on one timer. A timer per call would cost more than the rest of the call's bookkeeping; here a call is
 * put into a set, and the one timer is set for the earliest of them.
 */
import type { Clock, Timer } from '../base/clock.ts'

export interface Deadline {
  /** In terms of `clock.monotonicMs()`. */
  readonly deadlineMs: number
  expire(): void
}

export interface Deadlines {
  add(entry: Deadline): void
  remove(entry: Deadline): void
  close(): void
}

export const createDeadlines = (clock: Clock): Deadlines => {
  const entries = new Set<Deadline>()
  let timer: Timer | undefined
  let armedFor = Infinity

  const arm = (atMs: number) => {
    timer?.cancel()
    armedFor = atMs
    timer = clock.after(Math.max(0, Math.ceil(atMs - clock.monotonicMs())), sweep)
  }

  const sweep = () => {
    timer = undefined
    armedFor = Infinity
    const now = clock.monotonicMs()
    let earliest = Infinity
    for (const entry of entries) {
      if (entry.deadlineMs <= now) {
        entries.delete(entry)
        entry.expire()
      } else if (entry.deadlineMs < earliest) earliest = entry.deadlineMs
    }
    if (earliest < armedFor) arm(earliest)
  }

  return {
    add(entry) {
      entries.add(entry)
      if (entry.deadlineMs < armedFor) arm(entry.deadlineMs)
    },
    remove: (entry) => void entries.delete(entry),
    close() {
      timer?.cancel()
      entries.clear()
    },
  }
}
