/** The values of options: what is read, and what is refused with the option's name. */
import { describe, expect, test } from 'vitest'
import { GodelError } from '../../../src/base/errors.ts'
import { amount, count, duration, gathered, list, pair, word } from '../../../src/cli/values.ts'

const refusal = (read: () => unknown): string => {
  try {
    read()
  } catch (error) {
    expect(error).toBeInstanceOf(GodelError)
    expect((error as GodelError).detail).toMatchObject({ code: 'INVALID_ARGUMENT', field: '--option' })
    return (error as GodelError).message
  }
  throw new Error('it was taken')
}

test.each([
  ['0', 0],
  ['7373', 7_373],
  ['65535', 65_535],
])('the count %s is %d', (text, value) => expect(count('--option', { max: 65_535 })(text)).toBe(value))

test.each(['65536', '-1', '1.5', '1e3', '0x10', '', ' 1', '1 ', 'NaN', '99999999999999999999'])(
  '%j is no port',
  (text) => {
    expect(refusal(() => count('--option', { max: 65_535 })(text))).toContain('from 0 to 65535')
  },
)

test.each([
  ['90', 90],
  ['90s', 90],
  ['30m', 1_800],
  ['1h', 3_600],
  ['2d', 172_800],
])('the time %s is %d seconds', (text, value) => expect(duration('--option', { max: 172_800 })(text)).toBe(value))

test.each(['0', '0s', '3d', '1w', '1h30m', '-1h', 'h', '', '1.5h', '1 h', '1H'])(
  '%j is no time of up to two days',
  (text) => {
    refusal(() => duration('--option', { max: 172_800 })(text))
  },
)

test.each([
  ['0.5', 0.5],
  ['2', 2],
])('the amount %s is %d', (text, value) => expect(amount('--option')(text)).toBe(value))
test.each(['', '-1', '.5', '1e9', 'Infinity', '1,5'])(
  '%j is no amount',
  (text) => void refusal(() => amount('--option')(text)),
)

describe('pairs', () => {
  test('are gathered, the last of a key stands, and values may hold anything', () => {
    const read = pair('--option')
    expect(read('c=', read('a=b=c', read('a=x')))).toEqual({ a: 'b=c', c: '' })
  })
  test.each(['', 'a', '=b'])('%j is none', (text) => {
    expect(refusal(() => pair('--option')(text))).toContain('must be KEY=VALUE')
  })
})

test('words are taken as they are, and others are refused with those that there are', () => {
  expect(word('--option', ['none', 'bwrap'])('bwrap')).toBe('bwrap')
  expect(refusal(() => word('--option', ['none', 'bwrap'])('vm'))).toContain('none, bwrap')
})

test('lists are split, and hold no empty names', () => {
  expect(list('--option')('a, b')).toEqual(['a', 'b'])
  for (const text of ['', 'a,', ',a']) refusal(() => list('--option')(text))
  expect(gathered('b', gathered('a'))).toEqual(['a', 'b'])
})
