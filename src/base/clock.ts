/**
 * Time as a port. Only `node` and `cli` make a real one; every other room is handed a `Clock`, so that a simulator
 * can run an hour in milliseconds. Deadlines and ages use `monotonicMs`; `wallMs` is for what people and
 * certificates read.
 */
import { GodelError } from './errors.ts'

export interface Timer {
  cancel(): void
}

export interface Clock {
  /** Milliseconds since the Unix epoch; may jump. */
  wallMs(): number
  /** Milliseconds since an arbitrary start; never goes back. Counts the time that the machine was suspended. */
  monotonicMs(): number
  /** Calls `fn` once after `delayMs`; the timer does not keep the process alive. */
  after(delayMs: number, fn: () => void): Timer
}

/** Resolves after `delayMs`; rejects with CANCELLED as soon as `signal` aborts. */
export const sleep = (clock: Clock, delayMs: number, signal?: AbortSignal): Promise<void> =>
  new Promise((resolve, reject) => {
    const cancelled = () => new GodelError({ code: 'CANCELLED', what: 'a wait' })
    if (signal?.aborted) return reject(cancelled())
    const onAbort = () => {
      timer.cancel()
      reject(cancelled())
    }
    const timer = clock.after(delayMs, () => {
      signal?.removeEventListener('abort', onAbort)
      resolve()
    })
    signal?.addEventListener('abort', onAbort, { once: true })
  })

/** A repeating task: runs `fn` after `delayMs()` each time, never two at once, until stopped. Errors go to `onError`. */
export const every = (
  clock: Clock,
  delayMs: () => number,
  fn: () => void | Promise<void>,
  onError: (error: unknown) => void,
): { stop(): void } => {
  let timer: Timer | undefined
  let stopped = false
  const schedule = () => {
    if (stopped) return
    timer = clock.after(delayMs(), () => {
      Promise.resolve().then(fn).catch(onError).finally(schedule)
    })
  }
  schedule()
  return {
    stop() {
      stopped = true
      timer?.cancel()
    },
  }
}
