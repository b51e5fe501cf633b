/** What a node knows of its peers beside their records: back since when, started how often, and how old their words really are. */
import fc from 'fast-check'
import { describe, expect, test } from 'vitest'
import { limits } from '../../../src/base/limits.ts'
import { silentLog } from '../../../src/base/log.ts'
import { downWaitMs } from '../../../src/mesh/records.ts'
import { createView } from '../../../src/mesh/view.ts'
import { createFakeClock } from '../../fakes/clock.ts'
import { accusationBy, keyOf, recordOf } from './peers.ts'

const [self, a, b, c] = ['self', 'a', 'b', 'c'].map((name) => keyOf(name).peer) as [string, string, string, string]

const viewWith = () => {
  const clock = createFakeClock({ monotonicMs: 1_000_000 })
  const settings = { recoveryTimeMs: 5_000 }
  const view = createView(
    { clock, limits, log: silentLog },
    { peer: self, recoveryTimeMs: () => settings.recoveryTimeMs },
  )
  const own = recordOf(self, {}, { issuedAtMs: clock.monotonicMs() })
  view.setSelf(own, () => own.ad)
  const states: string[] = []
  view.onChange((entry, previous) => entry.state !== previous?.state && states.push(entry.state))
  const heard = (ad = {}, ageMs = 0) =>
    recordOf(a, { ttlMs: 100_000, ...ad }, { issuedAtMs: clock.monotonicMs() - ageMs })
  const accuse = (incarnation = 1) => {
    for (const accuser of [b, c]) view.accuse(a, incarnation, accusationBy(accuser, clock.monotonicMs()))
  }
  const pass = async (ms: number) => {
    await clock.advance(ms)
    view.sweep()
    return view.get(a)?.state
  }
  return { clock, view, states, settings, heard, accuse, pass }
}
const wait = downWaitMs(2, 2, limits)

describe('a peer that was down and is back', () => {
  test('is recovering until it has been well for the recovery time', async () => {
    const { view, states, heard, accuse, pass } = viewWith()
    view.merge(heard())
    accuse()
    await pass(wait)
    view.merge(heard({ incarnation: 2 }))
    expect(view.alive().map(({ peer }) => peer)).toEqual([self])
    expect(await pass(4_999)).toBe('recovering')
    expect(await pass(1)).toBe('alive')
    expect(states).toEqual(['alive', 'suspect', 'down', 'recovering', 'alive'])
  })

  test('begins anew when it is suspect meanwhile', async () => {
    const { clock, view, heard, accuse, pass } = viewWith()
    view.merge(heard())
    accuse()
    await pass(wait)
    view.merge(heard({ incarnation: 2 }))
    await pass(4_000)
    view.accuse(a, 2, accusationBy(self, clock.monotonicMs()))
    expect(view.get(a)?.state).toBe('suspect')
    view.merge(heard({ incarnation: 3 }))
    expect(await pass(4_999)).toBe('recovering')
    expect(await pass(1)).toBe('alive')
  })

  test('recovers all the same when one other alone accuses it, and is used again after its time', async () => {
    const { view, heard, accuse, pass } = viewWith()
    view.merge(heard())
    accuse()
    await pass(wait)
    view.merge(heard({ incarnation: 2 }))
    await pass(4_000)
    view.accuse(a, 2, accusationBy(b, 0))
    expect(view.alive()).toHaveLength(1)
    await pass(1_000)
    expect(view.get(a)).toMatchObject({ state: 'suspect', doubted: true })
    expect(view.alive()).toHaveLength(2)
  })

  test('counts by the recovery time of now, and not at all where that is zero', async () => {
    const { view, heard, accuse, pass, settings } = viewWith()
    view.merge(heard())
    accuse()
    await pass(wait)
    settings.recoveryTimeMs = 60_000
    view.merge(heard({ incarnation: 2 }))
    expect(await pass(30_000)).toBe('recovering')
    settings.recoveryTimeMs = 10_000
    expect(await pass(1)).toBe('alive')
  })

  test('is one that was down: a suspect that refutes, a node that left, and a newcomer are alive at once', () => {
    const { view, heard, accuse } = viewWith()
    view.merge(heard())
    accuse()
    expect(view.get(a)?.state).toBe('suspect')
    view.merge(heard({ incarnation: 2 }))
    expect(view.get(a)?.state).toBe('alive')
    view.merge(heard({ incarnation: 2, left: true }))
    view.merge(heard({ incarnation: 3 }))
    expect(view.get(a)?.state).toBe('alive')
  })
})

