/**
 * Large transfers (/godel/bulk/1), between admitted peers alone: each has a stream of its own, so that it holds up no call,
 * and is piped: read, frame, send. Back-pressure reaches from the receiver's reads to the sender's source.
 */
import type { Connection, Stream } from '@libp2p/interface'
import { pipe } from 'it-pipe'
import { decode } from '../base/codec.ts'
import type { Audit } from '../base/audit.ts'
import type { Clock } from '../base/clock.ts'
import { GodelError } from '../base/errors.ts'
import type { Limits } from '../base/limits.ts'
import type { Log } from '../base/log.ts'
import type { Standing } from '../base/standing.ts'
import { bulkEnd, bulkFrame, bulkFrames, createBulkReader } from './bulk-frame.ts'
import { bulkDuplex } from './bulk-stream.ts'
import { auditRefusal, mustBeAllowed } from './callee.ts'
import { encodeBounded } from './item-sender.ts'
import type { Bulk, BulkAccess, BulkHandler } from './net.ts'
import { reasonOf } from './reason.ts'
import { decodeError, encodeError } from './wire-error.ts'

export const bulkProtocol = '/godel/bulk/1'

export interface BulkDeps {
  readonly limits: Limits
  readonly clock: Clock
  readonly log: Log
  readonly audit: Audit
  openStream(peer: string, signal: AbortSignal): Promise<{ stream: Stream; connection: Connection }>
  standingOf(peer: string): Standing | undefined
}

export interface BulkHost extends Bulk {
  accept(stream: Stream, connection: Connection): void
  close(): void
}

/** Aborts a stream on which nothing has moved for a time; 'answer' is the longer wait after the last byte. */
const watchIdle = (deps: BulkDeps, stream: Stream) => {
  const { limits, clock } = deps
  let lastMs = clock.monotonicMs()
  let allowedMs: number = limits.bulkIdleTimeoutMs
  const look = () => {
    const idleMs = clock.monotonicMs() - lastMs
    if (idleMs >= allowedMs) return stream.abort(new Error(`nothing moved for ${allowedMs} ms`))
    timer = clock.after(allowedMs - idleMs, look)
  }
  let timer = clock.after(allowedMs, look)
  return {
    progress: () => void (lastMs = clock.monotonicMs()),
    awaitAnswer() {
      lastMs = clock.monotonicMs()
      allowedMs = limits.bulkAnswerTimeoutMs
    },
    stop: () => timer.cancel(),
  }
}

