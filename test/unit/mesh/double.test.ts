import { expect, test } from 'vitest'
import { limits } from '../../../src/base/limits.ts'
import { silentLog } from '../../../src/base/log.ts'
import { createDouble } from '../../../src/mesh/double.ts'
import { openIncarnation } from '../../../src/mesh/incarnation.ts'
import { createView } from '../../../src/mesh/view.ts'
import { openMemoryStore } from '../../../src/store/memory.ts'
import { createFakeClock } from '../../fakes/clock.ts'
import { recordOf } from './peers.ts'

const start = () => {
  const clock = createFakeClock()
  const view = createView({ clock, limits, log: silentLog }, { peer: 'self' })
  const own = recordOf('self', { incarnation: 3, sequence: 4 })
  view.setSelf(own, () => own.ad)
  const [refuted, fetched, found]: [number[], string[], unknown[]] = [[], [], []]
  const double = createDouble({
    ...{ self: 'self', view, clock, log: silentLog, limits },
    refute: (incarnation) => refuted.push(incarnation),
    fetch: async (peer) => void fetched.push(peer),
    onFound: (error) => found.push(error.detail),
  })
  const heard = (ageMs: number, left = false, incarnation = 9) =>
    double.heard(recordOf('self', { incarnation, left }, { issuedAtMs: clock.monotonicMs() - ageMs }))
  return { clock, double, heard, refuted, fetched, found }
}

const far = 9 + limits.duplicateLeap

test('one that goes above the answer to its younger word is a double, and told once', async () => {
  const { clock, double, heard, found, refuted } = start()
  await clock.advance(10_000)
  heard(0)
  expect([double.isFound(), refuted]).toEqual([false, [far - 1]])
  heard(0, false, far + 1)
  heard(0, false, far + 2)
  expect(found).toEqual([{ code: 'DUPLICATE_IDENTITY', peer: 'self', incarnation: far + 1 }])
  expect([double.isFound(), refuted]).toEqual([true, [far - 1]])
})

test('words that were kept from before a store was lost stop nobody, however young a member says that they are', async () => {
  const { clock, double, heard, found, refuted } = start()
  await clock.advance(10_000)
  for (const incarnation of [9, 10, 700, 100_000, far]) for (let n = 0; n < 3; n++) heard(0, false, incarnation)
  expect([found, double.isFound()]).toEqual([[], false])
  expect(new Set(refuted)).toEqual(new Set([far - 1]))
})

test('a word from before the start, or a last word, is a leftover of a lost store and is answered', async () => {
  const { clock, heard, found, refuted } = start()
  await clock.advance(10_000)
  heard(10_000 - limits.duplicateMarginMs)
  heard(20_000)
  heard(0, true)
  expect([found, refuted]).toEqual([[], [9, 9, 9]])
})

test('what a peer says that it holds is no proof: above the own word the word itself is asked for', async () => {
  const { double, fetched, found } = start()
  for (const [incarnation, sequence] of [
    [2, 9],
    [3, 4],
  ] as const)
    double.shown('liar', { incarnation, sequence })
  expect(fetched).toEqual([])
  double.shown('a', { incarnation: 3, sequence: 5 })
  double.shown('b', { incarnation: 4, sequence: 1 })
  expect([fetched, found]).toEqual([['a', 'b'], []])
})

test('two starts on copies of one store leap to different incarnations', async () => {
  const [first, second] = [openMemoryStore(), openMemoryStore()]
  const [a, b] = [await openIncarnation(first, 3), await openIncarnation(second, 700)]
  expect([a.current(), b.current()]).toEqual([4, 701])
  expect((await openIncarnation(first)).current()).toBe(5)
})
