/**
 * Calls to the own node: no network, the same parse functions, deadlines and cancellation as for any other peer, so that a
 * caller need not know where its target is.
 */
import type { Clock } from '../base/clock.ts'
import { GodelError, toGodelError } from '../base/errors.ts'
import { deadlineSignal } from './deadline-signal.ts'
import type { CallContext, CallOptions, Method, StreamOptions } from './method.ts'
import type { Registry } from './registry.ts'

export interface LocalCallDeps {
  readonly self: string
  readonly clock: Clock
  readonly registry: Pick<Registry, 'find'>
}

const none = async function* (): AsyncGenerator<never> {}

const ended = (method: Method, expired: boolean, timeoutMs: number): GodelError =>
  expired
    ? new GodelError({ code: 'DEADLINE_EXCEEDED', what: method.name, afterMs: timeoutMs })
    : new GodelError({ code: 'CANCELLED', what: method.name })

/** Settles with `work`, or rejects as soon as `signal` aborts. */
const orAbort = <T>(work: PromiseLike<T> | T, signal: AbortSignal, error: () => GodelError): Promise<T> =>
  new Promise((resolve, reject) => {
    if (signal.aborted) return reject(error())
    const onAbort = () => reject(error())
    signal.addEventListener('abort', onAbort, { once: true })
    Promise.resolve(work)
      .then(resolve, (fault: unknown) => reject(toGodelError(fault)))
      .finally(() => signal.removeEventListener('abort', onAbort))
  })

/** A unary call; `timeoutMs` is Infinity for none. */
export const callLocally = async (
  deps: LocalCallDeps,
  method: Method,
  request: unknown,
  timeoutMs: number,
  options: CallOptions,
): Promise<unknown> => {
  const row = deps.registry.find(method.name, method.version)
  const deadline = deadlineSignal(deps.clock, timeoutMs, options.signal)
  const context: CallContext = { peer: deps.self, standing: undefined, signal: deadline.signal, incoming: none() }
  try {
    const parsed = row.method.parseRequest(request)
    const work = Promise.resolve().then(() => row.handle(parsed as never, context as CallContext<never>))
    return method.parseResponse(await orAbort(work, deadline.signal, () => ended(method, deadline.expired, timeoutMs)))
  } finally {
    deadline.done()
  }
}

async function* checked(source: AsyncIterable<unknown>, method: Method): AsyncGenerator<unknown> {
  for await (const item of source) yield method.parseIncoming(item)
}

/** A stream call; it begins with the first `next`. */
export async function* streamLocally(
  deps: LocalCallDeps,
  method: Method,
  request: unknown,
  timeoutMs: number,
  options: StreamOptions<unknown>,
): AsyncGenerator<unknown> {
  const row = deps.registry.find(method.name, method.version)
  const deadline = deadlineSignal(deps.clock, timeoutMs, options.signal)
  const leave = new AbortController()
  const onAbort = () => leave.abort(deadline.signal.reason)
  deadline.signal.addEventListener('abort', onAbort)
  if (deadline.signal.aborted) onAbort()
  const incoming = options.outgoing === undefined ? none() : checked(options.outgoing, row.method)
  const context: CallContext = { peer: deps.self, standing: undefined, signal: leave.signal, incoming }
  let iterator: AsyncIterator<unknown> | undefined
  try {
    const items = row.handle(row.method.parseRequest(request) as never, context as CallContext<never>)
    iterator = (items as AsyncIterable<unknown>)[Symbol.asyncIterator]()
    for (;;) {
      const failed = () => ended(method, deadline.expired, timeoutMs)
      const result = await orAbort(iterator.next(), deadline.signal, failed)
      if (result.done === true) return
      yield method.parseResponse(result.value)
    }
  } finally {
    deadline.signal.removeEventListener('abort', onAbort)
    deadline.done()
    leave.abort(new GodelError({ code: 'CANCELLED', what: method.name }))
    // Not awaited: a handler that is in the middle of a wait returns when that wait ends.
    iterator?.return?.()?.catch(() => {})
    void incoming.return(undefined)
  }
}
