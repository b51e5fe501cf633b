import fc from 'fast-check'
import { describe, expect, test } from 'vitest'
import { avalanche32, hash32, rendezvous, sha256Hex } from '../../../src/base/hash.ts'

const members = Array.from({ length: 10 }, (_, i) => `member ${i}`)
const keys = Array.from({ length: 3_000 }, (_, i) => `key ${i}`)
const homeOf = (key: string, among: readonly string[]) => rendezvous(key, among, 1)[0]!

describe('rendezvous hashing', () => {
  test('gives the same answer whatever the order of the members', () => {
    fc.assert(
      fc.property(
        fc.string(),
        fc.uniqueArray(fc.string(), { maxLength: 12 }),
        fc.nat({ max: 5 }),
        (key, some, count) => {
          const first = rendezvous(key, some, count)
          expect(rendezvous(key, some.toReversed(), count)).toEqual(first)
          expect(rendezvous(key, some.toSorted(), count)).toEqual(first)
          expect(first).toHaveLength(Math.min(count, some.length))
          expect(new Set(first).size).toBe(first.length)
        },
      ),
    )
  })

  test('moves the keys of a member that goes, and no others', () => {
    const gone = members[3]!
    const left = members.filter((member) => member !== gone)
    const moved = keys.filter((key) => homeOf(key, members) !== homeOf(key, left))
    expect(moved).toEqual(keys.filter((key) => homeOf(key, members) === gone))
    const share = moved.length / keys.length
    expect(share).toBeGreaterThan(0.07)
    expect(share).toBeLessThan(0.13)
  })

  test('spreads the keys evenly', () => {
    const counts = new Map<string, number>()
    for (const key of keys) counts.set(homeOf(key, members), (counts.get(homeOf(key, members)) ?? 0) + 1)
    for (const member of members) expect(Math.abs((counts.get(member) ?? 0) / keys.length - 0.1)).toBeLessThan(0.03)
  })

  test('keeps the other homes in their order when one of three goes', () => {
    for (const key of keys.slice(0, 200)) {
      const [first, second, third] = rendezvous(key, members, 3)
      const without = rendezvous(
        key,
        members.filter((member) => member !== first),
        2,
      )
      expect(without).toEqual([second, third])
    }
  })

  test('does not take one key and member for another', () => {
    expect(rendezvous('a', ['b', 'ab', ''], 3)).toHaveLength(3)
    expect(sha256Hex('a\0b')).not.toBe(sha256Hex('ab\0'))
  })

  test('of no members is none', () => {
    expect(rendezvous('key', [], 3)).toEqual([])
  })
})

describe('hashes', () => {
  test('SHA-256 is the one of the standard, for text and for bytes', () => {
    const abc = 'ba7816bf8f01cfea414140de5dae2223b00361a396177a9cb410ff61f20015ad'
    expect(sha256Hex('abc')).toBe(abc)
    expect(sha256Hex(Buffer.from('abc'))).toBe(abc)
    expect(sha256Hex('é')).toBe(sha256Hex(Buffer.from('é')))
  })

  test('of 32 bits are unsigned, and differ for texts that are alike', () => {
    const all = keys.map(hash32)
    for (const value of all) expect(value).toBe(value >>> 0)
    expect(new Set(all).size).toBeGreaterThan(keys.length - 3)
  })

  test('of 32 bits change about half of their bits when one bit of the input changes', () => {
    let flipped = 0
    let cases = 0
    for (let value = 1; value < 200; value++)
      for (let bit = 0; bit < 32; bit++) {
        const difference = (avalanche32(value) ^ avalanche32(value ^ (1 << bit))) >>> 0
        flipped += difference.toString(2).replaceAll('0', '').length
        cases++
      }
    expect(flipped / cases).toBeGreaterThan(15)
    expect(flipped / cases).toBeLessThan(17)
  })
})
