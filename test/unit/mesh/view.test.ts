import fc from 'fast-check'
import { describe, expect, test } from 'vitest'
import { limits } from '../../../src/base/limits.ts'
import { silentLog } from '../../../src/base/log.ts'
import { downWaitMs } from '../../../src/mesh/records.ts'
import { createView, type PeerView } from '../../../src/mesh/view.ts'
import { createFakeClock } from '../../fakes/clock.ts'
import { accusationBy, keyOf, recordOf } from './peers.ts'

const [self, a, b, c] = ['self', 'a', 'b', 'c'].map((name) => keyOf(name).peer) as [string, string, string, string]

const viewWith = (change: Partial<typeof limits> = {}) => {
  const clock = createFakeClock()
  const view = createView({ clock, limits: { ...limits, ...change }, log: silentLog }, { peer: self })
  const own = recordOf(self, { incarnation: 5 }, { issuedAtMs: clock.monotonicMs() })
  view.setSelf(own, () => own.ad)
  const changes: PeerView[] = []
  view.onChange((entry) => changes.push(entry))
  const now = () => clock.monotonicMs()
  return { clock, view, changes, now, heard: (peer: string, ad = {}) => recordOf(peer, ad, { issuedAtMs: now() }) }
}

describe('the view', () => {
  test('tells of a new peer, of a new word and of nothing twice', () => {
    const { view, changes, heard } = viewWith()
    const first = heard(a)
    expect(view.merge(first)).toBe('news')
    expect(view.merge(first)).toBe('known')
    expect(view.merge(heard(a, { sequence: 2 }))).toBe('news')
    expect(view.merge(first)).toBe('stale')
    expect(changes.map((entry) => [entry.ad.sequence, entry.state])).toEqual([
      [1, 'alive'],
      [2, 'alive'],
    ])
  })

  test('what a peer said of others counts no more once it is disowned, and what the others said stands', () => {
    const { view, heard, now } = viewWith()
    for (const peer of [a, b]) view.merge(heard(peer))
    view.accuse(a, 1, accusationBy(c, now()))
    view.accuse(b, 1, accusationBy(c, now()))
    view.accuse(b, 1, accusationBy(a, now()))
    view.disown(c)
    expect([view.get(a)?.state, view.get(b)?.state]).toEqual(['alive', 'suspect'])
    expect(view.get(b)?.verdict?.accusers).toEqual([a])
  })

  test('an advertisement that is not renewed goes out of use when its life is over', async () => {
    const { view, changes, heard, clock } = viewWith()
    view.merge(heard(a, { ttlMs: 10_000 }))
    await clock.advance(9_999)
    view.sweep()
    expect(view.get(a)?.state).toBe('alive')
    await clock.advance(1)
    view.sweep()
    expect(view.get(a)).toMatchObject({ state: 'down', verdict: { reason: 'expired' } })
    expect(changes.at(-1)?.state).toBe('down')
    expect(view.records().map((record) => record.peer)).toEqual([self])
  })

  test('an expired word is refused however young it is said to be, and a later one is taken', async () => {
    const { view, heard, clock } = viewWith()
    const replayed = heard(a, { ttlMs: 10_000, sequence: 7 })
    view.merge(replayed)
    await clock.advance(10_000)
    view.sweep()
    view.merge({ ...replayed, issuedAtMs: clock.monotonicMs() })
    view.merge(heard(a, { ttlMs: 10_000, sequence: 6 }))
    expect(view.get(a)?.state).toBe('down')
    view.merge(heard(a, { ttlMs: 10_000, sequence: 8 }))
    expect(view.get(a)?.state).toBe('recovering')
  })

  test('a word that has expired on its way makes no entry', () => {
    const { view, now } = viewWith()
    expect(view.merge(recordOf(a, { ttlMs: 500 }, { issuedAtMs: now() - 500 }))).toBe('stale')
    expect(view.get(a)).toBeUndefined()
  })

  test('a tombstone is kept for its time and no longer', async () => {
    const { view, heard, clock } = viewWith()
    view.merge(heard(a, { ttlMs: 1_000, left: true }))
    await clock.advance(limits.tombstoneMs)
    view.sweep()
    expect(view.get(a)?.state).toBe('left')
    await clock.advance(1_000)
    view.sweep()
    expect(view.get(a)).toBeUndefined()
  })

  test('a full view refuses another peer by name of the limit and goes on with those it has', () => {
    const { view, heard } = viewWith({ peersPerRealmMax: 2 as never })
    view.merge(heard(a))
    expect(() => view.merge(heard(b))).toThrowError(expect.objectContaining({ code: 'QUEUE_FULL' }))
    expect(view.merge(heard(a, { sequence: 2 }))).toBe('news')
  })

  test('in a full view the oldest tombstone gives way to a newcomer, and no replay brings it back', async () => {
    const { view, heard, clock } = viewWith({ peersPerRealmMax: 4 as never })
    view.merge(heard(a, { left: true, incarnation: 2 }))
    view.merge(heard(b, { ttlMs: 1_000, sequence: 3 }))
    view.merge(heard(c))
    await clock.advance(1_000)
    view.sweep()
    const [d, e, f] = ['d', 'e', 'f'].map((name) => keyOf(name).peer) as [string, string, string]
    expect(view.merge(heard(d))).toBe('news')
    expect([view.get(a), view.get(b)?.state, view.get(c)?.state]).toEqual([undefined, 'down', 'alive'])
    expect(view.merge(heard(a, { incarnation: 2, sequence: 9 }))).toBe('stale')
    expect(view.merge(heard(e))).toBe('news')
    expect(view.merge(heard(b, { sequence: 3 }))).toBe('stale')
    expect(() => view.merge(heard(f))).toThrowError(expect.objectContaining({ code: 'QUEUE_FULL' }))
    expect(view.size()).toBe(4)
    view.forget(c)
    expect(view.merge(heard(a, { incarnation: 3 }))).toBe('news')
  })

  test('a last word of somebody who was not known takes nobody’s place', () => {
    const { view, heard } = viewWith({ peersPerRealmMax: 2 as never })
    view.merge(heard(a, { left: true }))
    expect(() => view.merge(heard(b, { left: true }))).toThrowError(expect.objectContaining({ code: 'QUEUE_FULL' }))
    expect(view.merge(heard(c))).toBe('news')
  })

  test('two accusers bring a peer down after the wait, and it is back with its next incarnation', async () => {
    const { view, heard, clock, now, changes } = viewWith()
    view.merge(heard(a))
    expect(view.accuse(a, 1, accusationBy(b, now()))).toBe('news')
    expect(view.get(a)?.state).toBe('suspect')
    view.accuse(a, 1, accusationBy(c, now()))
    await clock.advance(downWaitMs(2, 2, limits))
    view.sweep()
    expect(view.get(a)).toMatchObject({ state: 'down', verdict: { reason: 'accused', accusers: [b, c].toSorted() } })
    view.merge(heard(a, { sequence: 9 }))
    expect(view.get(a)?.state).toBe('down')
    view.merge(heard(a, { incarnation: 2 }))
    expect(changes.map((entry) => entry.state)).toEqual(['alive', 'suspect', 'suspect', 'down', 'down', 'recovering'])
  })

  test('whom one other alone accuses is shown as suspect and used all the same; two, or this node itself, end that', () => {
    const { view, heard, now, changes } = viewWith()
    for (const peer of [a, b]) view.merge(heard(peer))
    const used = () => view.alive().map(({ peer }) => peer)
    for (const peer of [a, b]) view.accuse(peer, 1, accusationBy(c, now()))
    expect(view.get(a)).toMatchObject({ state: 'suspect', doubted: true, verdict: { accusers: [c] } })
    expect(used().toSorted()).toEqual([self, a, b].toSorted())
    view.accuse(a, 1, accusationBy(b, now()))
    expect(changes.at(-1)).toMatchObject({ peer: a, state: 'suspect' })
    view.accuse(b, 1, accusationBy(self, now()))
    expect(used()).toEqual([self])
    expect(view.get(a)).not.toHaveProperty('doubted')
  })

  test('what is down stays down when the mesh grows', async () => {
    const { view, heard, clock, now } = viewWith()
    view.merge(heard(a))
    for (const accuser of [b, c]) view.accuse(a, 1, accusationBy(accuser, now()))
    await clock.advance(downWaitMs(2, 2, limits))
    view.sweep()
    for (let index = 0; index < 500; index++) view.merge(heard(keyOf(`late ${index}`).peer))
    view.sweep()
    expect(view.get(a)?.state).toBe('down')
  })

  test('an accusation of another incarnation than the known one counts for nothing', () => {
    const { view, heard, now } = viewWith()
    view.merge(heard(a, { incarnation: 4 }))
    expect(view.accuse(a, 3, accusationBy(b, now()))).toBe('stale')
    expect(view.accuse(a, 5, accusationBy(b, now()))).toBe('stale')
    expect(view.get(a)?.state).toBe('alive')
  })

  test('by name a living node comes before one that has left', () => {
    const { view, heard } = viewWith()
    view.merge(heard(a, { name: 'twin', left: true }))
    view.merge(heard(b, { name: 'twin' }))
    expect(view.byName('twin')?.peer).toBe(b)
  })

  test('a listener that throws harms neither the view nor the other listeners', () => {
    const { view, heard } = viewWith()
    const after: string[] = []
    view.onChange(() => {
      throw new Error('a listener')
    })
    view.onChange((entry) => after.push(entry.peer))
    view.merge(heard(a))
    expect(after).toEqual([a])
  })

  test('no sequence of messages by others changes what a node says of itself', () => {
    const message = fc.oneof(
      fc.record({
        type: fc.constant('ad' as const),
        peer: fc.constantFrom(self, a, b),
        incarnation: fc.integer({ min: 0, max: 9 }),
        sequence: fc.integer({ min: 0, max: 9 }),
        left: fc.boolean(),
      }),
      fc.record({
        type: fc.constant('accusation' as const),
        peer: fc.constantFrom(self, a, b),
        incarnation: fc.integer({ min: 0, max: 9 }),
        accuser: fc.constantFrom(a, b, c),
      }),
    )
    fc.assert(
      fc.property(fc.array(message, { maxLength: 40 }), (messages) => {
        const { view, now } = viewWith()
        const before = view.record(self)
        for (const { type, peer, ...rest } of messages)
          if (type === 'ad') view.merge(recordOf(peer, rest, { issuedAtMs: now() }))
          else if ('accuser' in rest) view.accuse(peer, rest.incarnation, accusationBy(rest.accuser, now()))
        view.sweep()
        expect(view.record(self)).toBe(before)
        expect(view.self().state).toBe('alive')
      }),
    )
  })

  test('the same records in any order give the same view', () => {
    const ads = fc.array(
      fc.record({
        peer: fc.constantFrom(a, b, c),
        incarnation: fc.integer({ min: 1, max: 3 }),
        sequence: fc.integer({ min: 1, max: 4 }),
        left: fc.boolean(),
      }),
      { maxLength: 20 },
    )
    fc.assert(
      fc.property(ads, fc.infiniteStream(fc.nat()), (list, keys) => {
        const seen = (order: typeof list) => {
          const { view, now } = viewWith()
          for (const { peer, ...ad } of order) view.merge(recordOf(peer, ad, { issuedAtMs: now() }))
          const entries = [...view.entries()].map(({ peer, state, ad }) => [peer, state, ad.incarnation, ad.sequence])
          return entries.toSorted((x, y) => (String(x[0]) < String(y[0]) ? -1 : 1))
        }
        const shuffled = list.map((ad) => ({ ad, at: keys.next().value! })).toSorted((x, y) => x.at - y.at)
        expect(seen(shuffled.map(({ ad }) => ad))).toEqual(seen(list))
      }),
    )
  })
})