export const createBulk = (deps: BulkDeps): BulkHost => {
  const { limits, log } = deps
  const handlers = new Map<string, { handler: BulkHandler; row: BulkAccess & { name: string } }>()
  const active = new Set<Stream>()
  let closed = false

  const lostTo = (peer: string, cause?: unknown) => {
    const reason = cause === undefined ? 'the bulk stream was closed' : reasonOf(cause)
    return new GodelError({ code: 'STREAM_LOST', peer, reason }, { cause })
  }

  const send: Bulk['send'] = async (peer, purpose, header, source, options = {}) => {
    const { signal } = options
    const cancelled = () => new GodelError({ code: 'CANCELLED', what: `bulk ${purpose}` })
    const isCancelled = () => signal?.aborted === true
    if (isCancelled()) throw cancelled()
    const opening = encodeBounded([purpose, header], `the header of bulk ${purpose}`, limits.bulkHeaderBytesMax)
    const { stream } = await open(peer, signal, cancelled)
    active.add(stream)
    const idle = watchIdle(deps, stream)
    const onAbort = () => stream.abort(cancelled())
    signal?.addEventListener('abort', onAbort)
    if (isCancelled()) onAbort()
    try {
      return await transfer(peer, stream, idle, opening, source)
    } catch (error) {
      stream.abort(error as Error)
      if (isCancelled()) throw cancelled()
      throw error
    } finally {
      idle.stop()
      signal?.removeEventListener('abort', onAbort)
      active.delete(stream)
    }
  }

  const open = async (peer: string, signal: AbortSignal | undefined, cancelled: () => GodelError) => {
    const controller = new AbortController()
    const onAbort = () => controller.abort()
    signal?.addEventListener('abort', onAbort)
    const timer = deps.clock.after(limits.dialTimeoutMs, onAbort)
    try {
      return await deps.openStream(peer, controller.signal)
    } catch (error) {
      if (signal?.aborted === true) throw cancelled()
      if (error instanceof GodelError) throw error
      throw new GodelError({ code: 'PEER_UNREACHABLE', peer, reason: reasonOf(error) }, { cause: error })
    } finally {
      timer.cancel()
      signal?.removeEventListener('abort', onAbort)
    }
  }

  /** Sends the frames and waits for the answer, which may come before the end: a refusal. */
  const transfer = async (
    peer: string,
    stream: Stream,
    idle: ReturnType<typeof watchIdle>,
    opening: Uint8Array,
    source: AsyncIterable<Uint8Array>,
  ): Promise<unknown> => {
    if (stream.status !== 'open') throw lostTo(peer) // reset before anybody listened
    const duplex = bulkDuplex(stream, limits.bulkBufferBytes, idle.progress)
    const iterator = source[Symbol.asyncIterator]()
    const answered = Promise.withResolvers<void>()
    let failure: unknown

    const frames = async function* (): AsyncGenerator<Uint8Array> {
      yield bulkFrame(opening)
      try {
        yield* bulkFrames(iterator, { frameBytes: limits.bulkFrameBytes, writeBytes: limits.bulkWriteBytes })
      } catch (error) {
        failure = error
        throw error
      }
      yield bulkEnd()
      idle.awaitAnswer()
      await answered.promise // closing before would drop what the receiver has not read yet
    }

    const sending = pipe(frames, duplex.sink)
    const reading = readAnswer(peer, duplex.source)
    sending.catch(() => {}) // told by `race` below, or of no interest once there is an answer
    reading.catch(() => {})
    try {
      const answer = await Promise.race([reading, sending.then(() => reading)])
      answered.resolve()
      return answer
    } catch (error) {
      answered.resolve()
      if (failure !== undefined) throw failure
      throw error instanceof GodelError ? error : lostTo(peer, error)
    } finally {
      // The sink leaves its source where it was when the stream closes; here it is told to return.
      iterator.return?.()?.catch(() => {})
    }
  }

  const readAnswer = async (peer: string, source: AsyncIterable<Uint8Array>): Promise<unknown> => {
    const payload = await createBulkReader(source, () => lostTo(peer)).frame(2 * limits.bulkHeaderBytesMax)
    const status = payload[0]
    if (status === 1) return decode(payload.subarray(1), 'the answer to a bulk transfer')
    throw decodeError(payload.subarray(1), peer)
  }

  const receive = async (stream: Stream, peer: string, signal: AbortSignal, idle: ReturnType<typeof watchIdle>) => {
    const duplex = bulkDuplex(stream, limits.bulkBufferBytes, idle.progress)
    const reader = createBulkReader(typed(peer, duplex.source), () => lostTo(peer))
    const handled = async (): Promise<Uint8Array> => {
      let action = 'bulk'
      try {
        const [purpose, header] = parseOpening(await reader.frame(limits.bulkHeaderBytesMax))
        const entry = handlers.get(purpose)
        if (entry === undefined)
          throw new GodelError({ code: 'UNSUPPORTED', what: `bulk ${purpose}`, reason: 'no handler' })
        action = entry.row.name
        mustBeAllowed(entry.row, deps.standingOf(peer), peer)
        const answer = await entry.handler(peer, header, reader.data(limits.bulkFrameBytes), signal)
        return status(1, encodeBounded(answer ?? null, `the answer of bulk ${purpose}`, limits.bulkHeaderBytesMax))
      } catch (error) {
        auditRefusal(deps.audit, action, peer, error)
        if (!(error instanceof GodelError)) log.error('a bulk handler failed', { peer, reason: reasonOf(error) })
        return status(0, encodeError(error, limits.bulkHeaderBytesMax))
      }
    }
    await pipe(async function* () {
      yield bulkFrame(await handled())
    }, duplex.sink)
  }

  /** What breaks off is lost, and no fault of whoever reads it. */
  const typed = async function* (peer: string, data: AsyncIterable<Uint8Array>): AsyncGenerator<Uint8Array> {
    try {
      yield* data
    } catch (error) {
      throw error instanceof GodelError ? error : lostTo(peer, error)
    }
  }

  return {
    send,
    handle(purpose, handler, access = { access: 'member' }) {
      if (handlers.has(purpose))
        throw new GodelError({ code: 'CONFLICT', what: `bulk ${purpose}`, reason: 'it has a handler' })
      handlers.set(purpose, { handler, row: { name: `bulk ${purpose}`, ...access } })
    },
    accept(stream, connection) {
      const peer = connection.remotePeer.toString()
      if (closed || deps.standingOf(peer) === undefined)
        return stream.abort(new Error('bulk is taken from members only'))
      active.add(stream)
      const controller = new AbortController()
      const idle = watchIdle(deps, stream)
      stream.addEventListener('close', (event) => {
        controller.abort(lostTo(peer, event.error))
        active.delete(stream)
        idle.stop()
      })
      receive(stream, peer, controller.signal, idle).catch((error: unknown) => {
        log.debug('a bulk transfer ended early', { peer, reason: reasonOf(error) })
        stream.abort(error as Error)
      })
    },
    close() {
      closed = true
      for (const stream of [...active]) stream.abort(new Error('the node is stopping'))
    },
  }
}

const status = (code: 0 | 1, payload: Uint8Array): Uint8Array => Buffer.concat([Buffer.of(code), payload])

const parseOpening = (payload: Uint8Array): [purpose: string, header: unknown] => {
  const value = decode(payload, 'the header of a bulk transfer')
  if (Array.isArray(value) && value.length === 2 && typeof value[0] === 'string') return [value[0], value[1]]
  throw new GodelError({ code: 'INVALID_MESSAGE', what: 'the header of a bulk transfer', reason: 'it is no pair' })
}
