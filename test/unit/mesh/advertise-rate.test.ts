import fc from 'fast-check'
import { describe, expect, test } from 'vitest'
import type { Capacity } from '../../../src/base/advertisement.ts'
import { limits } from '../../../src/base/limits.ts'
import { initialRate, matters, refreshIntervalMs, stepRate } from '../../../src/mesh/advertise-rate.ts'

const capacity = (currentLoad: number, change: Partial<Capacity> = {}): Capacity => ({
  status: 'available',
  currentLoad,
  running: 0,
  maxConcurrent: 8,
  ...change,
})

describe('the refresh interval', () => {
  test.each([
    [1, 15_000],
    [90, 15_000],
    [600, 100_000],
    [10_000, 300_000],
  ])('of %i nodes is %i ms', (peers, intervalMs) => {
    expect(refreshIntervalMs(peers, limits)).toBe(intervalMs)
  })
})

describe('what is told at once', () => {
  test.each([
    ['a tenth of the load', capacity(0.7), capacity(0.8), true],
    ['less than a tenth', capacity(0.7), capacity(0.79), false],
    ['a status', capacity(0.7), capacity(0.7, { status: 'draining' }), true],
    ['the last free slot taken', capacity(0.9, { running: 7 }), capacity(0.9, { running: 8 }), true],
    ['the last free slot given back', capacity(0.9, { running: 8 }), capacity(0.9, { running: 7 }), true],
    ['a slot among many', capacity(0.2, { running: 1 }), capacity(0.2, { running: 2 }), false],
    ['another number of slots', capacity(0.2), capacity(0.2, { maxConcurrent: 9 }), true],
  ])('%s: %#', (_, before, after, told) => {
    expect(matters(before, after, limits.advertisementLoadChange)).toBe(told)
  })
})

/** Runs a list of changes, each some time after the one before, waking when asked to; gives what was sent and when. */
const run = (changes: readonly { afterMs: number; load: number }[], endMs: number, random = 0.5) => {
  let state = initialRate(0, limits)
  let wakeAtMs = 0
  let load = 0
  const sent: { atMs: number; load: number }[] = []
  const step = (nowMs: number) => {
    const result = stepRate(state, { nowMs, capacity: capacity(load), peers: 10, random }, limits)
    state = result.state
    wakeAtMs = result.wakeAtMs
    if (result.send) sent.push({ atMs: nowMs, load })
  }
  const sleepUntil = (untilMs: number) => {
    while (wakeAtMs <= untilMs) step(wakeAtMs)
  }
  let nowMs = 0
  step(0)
  for (const change of changes) {
    nowMs += change.afterMs
    sleepUntil(nowMs - 1)
    load = change.load
    step(nowMs)
  }
  sleepUntil(nowMs + endMs)
  return sent
}

describe('the rate', () => {
  test('a quiet node speaks once per interval, a little early', () => {
    expect(run([], 60_000, 0).map(({ atMs }) => atMs)).toEqual([0, 12_000, 24_000, 36_000, 48_000, 60_000])
  })

  test('a burst of changes is told up to the bucket, and the last of them in the end', () => {
    const sent = run(
      [0.2, 0.4, 0.6, 0.8, 1].map((load) => ({ afterMs: 10, load })),
      5_000,
    )
    expect(sent.map(({ load }) => load)).toEqual([0, 0.2, 0.4, 1])
    expect(sent.at(-1)!.atMs).toBeLessThanOrEqual(5_010)
  })

  test('whatever happens, the bucket is never exceeded and what matters is told within one token', () => {
    const change = fc.record({
      afterMs: fc.integer({ min: 0, max: 4_000 }),
      load: fc.constantFrom(0, 0.25, 0.5, 0.75, 1),
    })
    fc.assert(
      fc.property(fc.array(change, { maxLength: 60 }), (changes) => {
        const sent = run(changes, limits.advertiseTokenEveryMs)
        const final = changes.at(-1)?.load ?? 0
        expect(sent.at(-1)!.load).toBe(final)
        const windowMs = 10 * limits.advertiseTokenEveryMs
        for (const { atMs } of sent) {
          const within = sent.filter((other) => other.atMs >= atMs && other.atMs < atMs + windowMs).length
          const refreshes = Math.ceil(windowMs / (0.8 * limits.advertiseIntervalMsMin))
          expect(within).toBeLessThanOrEqual(limits.advertiseBurst + 10 + refreshes)
        }
      }),
    )
  })
})
