/**
 * Bodies on their way in. A sender that stalls must not hold a connection for ever, while the input of a command may pause
 * for as long as its person thinks; so the bound is on each request, not on the server.
 */
import type { IncomingMessage } from 'node:http'
import type { Clock, Timer } from '../base/clock.ts'
import { GodelError } from '../base/errors.ts'
import type { Limits } from '../base/limits.ts'

export interface BodyDeadlines {
  /** Ends the connection unless the whole body is there within apiBodyTimeoutMs. */
  start(request: IncomingMessage): void
  stop(request: IncomingMessage): void
}

export const createBodyDeadlines = (clock: Clock, limits: Limits): BodyDeadlines => {
  const timers = new WeakMap<IncomingMessage, Timer>()
  const stop = (request: IncomingMessage): void => {
    timers.get(request)?.cancel()
    timers.delete(request)
  }
  return {
    stop,
    start(request) {
      const hasBody =
        request.headers['transfer-encoding'] !== undefined || Number(request.headers['content-length'] ?? 0) > 0
      if (!hasBody || request.complete || timers.has(request)) return
      timers.set(
        request,
        clock.after(limits.apiBodyTimeoutMs, () => {
          if (!request.complete) request.socket.destroy()
        }),
      )
      request.once('end', () => stop(request))
      request.once('close', () => stop(request))
    },
  }
}

/** The body as it comes. Leaving early keeps the connection for the answer. */
export const bodyOf = (request: IncomingMessage): AsyncIterable<Uint8Array> =>
  request.iterator({ destroyOnReturn: false }) as AsyncIterable<Uint8Array>

/** Lets go of a body that was read in part: what still comes is thrown away, for as long as the deadline allows. */
export const drain = (request: IncomingMessage, deadlines: BodyDeadlines): void => {
  deadlines.start(request)
  request.resume()
}

/** The same items; DEADLINE_EXCEEDED when one takes longer than `idleMs`. */
export async function* withIdleLimit<T>(
  source: AsyncIterable<T>,
  clock: Clock,
  idleMs: number,
  what: string,
): AsyncIterable<T> {
  const iterator = source[Symbol.asyncIterator]()
  try {
    for (;;) {
      const { promise: late, reject } = Promise.withResolvers<never>()
      const timer = clock.after(idleMs, () =>
        reject(new GodelError({ code: 'DEADLINE_EXCEEDED', what, afterMs: idleMs })),
      )
      const next = await Promise.race([iterator.next(), late]).finally(() => timer.cancel())
      if (next.done) return
      yield next.value
    }
  } finally {
    // Not awaited: a source that hangs in `next` answers `return` only after it.
    void iterator.return?.()?.then(undefined, () => {})
  }
}
