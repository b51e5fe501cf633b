/** An abort signal that also aborts after a time, by our clock, and is let go of without a trace. */
import type { Clock } from '../base/clock.ts'

export interface DeadlineSignal {
  readonly signal: AbortSignal
  /** True once the time has passed. */
  readonly expired: boolean
  /** Takes the timer and the listener back; to be called in every case. */
  done(): void
}

/** Aborts after `timeoutMs` (never for Infinity) or with `outer`. Unlike `AbortSignal.any` it leaves nothing on `outer`. */
export const deadlineSignal = (clock: Clock, timeoutMs: number, outer?: AbortSignal): DeadlineSignal => {
  const controller = new AbortController()
  let expired = false
  const onOuter = () => controller.abort(outer?.reason)
  if (outer?.aborted === true) onOuter()
  else outer?.addEventListener('abort', onOuter, { once: true })
  const timer =
    timeoutMs === Infinity
      ? undefined
      : clock.after(Math.max(0, timeoutMs), () => {
          expired = true
          controller.abort(new Error(`gave up after ${timeoutMs} ms`))
        })
  return {
    signal: controller.signal,
    get expired() {
      return expired
    },
    done() {
      timer?.cancel()
      outer?.removeEventListener('abort', onOuter)
    },
  }
}
