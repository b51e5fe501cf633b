/** Calls to the node: fetch, with deadlines, and every failure as a GodelError. */
import type { Clock } from '../base/clock.ts'
import { GodelError, hasCode, reasonOf } from '../base/errors.ts'
import type { Limits } from '../base/limits.ts'
import { fromProblem } from '../base/problem.ts'
import type { Target } from './discover.ts'

export interface CallOptions {
  /** Sent as JSON. */
  body?: unknown
  timeoutMs?: number
  signal?: AbortSignal
}

export interface OpenOptions {
  body?: unknown
  /** Bytes to be streamed as the body, and their type. */
  source?: { type: string; bytes: AsyncIterable<Uint8Array> }
  headers?: Record<string, string>
  signal: AbortSignal
}

export interface Http {
  readonly clock: Clock
  readonly limits: Limits
  /** The address of the node, as far as it has been found. */
  url(): Promise<string>
  /** One call and its JSON answer. Whatever the node refuses is thrown with the code that it gave. */
  call<T>(method: string, path: string, options?: CallOptions): Promise<T>
  /** Like `call`, for an answer whose status alone is no failure (health). */
  ask<T>(path: string): Promise<T>
  text(path: string): Promise<string>
  /** A call whose answer is read as it comes; the signal ends it. */
  open(method: string, path: string, options: OpenOptions): Promise<AsyncIterable<Uint8Array>>
}

interface HttpDeps {
  clock: Clock
  limits: Limits
  find: () => Promise<Target>
}

/** Failures in which the request cannot have reached a node. */
const NEVER_SENT = new Set([
  'ECONNREFUSED',
  'ENOTFOUND',
  'EHOSTUNREACH',
  'ENETUNREACH',
  'EAI_AGAIN',
  'UND_ERR_CONNECT_TIMEOUT',
])

/** `find` is asked at the first call, and again after the node could not be reached. */
export const createHttp = ({ clock, limits, find }: HttpDeps): Http => {
  let found: Promise<Target> | undefined
  const target = (): Promise<Target> => {
    found ??= find().catch((error: unknown) => {
      found = undefined
      throw error
    })
    return found
  }

  const request = async (method: string, path: string, options: OpenOptions): Promise<Response> => {
    const { url, apiKey } = await target()
    const { body, source, signal } = options
    const type = source?.type ?? (body === undefined ? undefined : 'application/json')
    try {
      return await fetch(url + path, {
        method,
        headers: {
          ...(apiKey !== undefined && { authorization: `Bearer ${apiKey}` }),
          ...(type !== undefined && { 'content-type': type }),
          ...options.headers,
        },
        ...(body !== undefined && { body: JSON.stringify(body) }),
        ...(source !== undefined && {
          body: ReadableStream.from(untilAborted(source.bytes, signal)),
          duplex: 'half' as const,
        }),
        redirect: 'error', // the key goes to the node alone
        signal,
      })
    } catch (error) {
      const failure = transportError(error, url, signal)
      if (failure.code === 'NODE_UNREACHABLE') found = undefined
      throw failure
    }
  }

  /** Runs `use` with a signal that aborts with the caller's or after the time. */
  const within = async <T>(options: CallOptions, use: (signal: AbortSignal) => Promise<T>): Promise<T> => {
    const timeoutMs = options.timeoutMs ?? limits.clientCallTimeoutMs
    const link = linkSignal(options.signal, 'the call')
    const late = () => link.abort(new GodelError({ code: 'DEADLINE_EXCEEDED', what: 'the answer', afterMs: timeoutMs }))
    const timer = clock.after(timeoutMs, late)
    try {
      return await use(link.signal)
    } finally {
      timer.cancel()
      link.release()
    }
  }

  const bytesOf = async function* (response: Response, signal: AbortSignal): AsyncIterable<Uint8Array> {
    const { url } = await target()
    try {
      if (response.body !== null) yield* response.body as unknown as AsyncIterable<Uint8Array>
    } catch (error) {
      throw transportError(error, url, signal)
    }
  }

  const textOf = async (response: Response, signal: AbortSignal): Promise<string> => {
    const parts: Uint8Array[] = []
    let bytes = 0
    for await (const part of bytesOf(response, signal)) {
      parts.push(part)
      bytes += part.byteLength
      const limitBytes = limits.clientAnswerBytesMax
      if (bytes > limitBytes) throw new GodelError({ code: 'TOO_LARGE', what: 'the answer', bytes, limitBytes })
    }
    return Buffer.concat(parts).toString('utf8')
  }

  const jsonOf = async (response: Response, signal: AbortSignal): Promise<unknown> => {
    const text = await textOf(response, signal)
    try {
      return JSON.parse(text)
    } catch (cause) {
      const reason = `its answer (HTTP ${response.status}) is not JSON`
      throw new GodelError({ code: 'NODE_UNREACHABLE', url: (await target()).url, reason }, { cause })
    }
  }

  const checked = async (response: Response, signal: AbortSignal): Promise<Response> => {
    if (response.ok) return response
    throw fromProblem(await jsonOf(response, signal), (await target()).url)
  }

  return {
    clock,
    limits,
    url: async () => (await target()).url,
    call: <T>(method: string, path: string, options: CallOptions = {}) =>
      within(options, async (signal) => {
        const response = await checked(await request(method, path, { body: options.body, signal }), signal)
        return (await jsonOf(response, signal)) as T
      }),
    ask: <T>(path: string) =>
      within({}, async (signal) => {
        const answer = await jsonOf(await request('GET', path, { signal }), signal)
        const isProblem = typeof answer === 'object' && answer !== null && 'code' in answer
        if (isProblem) throw fromProblem(answer, (await target()).url)
        return answer as T
      }),
    text: (path) =>
      within({}, async (signal) => textOf(await checked(await request('GET', path, { signal }), signal), signal)),
    open: async (method, path, options) =>
      bytesOf(await checked(await request(method, path, options), options.signal), options.signal),
  }
}

