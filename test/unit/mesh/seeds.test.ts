/** What is made of hints from the LAN, which come from whoever speaks there. */
import { expect, test } from 'vitest'
import { limits } from '../../../src/base/limits.ts'
import { silentLog } from '../../../src/base/log.ts'
import { openAddressBook, startSeeds } from '../../../src/mesh/seeds.ts'
import type { MeshView } from '../../../src/mesh/view.ts'
import { openMemoryStore } from '../../../src/store/memory.ts'
import { createFakeClock } from '../../fakes/clock.ts'
import { keyOf } from './peers.ts'

const [self, known, gone, stranger, seed] = ['self', 'known', 'gone', 'stranger', 'seed'].map(
  (name) => keyOf(name).peer,
) as [string, string, string, string, string]
const there = ['/ip4/10.0.0.9/tcp/7374']

const rig = async () => {
  const clock = createFakeClock()
  const dialled: { peer: string; at: number; addresses: string[] }[] = []
  const records = new Map([
    [known, { ad: { addresses: ['/ip4/10.0.0.1/tcp/1'], left: false } }],
    [gone, { ad: { addresses: [], left: true } }],
  ])
  const states = () => [{ peer: known, state: 'down' as const }]
  const view = {
    record: (peer: string) => records.get(peer),
    stateOf: (peer: string) => (peer === known ? 'down' : undefined),
    ...{ states, someone: () => undefined, size: () => 1 },
  } as unknown as MeshView
  const net = { peer: self, connected: () => [], isAdmitted: () => false, remoteAddresses: () => [] }
  const store = openMemoryStore()
  const log = silentLog
  const book = openAddressBook({ net, view, store, clock, log, limits }, () => [{ peer: seed, addresses: [] }])
  const connect = (peer: string) => {
    dialled.push({ peer, at: clock.monotonicMs(), addresses: book.addressesOf(peer) })
    return Promise.reject(new Error('nobody answers'))
  }
  const seeds = startSeeds({ net, view, book, connect, watched: () => [], clock, log, limits, random: () => 0 })
  /** Until failures have made it wait for longest. */
  const tire = async () => {
    for (let n = 0; n < 200; n++) await clock.advance(limits.seedTickMs)
    dialled.splice(0)
  }
  await tire()
  return { clock, dialled, seeds, book, tire }
}

test('a hint of a known peer has it dialled there at the next look, instead of after a long wait', async () => {
  const { clock, dialled, seeds } = await rig()
  seeds.hinted(known, there)
  for (let n = 0; n < 4; n++) await clock.advance(limits.seedTickMs)
  expect(dialled[0]).toMatchObject({ peer: known, addresses: ['/ip4/10.0.0.1/tcp/1', ...there] })
  seeds.close()
})

test('hints that come again and again bring no more dials than one in limits.hintRetryMs', async () => {
  const { clock, dialled, seeds } = await rig()
  const startMs = clock.monotonicMs()
  for (let n = 0; n < 40; n++) {
    seeds.hinted(known, there)
    await clock.advance(limits.seedTickMs)
  }
  // Of one that failed just now the wait begins anew and doubles: 0.5, 1, 2, 4, 8 s.
  const dials = dialled.filter(({ peer }) => peer === known).length
  expect(clock.monotonicMs() - startMs).toBeLessThan(limits.hintRetryMs)
  expect(dials).toBeGreaterThan(0)
  expect(dials).toBeLessThan(8)
  seeds.close()
})

test('hints of strangers, of one that has left and of this node itself are not followed, nor kept', async () => {
  const { clock, dialled, seeds, book } = await rig()
  for (const peer of [stranger, gone, self]) seeds.hinted(peer, there)
  for (let n = 0; n < 10; n++) await clock.advance(limits.seedTickMs)
  expect(dialled.map(({ peer }) => peer).filter((peer) => [stranger, gone, self].includes(peer))).toEqual([])
  expect([stranger, gone, self].map((peer) => book.addressesOf(peer))).toEqual([[], [], []])
  seeds.close()
})

test('a seed of which nothing is known yet may be hinted at', async () => {
  const { clock, dialled, seeds } = await rig()
  seeds.hinted(seed, [...there, ...Array.from({ length: 20 }, (_, n) => `/ip4/10.1.0.${n}/tcp/1`)])
  for (let n = 0; n < 4; n++) await clock.advance(limits.seedTickMs)
  const found = dialled.find(({ peer }) => peer === seed)
  expect(found?.addresses[0]).toBe(there[0])
  expect(found?.addresses.length).toBeLessThan(6)
  seeds.close()
})
