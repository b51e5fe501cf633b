/**
 * The clock of a program that uses the SDK, which is a program of its own and has no node to take one from. Unlike a node's,
 * its timers keep the process alive: a program that waits to try again is not to end meanwhile.
 */
import type { Clock } from '../base/clock.ts'

export const systemClock: Clock = {
  wallMs: () => Date.now(),
  monotonicMs: () => performance.now(),
  after(delayMs, fn) {
    const timer = setTimeout(fn, delayMs)
    return { cancel: () => clearTimeout(timer) }
  },
}
