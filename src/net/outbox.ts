/**
 * What a session still has to send. Frames of one turn of the loop are written side by side into one buffer and handed to the stream
 * in one go: each hand-over costs a cipher and a system call, whatever its size (measured, four times the calls per
 * second). While the stream is full the frames wait here, within a bound.
 */
import type { MessageStream } from '@libp2p/interface'
import { GodelError } from '../base/errors.ts'
import type { Limits } from '../base/limits.ts'
import { frameHeaderBytes, requestBytes, writeHead, writeRequest, type RequestHead } from './frame.ts'

export interface Outbox {
  /** More waits than limits.rpcSessionQueueBytesMax: new requests are refused, answers and items wait for `room`. */
  readonly full: boolean
  /** Bytes taken so far and bytes handed to the stream so far; a frame was sent if its end is within the second. */
  readonly takenBytes: number
  readonly sentBytes: number
  request(call: number, head: RequestHead): void
  frame(kind: number, call: number, payload: Uint8Array): void
  empty(kind: number, call: number): void
  credit(kind: number, call: number, bytes: number): void
  /** Resolves when the outbox is not full any more, or closed. */
  room(): Promise<void>
  /** Resolves when everything taken so far and since is handed to the stream, or when closed. */
  idle(): Promise<void>
  close(): void
}

const noBytes = new Uint8Array(0)

export const createOutbox = (deps: {
  stream: Pick<MessageStream, 'send' | 'addEventListener'>
  limits: Pick<Limits, 'rpcSessionQueueBytesMax' | 'rpcWriteBytes'>
  onError: (error: unknown) => void
}): Outbox => {
  const { stream, limits } = deps
  let slab = Buffer.allocUnsafeSlow(limits.rpcWriteBytes)
  let start = 0 // of what is not handed over yet
  let at = 0
  const waiting: Buffer[] = [] // full buffers, oldest first
  let taken = 0
  let sent = 0
  let scheduled = false
  let blocked = false
  let closed = false
  let wanting: (() => void)[] = []
  const idling: (() => void)[] = []

  const seal = () => {
    if (at > start) waiting.push(slab.subarray(start, at))
    start = at
  }

  /** Makes `size` bytes free at `at` of the slab. */
  const reserve = (size: number) => {
    if (at + size > slab.length) {
      seal()
      slab = Buffer.allocUnsafeSlow(Math.max(size, limits.rpcWriteBytes))
      start = at = 0
    }
    taken += size
    if (taken - sent > 2 * limits.rpcSessionQueueBytesMax) {
      const fault = { code: 'QUEUE_FULL', what: 'the send queue of a session', limit: limits.rpcSessionQueueBytesMax }
      deps.onError(new GodelError({ ...fault, code: 'QUEUE_FULL' }))
    }
    if (!scheduled && !blocked) {
      scheduled = true
      // After all microtasks: so what is called in answer to one delivery goes out together, and a lone call at once.
      process.nextTick(flush)
    }
  }

  const release = () => {
    if (idling.length > 0 && (closed || taken === sent)) for (const resolve of idling.splice(0)) resolve()
    if (wanting.length === 0 || isFull()) return
    const ready = wanting
    wanting = []
    for (const resolve of ready) resolve()
  }

  const isFull = () => !closed && taken - sent > limits.rpcSessionQueueBytesMax

  const flush = () => {
    scheduled = false
    if (closed || blocked) return
    seal()
    try {
      while (waiting.length > 0 && !blocked) {
        const next = waiting.shift()!
        sent += next.length
        if (!stream.send(next)) blocked = true
      }
    } catch (error) {
      deps.onError(error)
    }
    release()
  }

  stream.addEventListener('drain', () => {
    blocked = false
    flush()
  })

  return {
    get full() {
      return isFull()
    },
    get takenBytes() {
      return taken
    },
    get sentBytes() {
      return sent
    },
    request(call, head) {
      const size = requestBytes(head.name, head.payload)
      reserve(size)
      writeRequest(slab, writeHead(slab, at, size, 1, call), head)
      at += size
    },
    frame(kind, call, payload) {
      const size = frameHeaderBytes + payload.byteLength
      reserve(size)
      slab.set(payload, writeHead(slab, at, size, kind, call))
      at += size
    },
    empty(kind, call) {
      this.frame(kind, call, noBytes)
    },
    credit(kind, call, bytes) {
      const size = frameHeaderBytes + 4
      reserve(size)
      slab.writeUInt32BE(bytes, writeHead(slab, at, size, kind, call))
      at += size
    },
    room: () => (isFull() ? new Promise((resolve) => wanting.push(resolve)) : Promise.resolve()),
    idle: () => (closed || taken === sent ? Promise.resolve() : new Promise((resolve) => idling.push(resolve))),
    close() {
      closed = true
      waiting.length = 0
      release()
    },
  }
}
