/**
 * The receiving end of one direction of a call: items wait here, as bytes, until the reader asks for them, and the
 * sender may send only what it was granted. So a reader that stalls holds up its own call and costs one window of memory;
 * other calls of the session go on.
 */
import type { GodelError } from '../base/errors.ts'

export interface ItemInbox<T> extends AsyncIterableIterator<T> {
  /** False if the sender sent beyond its credit. */
  push(payload: Uint8Array): boolean
  /** No more items; those that wait are still read. */
  end(): void
  /** Those that wait are still read, then `error` is thrown. */
  endWith(error: GodelError): void
  /** The next read throws `error`; what waits is dropped. */
  fail(error: GodelError): void
}

export interface ItemInboxDeps<T> {
  readonly windowBytes: number
  readonly itemOverheadBytes: number
  /** Decodes and checks one payload. What it throws ends the call. */
  decode(payload: Uint8Array): T
  /** Tells the sender that it may send so many bytes more. */
  grant(bytes: number): void
  /** The reader is gone, or an item did not decode: nothing more is wanted. */
  left(error?: GodelError): void
}

interface Reader<T> {
  resolve(result: IteratorResult<T>): void
  reject(error: unknown): void
}

export const createItemInbox = <T>(deps: ItemInboxDeps<T>): ItemInbox<T> => {
  let waiting: Uint8Array[] = []
  let first = 0
  let outstanding = 0 // received or granted again: what counts against the window
  let consumed = 0 // read and not yet granted again
  let ended = false
  let failure: GodelError | undefined
  let readers: Reader<T>[] = []

  const cost = (payload: Uint8Array) => payload.byteLength + deps.itemOverheadBytes

  const take = (payload: Uint8Array, bytes: number): T => {
    consumed += bytes
    if (consumed * 2 >= deps.windowBytes && !ended) {
      outstanding -= consumed
      deps.grant(consumed)
      consumed = 0
    }
    try {
      return deps.decode(payload)
    } catch (error) {
      drop()
      ended = true
      deps.left(error as GodelError)
      throw error
    }
  }

  const drop = () => {
    waiting = []
    first = 0
  }

  const finish = () => {
    ended = true
    const left = readers
    readers = []
    for (const reader of left) {
      if (failure === undefined) reader.resolve({ done: true, value: undefined })
      else {
        reader.reject(failure)
        failure = undefined
      }
    }
  }

  const next = (): Promise<IteratorResult<T>> => {
    if (first < waiting.length) {
      const payload = waiting[first]!
      waiting[first++] = undefined as never
      if (first > 64 && first * 2 > waiting.length) {
        waiting = waiting.slice(first)
        first = 0
      }
      try {
        return Promise.resolve({ done: false, value: take(payload, cost(payload)) })
      } catch (error) {
        return Promise.reject(error)
      }
    }
    if (failure !== undefined) {
      const error = failure
      failure = undefined
      return Promise.reject(error)
    }
    if (ended) return Promise.resolve({ done: true, value: undefined })
    return new Promise((resolve, reject) => readers.push({ resolve, reject }))
  }

  return {
    push(payload) {
      if (ended) return true
      if (outstanding >= deps.windowBytes) return false
      const bytes = cost(payload)
      outstanding += bytes
      const reader = readers.shift()
      if (reader === undefined) {
        // A copy, since the payload is a view into what was received with it, which may be much larger.
        waiting.push(Uint8Array.prototype.slice.call(payload))
        return true
      }
      try {
        reader.resolve({ done: false, value: take(payload, bytes) })
      } catch (error) {
        reader.reject(error)
        finish()
      }
      return true
    },
    end() {
      if (!ended) finish()
    },
    endWith(error) {
      if (ended) return
      failure = error
      finish()
    },
    fail(error) {
      drop()
      if (ended) return
      failure = error
      finish()
    },
    next,
    return() {
      const gone = !ended
      drop()
      failure = undefined
      finish()
      if (gone) deps.left()
      return Promise.resolve({ done: true, value: undefined })
    },
    [Symbol.asyncIterator]() {
      return this
    },
  }
}