export interface LinkedSignal {
  readonly signal: AbortSignal
  abort(reason?: GodelError): void
  /** Lets go of the caller's signal, which may live much longer. */
  release(): void
}

/** A signal of our own that aborts with the caller's, with CANCELLED as the reason. */
export const linkSignal = (outer: AbortSignal | undefined, what: string): LinkedSignal => {
  const controller = new AbortController()
  const abort = (reason = new GodelError({ code: 'CANCELLED', what })) => controller.abort(reason)
  const onAbort = () => abort()
  outer?.addEventListener('abort', onAbort, { once: true })
  if (outer?.aborted) onAbort()
  return { signal: controller.signal, abort, release: () => outer?.removeEventListener('abort', onAbort) }
}

/**
 * The same parts until `signal` aborts. Without it fetch would go on reading a body after its connection is closed, and never
 * end where the body has no end.
 */
async function* untilAborted(source: AsyncIterable<Uint8Array>, signal: AbortSignal): AsyncIterable<Uint8Array> {
  const iterator = source[Symbol.asyncIterator]()
  const next = () =>
    new Promise<IteratorResult<Uint8Array>>((resolve, reject) => {
      const onAbort = () => reject(signal.reason)
      if (signal.aborted) return onAbort()
      signal.addEventListener('abort', onAbort, { once: true })
      iterator
        .next()
        .then(resolve, reject)
        .finally(() => signal.removeEventListener('abort', onAbort))
    })
  try {
    for (let part = await next(); !part.done; part = await next()) yield part.value
  } finally {
    // Not awaited: a source that waits for its own next part answers only after it.
    void iterator.return?.()?.then(undefined, () => {})
  }
}

const transportError = (error: unknown, url: string, signal: AbortSignal): GodelError => {
  if (signal.aborted)
    return signal.reason instanceof GodelError
      ? signal.reason
      : new GodelError({ code: 'CANCELLED', what: 'the call' }, { cause: error })
  if (error instanceof GodelError) return error
  const cause = (error as { cause?: unknown }).cause
  const codes = [cause, ...(cause instanceof AggregateError ? cause.errors : [])].map(
    (each) => (each as { code?: string })?.code,
  )
  const reason = reasonOf(cause ?? error)
  if (codes.some((code) => code !== undefined && NEVER_SENT.has(code)))
    return new GodelError(
      { code: 'NODE_UNREACHABLE', url, reason: reason || 'the connection was refused' },
      { cause: error },
    )
  return new GodelError({ code: 'STREAM_LOST', peer: url, reason }, { cause: error })
}

/** True for an answer that was lost on its way, so that the call may have taken effect. */
export const isLostAnswer = (error: unknown): boolean => hasCode(error, 'STREAM_LOST', 'DEADLINE_EXCEEDED')
