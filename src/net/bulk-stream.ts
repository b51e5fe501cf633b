/**
 * A libp2p stream as a duplex of async iterables that keeps back-pressure. What `messageStreamToDuplex` receives it queues
 * without bound; here the stream is paused while more than a bound is received and not yet consumed, so that its window
 * closes and the sender stops.
 */
import type { Stream, StreamMessageEvent } from '@libp2p/interface'
import { messageStreamToDuplex } from '@libp2p/utils'

export interface BulkDuplex {
  readonly source: AsyncGenerator<Uint8Array>
  sink(source: AsyncIterable<Uint8Array>): Promise<void>
}

/** `onProgress` is called for every piece that was received or handed over to be sent. */
export const bulkDuplex = (stream: Stream, bufferBytes: number, onProgress: () => void): BulkDuplex => {
  let held = 0
  let resuming = false

  const pauseIfFull = () => {
    if (held > bufferBytes && stream.readStatus === 'readable') stream.pause()
  }

  // `resume` first hands out what was received meanwhile and then opens the window, whatever the listener did in between:
  // a pause from within would stop the reading and leave the window open, until the read buffer overflows.
  const resume = () => {
    resuming = true
    try {
      stream.resume()
    } finally {
      resuming = false
    }
    pauseIfFull()
  }

  stream.addEventListener('message', (event: StreamMessageEvent) => {
    onProgress()
    held += event.data.byteLength
    if (!resuming) pauseIfFull()
  })
  const duplex = messageStreamToDuplex(stream)

  const source = async function* (): AsyncGenerator<Uint8Array> {
    for await (const piece of duplex.source) {
      for (const bytes of piece instanceof Uint8Array ? [piece] : piece) yield bytes
      held -= piece.byteLength
      if (held <= bufferBytes / 2 && stream.readStatus === 'paused') resume()
    }
  }

  const watched = async function* (source: AsyncIterable<Uint8Array>): AsyncGenerator<Uint8Array> {
    for await (const piece of source) {
      onProgress()
      yield piece
    }
  }

  return { source: source(), sink: (given) => duplex.sink(watched(given)) }
}
