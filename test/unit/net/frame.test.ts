import fc from 'fast-check'
import { describe, expect, it } from 'vitest'
import { GodelError } from '../../../src/base/errors.ts'
import {
  createFrameReader,
  readRequest,
  requestBytes,
  writeHead,
  writeRequest,
  frameHeaderBytes,
} from '../../../src/net/frame.ts'
import { heldBytes } from './nets.ts'

interface Frame {
  kind: number
  call: number
  body: Uint8Array
}

const frameOf = ({ kind, call, body }: Frame): Buffer => {
  const frame = Buffer.alloc(frameHeaderBytes + body.length)
  frame.set(body, writeHead(frame, 0, frame.length, kind, call))
  return frame
}

const anyFrame = fc.record({
  kind: fc.integer({ min: 0, max: 255 }),
  call: fc.integer({ min: 0, max: 0xffffffff }),
  body: fc.uint8Array({ maxLength: 300 }),
})

describe('frames', () => {
  it('arrive as they were sent, however the bytes are cut', () => {
    fc.assert(
      fc.property(
        fc.array(anyFrame, { maxLength: 20 }),
        fc.array(fc.integer({ min: 1, max: 400 }), { minLength: 1 }),
        (frames, cuts) => {
          const seen: Frame[] = []
          const reader = createFrameReader(10_000, (kind, call, body) =>
            seen.push({ kind, call, body: new Uint8Array(body) }),
          )
          const bytes = Buffer.concat(frames.map(frameOf))
          for (let at = 0, i = 0; at < bytes.length; i++) {
            const size = cuts[i % cuts.length]!
            reader.push(bytes.subarray(at, at + size))
            at += size
          }
          expect(seen).toEqual(frames)
        },
      ),
    )
  })

  it('that claim more than the bound are refused before anything is buffered', () => {
    const reader = createFrameReader(1_000, () => {})
    expect(() => reader.push(Buffer.from([0, 0, 0x04, 0]))).toThrow(expect.objectContaining({ code: 'TOO_LARGE' }))
    expect(() => createFrameReader(1_000, () => {}).push(Buffer.from([0, 0, 0, 1, 1]))).toThrow(GodelError)
  })

  it('that come byte by byte cost little more than they hold', () => {
    const bytes = frameOf({ kind: 1, call: 7, body: new Uint8Array(200_000).fill(5) })
    const seen: number[] = []
    const reader = createFrameReader(1_000_000, (_kind, _call, body) => seen.push(body.length, body.at(-1)!))
    const before = heldBytes()
    // Each byte in a chunk of its own size, as it is when it has a frame of the muxer to itself.
    for (const byte of bytes.subarray(0, -1)) reader.push(new Uint8Array(Buffer.alloc(13, byte).buffer, 12, 1))
    expect(heldBytes() - before).toBeLessThan(8_000_000)
    reader.push(bytes.subarray(-1))
    expect(seen).toEqual([200_000, 5])
  })

  it('of random bytes end in frames or a typed error', () => {
    fc.assert(
      fc.property(fc.uint8Array({ maxLength: 2_000 }), (bytes) => {
        try {
          createFrameReader(500, (kind, _call, body) => void (kind === 1 && readRequest(body))).push(bytes)
        } catch (error) {
          expect(error).toBeInstanceOf(GodelError)
        }
      }),
    )
  })

  it('of a request give back its head and payload', () => {
    const head = fc.record({
      stream: fc.boolean(),
      outgoing: fc.boolean(),
      version: fc.integer({ min: 0, max: 0xffff }),
      timeoutMs: fc.integer({ min: 0, max: 0xffffffff }),
      creditBytes: fc.integer({ min: 0, max: 0xffffffff }),
      name: fc.stringMatching(/^[a-z.]{0,255}$/),
      payload: fc.uint8Array({ maxLength: 100 }),
    })
    fc.assert(
      fc.property(head, (request) => {
        const frame = Buffer.alloc(requestBytes(request.name, request.payload))
        writeRequest(frame, frameHeaderBytes, request)
        const read = readRequest(frame.subarray(frameHeaderBytes))
        expect({ ...read, payload: new Uint8Array(read.payload) }).toEqual(request)
      }),
    )
  })
})
