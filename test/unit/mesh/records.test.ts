import fc from 'fast-check'
import { describe, expect, test } from 'vitest'
import { limits } from '../../../src/base/limits.ts'
import { compareAds, downWaitMs, mergeRecords, stateOf, type PeerRecord } from '../../../src/mesh/records.ts'
import { accusationBy, keyOf, recordOf } from './peers.ts'

const kept = limits.accusersKept
const subject = keyOf('subject').peer
const accusers = ['a', 'b', 'c', 'd', 'e'].map((name) => keyOf(name).peer)

/** One accuser may say two things of one incarnation; everybody picks the same. */
const evidence = fc.constantFrom('refused' as const, 'no-answer' as const, undefined)

const record: fc.Arbitrary<PeerRecord> = fc
  .record({
    incarnation: fc.integer({ min: 1, max: 3 }),
    sequence: fc.integer({ min: 1, max: 3 }),
    left: fc.boolean(),
    currentLoad: fc.constantFrom(0, 0.5),
    issuedAtMs: fc.integer({ min: 0, max: 50 }),
    accusations: fc.uniqueArray(fc.tuple(fc.constantFrom(...accusers), fc.integer({ min: 0, max: 50 }), evidence), {
      selector: ([accuser]) => accuser,
      maxLength: kept,
    }),
  })
  .map(({ issuedAtMs, accusations, ...ad }) => {
    const list = accusations.map((one) => accusationBy(...one))
    list.sort((a, b) => (a.accuser < b.accuser ? -1 : 1))
    const accusedAtMs = list.length === 0 ? undefined : Math.min(...list.map((one) => one.sinceMs))
    return recordOf(subject, ad, { issuedAtMs, accusations: list, accusedAtMs })
  })

const merge = (a: PeerRecord, b: PeerRecord) => mergeRecords(a, b, kept)

describe('merging records', () => {
  test('is commutative', () => {
    fc.assert(fc.property(record, record, (a, b) => void expect(merge(a, b)).toEqual(merge(b, a))))
  })

  test('is associative', () => {
    fc.assert(
      fc.property(
        record,
        record,
        record,
        (a, b, c) => void expect(merge(merge(a, b), c)).toEqual(merge(a, merge(b, c))),
      ),
      { numRuns: 1_000 },
    )
  })

  test('is idempotent', () => {
    fc.assert(fc.property(record, record, (a, b) => void expect(merge(merge(a, b), b)).toEqual(merge(a, b))))
  })

  test('never goes back behind either side', () => {
    fc.assert(
      fc.property(record, record, (a, b) => {
        expect(compareAds(merge(a, b), a)).toBeGreaterThanOrEqual(0)
        expect(compareAds(merge(a, b), b)).toBeGreaterThanOrEqual(0)
      }),
    )
  })

  test('a higher incarnation sweeps accusations and good-byes away', () => {
    const old = recordOf(
      subject,
      { incarnation: 1, left: true },
      { accusations: [accusationBy(accusers[0]!, 5)], accusedAtMs: 5 },
    )
    const merged = merge(old, recordOf(subject, { incarnation: 2 }))
    expect(merged.ad).toMatchObject({ incarnation: 2, left: false })
    expect(merged.accusations).toEqual([])
  })

  test('the last word stands over every sequence of its incarnation', () => {
    expect(merge(recordOf(subject, { sequence: 9 }), recordOf(subject, { sequence: 2, left: true })).ad.left).toBe(true)
  })

  test('of two ages of one word the older stands', () => {
    const young = recordOf(subject, {}, { issuedAtMs: 900 })
    expect(merge(young, recordOf(subject, {}, { issuedAtMs: 100 })).issuedAtMs).toBe(100)
  })
})

describe('what a record means', () => {
  const at = (nowMs: number, self = accusers[0]!) => ({ nowMs, peers: 10, self })
  const accused = (...by: [string, number][]) => {
    const accusations = by.map(([accuser, sinceMs]) => accusationBy(accuser, sinceMs))
    return recordOf(subject, {}, { accusations, accusedAtMs: Math.min(...by.map(([, sinceMs]) => sinceMs)) })
  }
  const [a, b, c] = accusers as [string, string, string]
  const wait = downWaitMs(10, 2, limits)

  test.each([
    ['nobody accuses it', recordOf(subject), at(2_000), 'alive'],
    ['one accuses it', accused([b, 1_000]), at(2_000), 'suspect'],
    ['two accuse it, not long enough', accused([b, 1_000], [c, 2_000]), at(1_000 + wait - 1), 'suspect'],
    ['two accuse it for long enough', accused([b, 1_000], [c, 2_000]), at(1_000 + wait), 'down'],
    ['another alone accuses it, for ever', accused([b, 1_000]), at(40_000), 'suspect'],
    ['this node alone accuses it, not long enough', accused([a, 1_000]), at(1_000 + 6 * wait - 1), 'suspect'],
    ['this node alone accuses it for long enough', accused([a, 1_000]), at(1_000 + 6 * wait), 'down'],
    ['its life is over', recordOf(subject), at(46_000), 'down'],
    ['it has left', recordOf(subject, { left: true }), at(99_000), 'left'],
  ] as const)('%s', (_, subjectRecord, when, state) => {
    expect(stateOf(subjectRecord, when, limits)).toBe(state)
  })

  test('the wait grows with the logarithm of the mesh and is never below its minimum', () => {
    expect(downWaitMs(1, 2, limits)).toBe(limits.downWaitMsMin)
    expect(downWaitMs(100, 2, limits)).toBe(2 * limits.downWaitMs)
    expect(downWaitMs(100, 1, limits)).toBe(12 * limits.downWaitMs)
  })
})
