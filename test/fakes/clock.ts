/**
 * A clock that stands still until a test advances it. Timers fire in the order of their due times, and after each the
 * event loop is let run once, so that what a timer set off (promises, further timers) happens at that very time.
 */
import type { Clock } from '../../src/base/clock.ts'

export interface FakeClock extends Clock {
  /** Lets `ms` pass, firing every timer that falls due on the way, those that others start included. */
  advance(ms: number): Promise<void>
  /** Moves the wall clock alone, as a person or NTP would; timers and `monotonicMs` do not notice. */
  jumpWall(ms: number): void
  /** How many timers wait. */
  pending(): number
}

interface FakeTimer {
  readonly dueMs: number
  readonly order: number
  readonly fn: () => void
}

const settle = () => new Promise<void>((resolve) => setImmediate(resolve))

export const createFakeClock = (start: { wallMs?: number; monotonicMs?: number } = {}): FakeClock => {
  let now = start.monotonicMs ?? 1_000
  let wallOffset = (start.wallMs ?? 1_800_000_000_000) - now
  let order = 0
  let running: Promise<void> = Promise.resolve()
  const timers = new Set<FakeTimer>()

  const next = (untilMs: number): FakeTimer | undefined => {
    let first: FakeTimer | undefined
    for (const timer of timers) {
      if (timer.dueMs > untilMs) continue
      if (
        first === undefined ||
        timer.dueMs < first.dueMs ||
        (timer.dueMs === first.dueMs && timer.order < first.order)
      )
        first = timer
    }
    return first
  }

  const run = async (ms: number) => {
    await settle()
    const untilMs = now + ms
    for (let timer = next(untilMs); timer !== undefined; timer = next(untilMs)) {
      timers.delete(timer)
      now = Math.max(now, timer.dueMs)
      timer.fn()
      await settle()
    }
    now = untilMs
  }

  return {
    wallMs: () => now + wallOffset,
    monotonicMs: () => now,
    after(delayMs, fn) {
      const timer = { dueMs: now + Math.max(0, delayMs), order: order++, fn }
      timers.add(timer)
      return { cancel: () => void timers.delete(timer) }
    },
    advance(ms) {
      const done = running.then(() => run(ms))
      running = done.catch(() => {})
      return done
    },
    jumpWall(ms) {
      wallOffset += ms
    },
    pending: () => timers.size,
  }
}
