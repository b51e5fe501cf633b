import fc from 'fast-check'
import { describe, expect, test } from 'vitest'
import { limits as defaults } from '../../../src/base/limits.ts'
import { silentLog } from '../../../src/base/log.ts'
import { createBuckets } from '../../../src/mesh/digest.ts'
import { createEntries, type Held } from '../../../src/mesh/entries.ts'
import { presenceAfter, shownState, type Presence } from '../../../src/mesh/presence.ts'
import {
  accusersOf,
  compareAds,
  isDoubted,
  isExpired,
  isUp,
  mergeRecords,
  stateOf,
  withAccusation,
  type PeerRecord,
  type PeerState,
} from '../../../src/mesh/records.ts'
import { createNeighbours } from '../../../src/mesh/ring.ts'
import { createView } from '../../../src/mesh/view.ts'
import { createFakeClock } from '../../fakes/clock.ts'
import { accusationBy, keyOf, recordOf } from './peers.ts'

const names = Array.from({ length: 9 }, (_, index) => keyOf(`peer ${index}`).peer)
const [self, ...others] = names as [string, ...string[]]
const limits = { ...defaults, peersPerRealmMax: names.length, tombstoneMs: 9_000, recoveryTimeMs: 3_000 }

type Step =
  | {
      type: 'merge'
      peer: string
      ad: { incarnation: number; sequence: number; left: boolean; ttlMs: number }
      ageMs: number
    }
  | { type: 'accuse'; peer: string; incarnation: number; accuser: string; ageMs: number }
  | { type: 'forget'; peer: string }
  | { type: 'wait'; ms: number }

const peer = fc.constantFrom(...others)
const ageMs = fc.integer({ min: 0, max: 2_500 })
const step: fc.Arbitrary<Step> = fc.oneof(
  fc.record({
    type: fc.constant('merge' as const),
    peer,
    ad: fc.record({
      incarnation: fc.integer({ min: 1, max: 3 }),
      sequence: fc.integer({ min: 1, max: 4 }),
      left: fc.boolean(),
      ttlMs: fc.constantFrom(1_000, 2_700, 8_000, 30_000),
    }),
    ageMs,
  }),
  fc.record({
    type: fc.constant('accuse' as const),
    peer,
    incarnation: fc.integer({ min: 1, max: 3 }),
    accuser: fc.constantFrom(self, ...others.slice(0, 3)),
    ageMs,
  }),
  fc.record({ type: fc.constant('forget' as const), peer }),
  fc.record({ type: fc.constant('wait' as const), ms: fc.oneof(fc.constant(250), fc.integer({ min: 1, max: 6_000 })) }),
)

/** The same as the view, and everything is looked at whenever anything happens. */
const createModel = () => {
  let held = new Map<string, { record: PeerRecord; state: PeerState; presence: Presence }>()
  const up = () => 1 + [...held.values()].filter(({ state }) => isUp(state)).length
  const judge = (record: PeerRecord, nowMs: number, peers: number) => {
    const known = held.get(record.peer)
    const before = known && { ...known, doubted: isDoubted(known.record, known.state, self) }
    const says = stateOf(record, { nowMs, peers, self }, limits)
    const wasDown = before?.state === 'down' && before.record.ad.incarnation === record.ad.incarnation
    const state = says === 'suspect' && wasDown ? 'down' : says
    const presence = presenceAfter(
      before,
      { record, state, doubted: isDoubted(record, state, self) },
      { nowMs, recoveryTimeMs: limits.recoveryTimeMs },
    )
    return { record, state: shownState(state, presence), presence }
  }
  const put = (record: PeerRecord, nowMs: number) => held.set(record.peer, judge(record, nowMs, up()))
  return {
    merge(record: PeerRecord, nowMs: number) {
      const known = held.get(record.peer)
      if (known) {
        const merged = mergeRecords(known.record, record, limits.accusersKept)
        const isSame = compareAds(merged, known.record) === 0 && merged.issuedAtMs === known.record.issuedAtMs
        if (!isSame || accusersOf(merged) !== accusersOf(known.record)) put(merged, nowMs)
      } else if (!isExpired(record, nowMs) && held.size + 1 < limits.peersPerRealmMax) put(record, nowMs)
    },
    accuse(subject: string, incarnation: number, accusation: ReturnType<typeof accusationBy>, nowMs: number) {
      const known = held.get(subject)?.record
      if (!known || known.ad.incarnation !== incarnation || known.ad.left) return
      if (known.accusations.some((one) => one.accuser === accusation.accuser)) return
      put(withAccusation(known, accusation, limits.accusersKept), nowMs)
    },
    forget: (peer: string) => held.delete(peer),
    sweep(nowMs: number) {
      const peers = up()
      const judged = [...held].map(([name, { record }]) => [name, judge(record, nowMs, peers)] as const)
      held = new Map(
        judged.filter(([, { record }]) => nowMs < record.issuedAtMs + record.ad.ttlMs + limits.tombstoneMs),
      )
    },
    up,
    shown: () => [...held].map(([name, { record, state }]) => shown(name, state, record)).toSorted(),
    handedOn: (nowMs: number) => [...held.values()].map(({ record }) => record).filter((one) => !isExpired(one, nowMs)),
  }
}

