/**
 * The processor of one simulated node: what it does, it does one after another, and each piece takes its time. A node that is
 * paused does nothing until it goes on, and then everything that came meanwhile, timers included, late and in order.
 */
import type { Clock } from '../../src/base/clock.ts'
import type { Engine } from './engine.ts'

export interface Processor {
  /** Runs `work` now, or as soon as what came before is done; it keeps the node busy for `costMs`. */
  submit(costMs: number, work: () => 'quiet' | void): 'quiet' | void
  /** Until when the node is busy: nothing that it sends leaves earlier. */
  freeAtMs(): number
  pauseUntil(atMs: number): void
  isPaused(): boolean
  /** From now on nothing runs here any more. */
  kill(): void
  isDead(): boolean
  /** Milliseconds of work so far. */
  busyMs(): number
}

export const createProcessor = (engine: Engine): Processor => {
  const queue: { costMs: number; work: () => 'quiet' | void }[] = []
  let head = 0
  let freeAtMs = 0
  let pausedUntilMs = 0
  let busyMs = 0
  let dead = false
  let isArmed = false

  const run = (costMs: number, work: () => 'quiet' | void): 'quiet' | void => {
    freeAtMs = engine.nowMs() + costMs
    busyMs += costMs
    return work()
  }

  const arm = (): void => {
    if (isArmed) return
    isArmed = true
    engine.at(Math.max(freeAtMs, pausedUntilMs), () => {
      isArmed = false
      if (dead) return 'quiet'
      if (engine.nowMs() < pausedUntilMs) {
        arm()
        return 'quiet'
      }
      const next = queue[head++]!
      if (head === queue.length) queue.splice(0, queue.length)
      if (queue.length === 0) head = 0
      const outcome = run(next.costMs, next.work)
      if (queue.length > 0) arm()
      return outcome
    })
  }

  return {
    submit(costMs, work) {
      if (dead) return 'quiet'
      const nowMs = engine.nowMs()
      if (queue.length === 0 && !isArmed && freeAtMs <= nowMs && pausedUntilMs <= nowMs) return run(costMs, work)
      queue.push({ costMs, work })
      arm()
      return 'quiet'
    },
    freeAtMs: () => Math.max(freeAtMs, pausedUntilMs),
    pauseUntil(atMs) {
      pausedUntilMs = Math.max(pausedUntilMs, atMs)
    },
    isPaused: () => engine.nowMs() < pausedUntilMs,
    kill() {
      dead = true
      queue.splice(0, queue.length)
    },
    isDead: () => dead,
    busyMs: () => busyMs,
  }
}

/** The clock of a node: its wall clock is off by `skewMs`, and both run faster by `drift` (50e-6: 50 millionths). */
export const createNodeClock = (
  engine: Engine,
  processor: Processor,
  { startWallMs, skewMs, drift }: { startWallMs: number; skewMs: number; drift: number },
): Clock => {
  const monotonicMs = () => engine.nowMs() * (1 + drift)
  return {
    monotonicMs,
    wallMs: () => Math.round(startWallMs + skewMs + monotonicMs()),
    after(delayMs, fn) {
      let cancelled = false
      const event = engine.at(engine.nowMs() + Math.max(0, delayMs) / (1 + drift), () =>
        processor.submit(0.01, () => (cancelled ? 'quiet' : fn())),
      )
      return {
        cancel() {
          cancelled = true
          event.run = undefined
        },
      }
    },
  }
}
