/** The real clock. Monotonic time includes the time that the machine was suspended, which `performance.now` alone leaves out. */
import { uptime } from 'node:os'
import type { Clock } from '../base/clock.ts'

const CHECK_EVERY_MS = 250
/** The system's uptime is read with a granularity of up to a second; smaller differences are not a suspension. */
const SUSPENSION_MS = 2_000

/** A clock over the system's own. Its timers never keep the process alive. */
export const createRealClock = (): Clock => {
  let suspendedMs = 0
  let checkedAtMs = performance.now()
  const bootOffsetMs = uptime() * 1000 - checkedAtMs

  const monotonicMs = (): number => {
    const now = performance.now()
    if (now - checkedAtMs >= CHECK_EVERY_MS) {
      checkedAtMs = now
      const missedMs = uptime() * 1000 - now - bootOffsetMs - suspendedMs
      if (missedMs > SUSPENSION_MS) suspendedMs += missedMs
    }
    return now + suspendedMs
  }

  return {
    wallMs: () => Date.now(),
    monotonicMs,
    after(delayMs, fn) {
      const timer = setTimeout(fn, delayMs).unref()
      return { cancel: () => clearTimeout(timer) }
    },
  }
}