const shown = (name: string, state: PeerState, { ad, issuedAtMs, accusations }: PeerRecord): string =>
  `${name} ${state} ${ad.incarnation}.${ad.sequence} ${ad.left} ${ad.ttlMs} ${issuedAtMs} ${accusations.length}`

describe('the view, which looks only at what has changed or is due', () => {
  test('holds after any messages and waits what a view holds that looks at everything', async () => {
    await fc.assert(
      fc.asyncProperty(fc.array(step, { maxLength: 60, size: 'max' }), async (steps) => {
        const clock = createFakeClock()
        const view = createView({ clock, limits, log: silentLog }, { peer: self })
        const own = recordOf(self, {}, { issuedAtMs: clock.monotonicMs() })
        view.setSelf(own, () => own.ad)
        const model = createModel()
        const buckets = createBuckets(4)
        const heard = new Map<string, PeerState>()
        const mistold: string[] = []
        for (const record of view.records()) buckets.replace(undefined, record)
        view.onRecord(buckets.replace)
        view.onChange((entry, previous) => {
          if (previous?.state !== heard.get(entry.peer)) mistold.push(entry.peer)
          heard.set(entry.peer, entry.state)
        })
        for (const one of steps) {
          const nowMs = clock.monotonicMs()
          if (one.type === 'wait') {
            await clock.advance(one.ms)
            view.sweep()
            model.sweep(clock.monotonicMs())
            for (const name of heard.keys()) if (view.stateOf(name) === undefined) heard.delete(name)
          } else if (one.type === 'forget') {
            view.forget(one.peer)
            model.forget(one.peer)
            expect(isUp(heard.get(one.peer) ?? 'down')).toBe(false)
            heard.delete(one.peer)
          } else if (one.type === 'accuse') {
            const accusation = accusationBy(one.accuser, nowMs - one.ageMs)
            if (one.accuser === one.peer) continue
            view.accuse(one.peer, one.incarnation, accusation)
            model.accuse(one.peer, one.incarnation, accusation, nowMs)
          } else {
            const record = recordOf(one.peer, one.ad, { issuedAtMs: nowMs - one.ageMs })
            try {
              view.merge(record)
            } catch (error) {
              expect(error).toMatchObject({ code: 'QUEUE_FULL' })
            }
            model.merge(record, nowMs)
          }
          expect(mistold).toEqual([])
          const atMs = clock.monotonicMs()
          const seen = others.flatMap((name) => {
            const record = view.record(name)
            return record ? [shown(name, view.stateOf(name)!, record)] : []
          })
          expect(seen.toSorted()).toEqual(model.shown())
          expect([...view.states()]).toHaveLength(seen.length + 1)
          expect(view.size()).toBe(model.up())
          for (const [name, state] of heard) expect(view.stateOf(name)).toBe(state)
          const fresh = createBuckets(4)
          for (const record of [own, ...model.handedOn(atMs)]) fresh.replace(undefined, record)
          expect(buckets.hashes()).toEqual(fresh.hashes())
        }
      }),
      { numRuns: 300 },
    )
  })

  test('never grows beyond its limit, and no living peer gives way to another', async () => {
    await fc.assert(
      fc.asyncProperty(fc.array(step, { maxLength: 60, size: 'max' }), async (steps) => {
        const clock = createFakeClock()
        const bounds = { ...limits, peersPerRealmMax: 4 }
        const view = createView({ clock, limits: bounds, log: silentLog }, { peer: self })
        const own = recordOf(self, {}, { issuedAtMs: clock.monotonicMs() })
        view.setSelf(own, () => own.ad)
        for (const one of steps) {
          const living = [...view.states()].filter(({ state }) => isUp(state)).map((entry) => entry.peer)
          if (one.type === 'wait') {
            await clock.advance(one.ms)
            view.sweep()
          } else if (one.type === 'merge') {
            const record = recordOf(one.peer, one.ad, { issuedAtMs: clock.monotonicMs() - one.ageMs })
            try {
              view.merge(record)
            } catch (error) {
              expect(error).toMatchObject({ code: 'QUEUE_FULL' })
            }
            expect(living.filter((name) => view.stateOf(name) === undefined)).toEqual([])
          }
          expect([...view.states()].length).toBeLessThanOrEqual(bounds.peersPerRealmMax)
        }
      }),
      { numRuns: 200 },
    )
  })

  test('says nothing of a record that is heard again, and looks at nothing that is not due', async () => {
    const clock = createFakeClock()
    const view = createView({ clock, limits: defaults, log: silentLog }, { peer: self })
    const record = recordOf(others[0]!, { ttlMs: 60_000 }, { issuedAtMs: clock.monotonicMs() })
    view.merge(record)
    const version = view.version()
    view.merge(record)
    await clock.advance(59_000)
    view.sweep()
    expect(view.version()).toBe(version)
    await clock.advance(1_000)
    view.sweep()
    expect(view.version()).toBe(version + 1)
  })
})

