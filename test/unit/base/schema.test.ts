import { Type } from 'typebox'
import { describe, expect, test } from 'vitest'
import { Bytes, Count, OneOf, parser } from '../../../src/base/schema.ts'

const parse = parser(
  'a thing',
  Type.Object({ count: Count(), word: OneOf(['a', 'b']), bytes: Type.Optional(Bytes(4)), list: Type.Array(Count(9)) }),
)
const good = { count: 1, word: 'a', list: [] }

test('a value that matches is given back as it is', () => {
  expect(parse(good)).toBe(good)
  expect(parse({ ...good, bytes: new Uint8Array(4) })).toMatchObject({ count: 1 })
})

describe('a value is refused, and the error names the place', () => {
  test.each([
    ['text for a count', { ...good, count: '1' }, /\/count/],
    ['2^53', { ...good, count: 2 ** 53 }, /\/count/],
    ['a bigint', { ...good, count: 1n }, /\/count/],
    ['a fraction', { ...good, count: 1.5 }, /\/count/],
    ['NaN', { ...good, count: Number.NaN }, /\/count/],
    ['a negative count', { ...good, count: -1 }, /\/count/],
    ['another word', { ...good, word: 'c' }, /\/word/],
    ['a list for bytes', { ...good, bytes: [1] }, /\/bytes/],
    ['too many bytes', { ...good, bytes: new Uint8Array(5) }, /\/bytes must be bytes, at most 4/],
    ['an item out of range', { ...good, list: [1, 10] }, /\/list\/1/],
    ['a missing field', { count: 1, word: 'a' }, /list/],
    ['null', null, /it must be object/],
    ['an Error', new Error('count'), /count|word|list/],
  ])('%s', (_name, value, reason) => {
    let thrown: unknown
    try {
      parse(value)
    } catch (error) {
      thrown = error
    }
    expect(thrown).toMatchObject({ code: 'INVALID_MESSAGE', detail: { what: 'a thing' } })
    expect((thrown as { detail: { reason: string } }).detail.reason).toMatch(reason)
  })
})
