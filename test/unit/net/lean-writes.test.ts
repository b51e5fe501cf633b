import type { ConnectionEncrypter, MessageStream, StreamMuxerFactory } from '@libp2p/interface'
import { multiaddrConnectionPair } from '@libp2p/utils'
import { yamux } from '@libp2p/yamux'
import fc from 'fast-check'
import { describe, expect, it } from 'vitest'
import { limits } from '../../../src/base/limits.ts'
import { inOneWrite, withFewWindowUpdates } from '../../../src/net/lean-writes.ts'
import { until } from './nets.ts'

type Data = Parameters<MessageStream['send']>[0]

/** A connection that keeps what is sent on it. */
const createRecorder = (room = true) => {
  const sent: Data[] = []
  const connection = {
    send(data: Data) {
      sent.push(data)
      return room
    },
  } as MessageStream
  return { sent, connection }
}

const head = (type: number, flags: number, stream: number, length: number): Uint8Array => {
  const bytes = Buffer.alloc(12)
  bytes[1] = type
  bytes.writeUInt16BE(flags, 2)
  bytes.writeUInt32BE(stream, 4)
  bytes.writeUInt32BE(length, 8)
  return bytes
}

const updated = (sent: readonly Data[], stream: number): number =>
  sent
    .map((data) => Buffer.from(data.subarray()))
    .filter((bytes) => bytes.readUInt32BE(0) === 0x00010000 && bytes.readUInt32BE(4) === stream)
    .reduce((sum, bytes) => sum + bytes.readUInt32BE(8), 0)

describe('window updates', () => {
  const wrapped = (room?: boolean) => {
    const { sent, connection } = createRecorder(room)
    const factory = { createStreamMuxer: (given: MessageStream) => given } as unknown as StreamMuxerFactory
    withFewWindowUpdates(factory, limits).createStreamMuxer(connection)
    return { sent, connection }
  }

  it('of which less is held back than the bound, are given to the last byte', () => {
    const update = fc.record({ stream: fc.integer({ min: 1, max: 3 }), bytes: fc.integer({ min: 1, max: 100_000 }) })
    fc.assert(
      fc.property(fc.array(update, { maxLength: 60 }), (updates) => {
        const { sent, connection } = wrapped()
        for (const { stream, bytes } of updates) connection.send(head(1, 0, stream, bytes))
        const owed = [1, 2, 3].map((stream) => {
          const given = updates.filter((each) => each.stream === stream).reduce((sum, { bytes }) => sum + bytes, 0)
          return given - updated(sent, stream)
        })
        expect(owed.filter((bytes) => bytes > 0).length).toBeLessThanOrEqual(1)
        expect(Math.max(...owed)).toBeLessThan(limits.windowUpdateBytes)
        expect(Math.min(...owed)).toBe(0)
      }),
    )
  })

  it('that open or end a stream, and all other frames, go out as they are', () => {
    const { sent, connection } = wrapped()
    const frames = [head(1, 1, 1, 0), head(1, 4, 1, 0), head(2, 0, 0, 7), head(0, 0, 1, 0), new Uint8Array(500)]
    for (const frame of frames) connection.send(frame)
    expect(sent).toEqual(frames)
  })

  it('tell of a connection that takes no more', () => {
    expect(wrapped(false).connection.send(head(1, 0, 1, limits.windowUpdateBytes))).toBe(false)
  })

  it('are few, and no sender runs dry', async () => {
    const [outbound, inbound] = multiaddrConnectionPair()
    let updates = 0
    for (const connection of [outbound, inbound]) {
      const send = connection.send.bind(connection)
      connection.send = (data) => {
        if (data.byteLength === 12) updates++
        return send(data)
      }
    }
    const create = () => withFewWindowUpdates(yamux({ enableKeepAlive: false })(), limits)
    const client = create().createStreamMuxer(outbound)
    const server = create().createStreamMuxer(inbound)
    let received = 0
    server.addEventListener('stream', ({ detail: stream }) =>
      stream.addEventListener('message', ({ data }) => (received += data.byteLength)),
    )
    const stream = await client.createStream()
    const messages = 4_000 // more bytes than the window has
    for (let each = 0; each < messages; each++) {
      if (!stream.send(new Uint8Array(100))) await new Promise((resolve) => stream.addEventListener('drain', resolve))
    }
    await until(() => received === messages * 100)
    expect(updates).toBeLessThan(100)
  })
})

describe('what Noise sends in pieces', () => {
  it('goes out in one where it is small, and as it is where it is not', async () => {
    const { sent, connection } = createRecorder()
    const encrypter = { secureOutbound: async (given: MessageStream) => given } as unknown as ConnectionEncrypter
    await inOneWrite(encrypter, { writeJoinedBytesMax: 10 }).secureOutbound(connection)
    const pieces = (bytes: number) => ({ byteLength: bytes, subarray: () => new Uint8Array(bytes) }) as Data
    const large = pieces(11)
    connection.send(pieces(10))
    connection.send(large)
    expect(sent[0]).toBeInstanceOf(Uint8Array)
    expect(sent[1]).toBe(large)
  })
})