test('a sweep reads nothing of those that are not due', async () => {
  const clock = createFakeClock()
  const view = createView({ clock, limits: defaults, log: silentLog }, { peer: self })
  let reads = 0
  for (let index = 0; index < 500; index++) {
    const record = recordOf(`peer ${index}`, {}, { issuedAtMs: clock.monotonicMs() })
    const ttlMs = index === 7 ? 20_000 : 400_000
    const ad = Object.defineProperty({ ...record.ad }, 'ttlMs', { get: () => (reads++, ttlMs) })
    view.merge({ ...record, ad })
  }
  reads = 0
  for (let second = 0; second < 19; second++) {
    await clock.advance(1_000)
    view.sweep()
  }
  expect(reads).toBe(0)
  await clock.advance(1_000)
  view.sweep()
  expect(view.stateOf('peer 7')).toBe('down')
  expect(reads).toBeLessThan(20)
})

describe('the entries of the view', () => {
  const name = fc.integer({ min: 0, max: 200 }).map((index) => `peer ${index}`)
  const action = fc.oneof(
    { weight: 3, arbitrary: fc.record({ type: fc.constant('set' as const), name, sequence: fc.nat(9) }) },
    { weight: 1, arbitrary: fc.record({ type: fc.constant('doubt' as const), name }) },
    { weight: 2, arbitrary: fc.record({ type: fc.constant('delete' as const), name }) },
  )

  test('are those of a map, however they come, go and change', () => {
    fc.assert(
      fc.property(fc.array(action, { maxLength: 600, size: 'max' }), (actions) => {
        const entries = createEntries(self)
        const map = new Map<string, Held>()
        for (const one of actions) {
          if (one.type === 'delete') {
            entries.delete(one.name)
            map.delete(one.name)
            continue
          }
          const record = recordOf(one.name, { sequence: one.type === 'set' ? one.sequence : 1 })
          const held: Held = { record, state: one.type === 'set' ? 'alive' : 'suspect', spent: false, slot: 7 }
          entries.set(one.name, held)
          map.set(one.name, held)
        }
        expect(entries.size).toBe(map.size)
        for (let index = 0; index <= 200; index++)
          expect(entries.get(`peer ${index}`)).toEqual(map.get(`peer ${index}`))
        const inOrder = (all: Iterable<Held>) => [...all].map(({ record }) => record.peer).toSorted()
        expect(inOrder(entries.values())).toEqual(inOrder(map.values()))
      }),
      { numRuns: 100 },
    )
  })
})

describe('the neighbours on the ring', () => {
  test('are the same whether peers came and went or were looked at all at once', () => {
    const name = fc.integer({ min: 0, max: 80 }).map((index) => `peer ${index}`)
    const change = fc.record({ name, isUp: fc.boolean() })
    // Many at once go as well, so that none is left of those that were followed.
    const fall = name.map((from) => ({ from }))
    const changes = fc.array(fc.oneof({ weight: 20, arbitrary: change }, { weight: 1, arbitrary: fall }), {
      maxLength: 300,
      size: 'max',
    })
    fc.assert(
      fc.property(changes, (list) => {
        const up = new Set<string>()
        const followed = createNeighbours('me', 3)
        const went = (peer: string) => {
          up.delete(peer)
          followed.went(peer)
        }
        const came = (peer: string) => {
          up.add(peer)
          followed.came(peer)
        }
        for (const one of list) {
          if ('from' in one) for (const peer of [...up]) if (peer > one.from) went(peer)
          if ('name' in one && !one.isUp) went(one.name)
          if ('name' in one && one.isUp) came(one.name)
          expect(followed.nearest(() => up)).toEqual(createNeighbours('me', 3).nearest(() => up))
        }
      }),
      { numRuns: 100 },
    )
  })
})
