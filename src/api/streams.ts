/**
 * Long answers and long requests: how many there may be, and writing without ever buffering more than the socket takes.
 * When the client goes, the stream's signal aborts, which ends whatever feeds it.
 */
import type { IncomingMessage, ServerResponse } from 'node:http'
import type { FastifyReply } from 'fastify'
import type { Clock, Timer } from '../base/clock.ts'
import { GodelError } from '../base/errors.ts'
import type { Limits } from '../base/limits.ts'

export interface Stream {
  /** Aborts when the client is gone or the API closes. */
  readonly signal: AbortSignal
  abort(reason: GodelError): void
  leave(): void
}

export interface Streams {
  /** Takes one of the places; QUEUE_FULL, NODE_STOPPING. */
  enter(request: IncomingMessage, response: ServerResponse): Stream
  count(): number
  closed(): boolean
  /** Aborts every stream, and refuses new ones. */
  close(): void
}

export const createStreams = (limits: Limits): Streams => {
  const open = new Set<AbortController>()
  let closed = false
  const stopping = () => new GodelError({ code: 'NODE_STOPPING', node: 'this one' })
  return {
    count: () => open.size,
    closed: () => closed,
    enter(request, response) {
      if (closed) throw stopping()
      if (open.size >= limits.apiStreamsMax)
        throw new GodelError({ code: 'QUEUE_FULL', what: 'the number of streams', limit: limits.apiStreamsMax })
      const controller = new AbortController()
      const onClose = () => {
        if (!response.writableFinished) controller.abort(new GodelError({ code: 'CANCELLED', what: 'the stream' }))
      }
      response.once('close', onClose)
      if (request.destroyed && !request.complete) onClose()
      open.add(controller)
      return {
        signal: controller.signal,
        abort: (reason) => controller.abort(reason),
        leave() {
          response.removeListener('close', onClose)
          open.delete(controller)
        },
      }
    },
    close() {
      closed = true
      for (const controller of open) controller.abort(stopping())
    },
  }
}

export interface Writer {
  /** Resolves when there is room for more; rejects when the stream's signal aborts. */
  write(part: string): Promise<void>
  /** Ends the answer, with a last part where there is something left to say. */
  end(last?: string): void
}

/** Takes the answer over from the framework and writes it part by part, with `heartbeat` when there is nothing else to say. */
export const openWriter = (
  deps: { clock: Clock; limits: Limits },
  reply: FastifyReply,
  signal: AbortSignal,
  { type, heartbeat }: { type: string; heartbeat: string },
): Writer => {
  reply.hijack()
  const { raw } = reply
  const headers = reply.getHeaders() as Record<string, string>
  raw.writeHead(200, { ...headers, 'content-type': type })
  raw.flushHeaders()
  raw.on('error', () => {}) // a write that lost the race against the client's going; the signal tells of it

  let timer: Timer | undefined
  const beat = (): void => {
    timer = deps.clock.after(deps.limits.apiHeartbeatMs, () => {
      if (raw.writableEnded || raw.destroyed) return
      if (!raw.writableNeedDrain) raw.write(heartbeat)
      beat()
    })
  }
  beat()

  return {
    async write(part) {
      signal.throwIfAborted()
      timer?.cancel()
      if (!raw.write(part)) await drained(raw, signal)
      beat()
    },
    end(last) {
      timer?.cancel()
      // After an abort nothing more is to come over this connection: the client is gone, or the API closes.
      raw.end(last, () => signal.aborted && raw.socket?.end())
    },
  }
}

const drained = (raw: ServerResponse, signal: AbortSignal): Promise<void> =>
  new Promise((resolve, reject) => {
    const settle = (act: () => void) => () => {
      raw.removeListener('drain', onDrain)
      signal.removeEventListener('abort', onAbort)
      act()
    }
    const onDrain = settle(resolve)
    const onAbort = settle(() => reject(signal.reason))
    raw.once('drain', onDrain)
    signal.addEventListener('abort', onAbort, { once: true })
    if (signal.aborted) onAbort()
  })

/** The items of `source` until it ends or `signal` aborts, which is noticed even while the source is silent. */
export async function* untilAborted<T>(source: AsyncIterator<T>, signal: AbortSignal): AsyncIterable<T> {
  try {
    for (;;) {
      const next = await nextOrAbort(source, signal)
      if (next.done) return
      yield next.value
    }
  } finally {
    void source.return?.()?.then(undefined, () => {})
  }
}

/** A race against one promise for the whole stream would keep every item that it ever gave. */
export const nextOrAbort = <T>(source: AsyncIterator<T>, signal: AbortSignal): Promise<IteratorResult<T>> =>
  new Promise((resolve, reject) => {
    const onAbort = () => reject(signal.reason)
    if (signal.aborted) return onAbort()
    signal.addEventListener('abort', onAbort, { once: true })
    source
      .next()
      .then(resolve, reject)
      .finally(() => signal.removeEventListener('abort', onAbort))
  })
