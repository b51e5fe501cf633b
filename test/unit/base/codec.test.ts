import fc from 'fast-check'
import { encode as msgpack } from 'msgpackr'
import { describe, expect, it } from 'vitest'
import { decode, encode } from '../../../src/base/codec.ts'
import type { GodelError } from '../../../src/base/errors.ts'

const value = fc.letrec((tie) => ({
  any: fc.oneof(
    { maxDepth: 4 },
    fc.constant(null),
    fc.boolean(),
    fc.integer(),
    fc.double({ noNaN: true }).map((each) => each + 0),
    fc.string(),
    fc.array(tie('any'), { maxLength: 5 }),
    fc.dictionary(
      fc.string().filter((key) => key !== '__proto__'),
      tie('any'),
      { maxKeys: 5, noNullPrototype: true },
    ),
  ),
})).any

describe('the codec', () => {
  it('gives back what it was given', () => {
    fc.assert(fc.property(value, (each) => void expect(decode(encode(each))).toEqual(each)))
  })

  it('takes any bytes to a value or INVALID_MESSAGE', () => {
    fc.assert(
      fc.property(fc.uint8Array({ maxLength: 200 }), (bytes) => {
        try {
          decode(bytes)
        } catch (error) {
          expect((error as GodelError).code).toBe('INVALID_MESSAGE')
        }
      }),
    )
  })

  it.each([
    ['deep nesting', Buffer.concat([Buffer.alloc(10_000, 0x91), Buffer.from([0xc0])])],
    ['more items than bytes', Buffer.from([0xdd, 0xff, 0xff, 0xff, 0xff])],
    ['a string that is cut', Buffer.from([0xdb, 0, 0, 1, 0, 65])],
    ['an extension', Buffer.from(msgpack(new Date()))],
    ['a second value', Buffer.from([1, 2])],
    ['nothing', Buffer.alloc(0)],
  ])('refuses %s', (_what, bytes) => {
    expect(() => decode(bytes)).toThrow(expect.objectContaining({ code: 'INVALID_MESSAGE' }))
  })

  it('copies bytes out of what was received, so that a small part does not keep the whole', () => {
    const received = encode({ part: Buffer.from([1, 2, 3]), rest: Buffer.alloc(100_000) })
    const { part } = decode(received) as { part: Uint8Array }
    received.fill(0)
    expect([...part]).toEqual([1, 2, 3])
    expect(part.buffer.byteLength).toBeLessThan(100_000)
  })
})
