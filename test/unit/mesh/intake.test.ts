/** How much of what others push is looked at. */
import { expect, test } from 'vitest'
import type { Clock } from '../../../src/base/clock.ts'
import { limits } from '../../../src/base/limits.ts'
import { silentLog } from '../../../src/base/log.ts'
import { silentMeter } from '../../../src/base/meter.ts'
import { createRefusals } from '../../../src/base/refusals.ts'
import type { WireRecord } from '../../../src/mesh/methods.ts'
import { createIntake } from '../../../src/mesh/pages.ts'
import { createFakeClock } from '../../fakes/clock.ts'

const word: WireRecord = { envelope: new Uint8Array([1]), ageMs: 0, accusations: [] }
const accused: WireRecord = { ...word, accusations: [1, 2, 3].map(() => ({ envelope: word.envelope, ageMs: 0 })) }
const page = (record: WireRecord, count: number) => Array.from({ length: count }, () => record)

const start = (after?: Clock['after']) => {
  const clock = createFakeClock()
  const refusals = createRefusals({ log: silentLog, meter: silentMeter, limits }, { metric: 'refusals' })
  const taken = { count: 0 }
  const record = async () => (taken.count++, 'known' as const)
  return {
    clock,
    taken,
    takeIn: createIntake({ accept: { record }, refusals, clock: { ...clock, ...(after && { after }) }, limits }),
  }
}

test('as many records as a view holds come in at once; a flood is refused by pusher, accusations counted', async () => {
  const { clock, taken, takeIn } = start()
  for (let pages = 0; pages < 100; pages++) await takeIn('a', page(word, 100))
  expect(taken.count).toBe(limits.peersPerRealmMax)
  await expect(takeIn('a', page(word, 100))).rejects.toMatchObject({
    code: 'RATE_LIMITED',
    detail: { retryAfterMs: (100 * 1_000) / limits.syncPushChecksPerSecond },
  })
  await expect(takeIn('b', page(word, 100))).resolves.toBe(0)
  await clock.advance(1_000)
  await takeIn('a', page(accused, limits.syncPushChecksPerSecond / 4))
  await expect(takeIn('a', [word])).rejects.toMatchObject({ code: 'RATE_LIMITED' })
})

test('pages that come at once are taken one after the other, and give way to everything else', async () => {
  const turns: (() => void)[] = []
  const { taken, takeIn } = start((_, fn) => (turns.push(fn), { cancel() {} }))
  const pages = Array.from({ length: 40 }, () => takeIn('a', page(word, 60)))
  const seen: number[] = []
  for (let round = 0; round < 400 && taken.count < 2_400; round++) {
    const before = taken.count
    turns.shift()?.()
    await new Promise(setImmediate)
    seen.push(taken.count - before)
    expect(turns.length).toBeLessThanOrEqual(1)
  }
  await Promise.all(pages)
  expect(taken.count).toBe(2_400)
  // The last page is waited for by no other.
  expect(Math.max(...seen)).toBeLessThanOrEqual(60 + limits.syncPushChecksPerTurn)
})
