/**
 * The sending end of one direction of a call: takes items from an async iterable only while the receiver has granted
 * credit and the session has room, so that a slow receiver slows the source down and nothing piles up.
 */
import { encode } from '../base/codec.ts'
import { GodelError } from '../base/errors.ts'
import type { Outbox } from './outbox.ts'

export interface ItemSender {
  /** The receiver takes so many bytes more. */
  credit(bytes: number): void
  /** Nothing more is wanted: the source is told to return. Resolves when it has. */
  stop(): Promise<void>
}

export interface ItemSenderDeps {
  readonly what: string
  readonly creditBytes: number
  readonly itemBytesMax: number
  readonly itemOverheadBytes: number
  readonly outbox: Pick<Outbox, 'full' | 'room'>
  send(payload: Uint8Array): void
  /** The source has ended, or has thrown `error`. Not called after `stop`. */
  done(error?: unknown): void
}

/** `encode` with the bound of a method: TOO_LARGE. */
export const encodeBounded = (value: unknown, what: string, limitBytes: number): Uint8Array => {
  const payload = encode(value)
  if (payload.byteLength > limitBytes) {
    throw new GodelError({ code: 'TOO_LARGE', what, bytes: payload.byteLength, limitBytes })
  }
  return payload
}

/** Starts sending the items of `source` at once. */
export const sendItems = (deps: ItemSenderDeps, source: AsyncIterable<unknown>): ItemSender => {
  let credit = deps.creditBytes
  let stopped = false
  let wake: (() => void) | undefined
  const iterator = source[Symbol.asyncIterator]()

  const leave = async (): Promise<void> => {
    try {
      await iterator.return?.()
    } catch {
      // A source that throws on being told to return has nobody left to tell.
    }
  }

  const run = async () => {
    for (;;) {
      while (credit <= 0 && !stopped) await new Promise<void>((resolve) => (wake = resolve))
      if (deps.outbox.full) await deps.outbox.room()
      if (stopped) return
      const result = await iterator.next()
      if (stopped) return
      if (result.done === true) return deps.done()
      const payload = encodeBounded(result.value, deps.what, deps.itemBytesMax)
      credit -= payload.byteLength + deps.itemOverheadBytes
      deps.send(payload)
    }
  }

  run().catch((error: unknown) => {
    if (stopped) return
    void leave()
    deps.done(error)
  })

  return {
    credit(bytes) {
      credit += bytes
      if (credit <= 0) return
      wake?.()
      wake = undefined
    },
    stop() {
      if (stopped) return Promise.resolve()
      stopped = true
      wake?.()
      return leave()
    },
  }
}
