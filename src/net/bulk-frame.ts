/**
 * The frames of /godel/bulk/1: a u32 length and that many bytes. The first holds the msgpack of [purpose, header], then
 * come frames of data, then an empty one, after which the receiver answers with one frame of its own, the msgpack of
 * [true, answer] or [false, error]. The end is a frame and not the closing of the stream, since what a paused stream still
 * holds is dropped when it is closed.
 */
import { GodelError } from '../base/errors.ts'

const lengthBytes = 4

export const bulkEnd = (): Uint8Array => Buffer.alloc(lengthBytes)

/** The payload with its length before it. */
export const bulkFrame = (payload: Uint8Array): Uint8Array => {
  const frame = Buffer.allocUnsafe(lengthBytes + payload.byteLength)
  frame.writeUInt32BE(payload.byteLength)
  frame.set(payload, lengthBytes)
  return frame
}

/** Resolves with undefined in the next turn of the loop. */
const turn = (): Promise<undefined> => new Promise((resolve) => setImmediate(resolve, undefined))

/**
 * The chunks of `source` as frames of at most `frameBytes`, in writes of `writeBytes`, since a write costs by its number
 * and not by its length. A write that is not full leaves as soon as the source has nothing ready.
 */
export async function* bulkFrames(
  source: AsyncIterator<Uint8Array>,
  { frameBytes, writeBytes }: { frameBytes: number; writeBytes: number },
): AsyncGenerator<Uint8Array> {
  let write = Buffer.allocUnsafeSlow(writeBytes)
  let at = 0
  const take = (): Uint8Array => {
    const full = write.subarray(0, at)
    write = Buffer.allocUnsafeSlow(writeBytes)
    at = 0
    return full
  }

  for (;;) {
    const next = source.next()
    next.catch(() => {}) // it is awaited below, perhaps after a pause in which it fails
    if (at > 0 && (await Promise.race([next, turn()])) === undefined) yield take()
    const { done, value } = await next
    if (done === true) break
    for (let from = 0; from < value.byteLength; from += frameBytes) {
      const frame = value.subarray(from, from + frameBytes)
      if (at + lengthBytes >= writeBytes) yield take()
      at = write.writeUInt32BE(frame.byteLength, at)
      for (let sent = 0; sent < frame.byteLength;) {
        if (at === writeBytes) yield take()
        const part = frame.subarray(sent, sent + writeBytes - at)
        write.set(part, at)
        at += part.byteLength
        sent += part.byteLength
      }
    }
  }
  if (at > 0) yield take()
}

export interface BulkReader {
  /** One whole frame of at most `limitBytes`: TOO_LARGE before it is buffered, STREAM_LOST if the stream ends first. */
  frame(limitBytes: number): Promise<Uint8Array>
  /** The bytes of the frames up to the empty one, in pieces as they arrive. */
  data(frameBytesMax: number): AsyncGenerator<Uint8Array>
}

/** Reads frames from the pieces in which a stream delivers them. */
export const createBulkReader = (source: AsyncIterable<Uint8Array>, lost: () => GodelError): BulkReader => {
  const iterator = source[Symbol.asyncIterator]()
  let rest: Uint8Array = new Uint8Array(0)

  const more = async (): Promise<void> => {
    const result = await iterator.next()
    if (result.done === true) throw lost()
    rest = rest.byteLength === 0 ? result.value : Buffer.concat([rest, result.value])
  }

  const take = async (bytes: number): Promise<Uint8Array> => {
    while (rest.byteLength < bytes) await more()
    const taken = rest.subarray(0, bytes)
    rest = rest.subarray(bytes)
    return taken
  }

  const length = async (limitBytes: number): Promise<number> => {
    const head = await take(lengthBytes)
    const bytes = Buffer.from(head.buffer, head.byteOffset, lengthBytes).readUInt32BE()
    if (bytes > limitBytes) throw new GodelError({ code: 'TOO_LARGE', what: 'a bulk frame', bytes, limitBytes })
    return bytes
  }

  return {
    frame: async (limitBytes) => take(await length(limitBytes)),
    async *data(frameBytesMax) {
      for (;;) {
        let left = await length(frameBytesMax)
        if (left === 0) return
        while (left > 0) {
          if (rest.byteLength === 0) await more()
          const piece = rest.subarray(0, left)
          rest = rest.subarray(piece.byteLength)
          left -= piece.byteLength
          yield piece
        }
      }
    },
  }
}