describe('a restart', () => {
  test('is counted by the incarnation that a node started as, and a refutation is none', async () => {
    const { clock, view, heard } = viewWith()
    view.merge(heard({ incarnation: 4, startedAs: 4 }))
    view.merge(heard({ incarnation: 5, startedAs: 4 }))
    expect(view.get(a)).toMatchObject({ state: 'alive', restarts: 0 })
    await clock.advance(1_000)
    view.merge(heard({ incarnation: 6, startedAs: 6 }))
    expect(view.get(a)).toMatchObject({ state: 'alive', restarts: 1, restartedAtMs: clock.monotonicMs() })
    view.merge(heard({ incarnation: 4, startedAs: 4, sequence: 9 }))
    expect(view.get(a)?.restarts).toBe(1)
  })
})

describe('the age of a word', () => {
  test('that came straight from its author is what the author says, whatever others say before or after', () => {
    const { view, heard } = viewWith()
    view.merge(heard({}, 99_000))
    view.merge(heard({}, 50), { straight: true })
    expect(view.get(a)).toMatchObject({ state: 'alive', ageMs: 50 })
    expect(view.merge(heard({}, 900_000))).toBe('known')
    expect(view.get(a)).toMatchObject({ state: 'alive', ageMs: 50 })
  })

  test('that is later than one that came straight is no older than that one', () => {
    const { view, heard } = viewWith()
    view.merge(heard({ sequence: 3 }, 2_000), { straight: true })
    view.merge(heard({ sequence: 4 }, 2 ** 40))
    expect(view.get(a)).toMatchObject({ state: 'alive', ageMs: 2_000 })
  })

  test('brings a peer that others have aged to its end back as soon as it speaks itself', () => {
    const { view, heard } = viewWith()
    view.merge(heard())
    view.merge(heard({}, 2 ** 40))
    expect(view.get(a)?.state).toBe('down')
    view.merge(heard({}, 10), { straight: true })
    expect(view.get(a)?.state).toBe('recovering')
  })

  test('that only others tell of is the oldest that they say, so that no relay prolongs a life', () => {
    const { view, heard } = viewWith()
    view.merge(heard({}, 30_000))
    view.merge(heard({}, 0))
    expect(view.get(a)?.ageMs).toBe(30_000)
  })

  test('comes out the same in whatever order it is told, straight words among them', () => {
    const word = fc.record({
      sequence: fc.integer({ min: 1, max: 4 }),
      claimMs: fc.integer({ min: 0, max: 90_000 }),
      straight: fc.boolean(),
    })
    // What an author says of itself fits together: a later word is younger.
    const ageOf = ({ sequence, claimMs, straight }: { sequence: number; claimMs: number; straight: boolean }) =>
      straight ? 50_000 - sequence * 10_000 : claimMs
    fc.assert(
      fc.property(fc.array(word, { minLength: 1, maxLength: 12 }), fc.infiniteStream(fc.nat()), (words, keys) => {
        const ageAfter = (order: typeof words) => {
          const { view, heard } = viewWith()
          for (const one of order) view.merge(heard({ sequence: one.sequence }, ageOf(one)), { straight: one.straight })
          return view.get(a)?.ageMs
        }
        const shuffled = words.map((one) => ({ one, at: keys.next().value! })).toSorted((x, y) => x.at - y.at)
        expect(ageAfter(shuffled.map(({ one }) => one))).toBe(ageAfter(words))
      }),
    )
  })

  test('no sequence of ages by others makes a peer that has just spoken look gone', () => {
    const claims = fc.array(fc.record({ sequence: fc.integer({ min: 1, max: 9 }), ageMs: fc.nat({ max: 2 ** 40 }) }))
    fc.assert(
      fc.property(claims, (list) => {
        const { view, heard } = viewWith()
        view.merge(heard({ sequence: 5 }, 1_000), { straight: true })
        for (const { sequence, ageMs } of list) view.merge(heard({ sequence }, ageMs))
        view.sweep()
        expect(view.get(a)?.state).toBe('alive')
      }),
    )
  })
})
