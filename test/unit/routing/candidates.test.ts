import fc from 'fast-check'
import { describe, expect, it } from 'vitest'
import { createCandidates } from '../../../src/routing/candidates.ts'
import { addSlot, bears, createPosting, dropSlot, intersect, slotsOf, wordsFor } from '../../../src/routing/postings.ts'
import { route } from '../../../src/routing/route.ts'
import { freedomOf, isStrategyName, occupancyOf } from '../../../src/routing/strategies.ts'
import { modelRoute, needOf, peerOf, policyOf, rowOf } from './views.ts'

describe('candidates', () => {
  it('reuse the slots of removed peers', () => {
    const candidates = createCandidates()
    for (let round = 0; round < 50; round++) {
      for (let i = 0; i < 40; i++) candidates.upsert(rowOf(round * 40 + i, { labels: { round: `${round}` } }))
      for (let i = 0; i < 40; i++) candidates.remove(peerOf(round * 40 + i))
    }
    expect(candidates.size).toBe(0)
    expect(candidates.columns.rows.length).toBe(40)
    expect(candidates.columns.postings.size).toBe(0)
  })

  it('give back the row that was last put in, and none that was removed', () => {
    const candidates = createCandidates()
    const row = rowOf(1)
    candidates.upsert(rowOf(1, { running: 3 }))
    candidates.upsert(row)
    expect(candidates.get(peerOf(1))).toBe(row)
    expect(candidates.size).toBe(1)
    candidates.remove(peerOf(1))
    candidates.remove(peerOf(2))
    expect(candidates.get(peerOf(1))).toBeUndefined()
    expect(candidates.slotOf(peerOf(1))).toBe(-1)
    expect(candidates.size).toBe(0)
  })

  it('keep counting placements at a peer that went and came back, and never below none', () => {
    const candidates = createCandidates()
    candidates.settled(peerOf(1))
    candidates.placed(peerOf(1))
    candidates.upsert(rowOf(1, { maxConcurrent: 1 }))
    expect(route(needOf(), candidates, policyOf()).pick).toBeNull()
    candidates.remove(peerOf(1))
    candidates.upsert(rowOf(1, { maxConcurrent: 1 }))
    expect(candidates.inFlight(peerOf(1))).toBe(1)
    expect(route(needOf(), candidates, policyOf()).pick).toBeNull()
    candidates.settled(peerOf(1))
    candidates.settled(peerOf(1))
    expect(candidates.inFlight(peerOf(1))).toBe(0)
    expect(route(needOf(), candidates, policyOf()).pick).toBe(peerOf(1))
  })

  it('forget which peer is the node itself when its row goes', () => {
    const candidates = createCandidates()
    candidates.upsert(rowOf(0, { running: 4 }, { self: true }))
    candidates.remove(peerOf(0))
    candidates.upsert(rowOf(1, { running: 4 }))
    candidates.upsert(rowOf(2))
    expect(route(needOf(), candidates, policyOf())).toMatchObject({ pick: peerOf(2), rule: 'strategy' })
  })

  it('decide over 10,000 peers like a naive scan, also after half of them were replaced', () => {
    const row = (index: number, round: number) =>
      rowOf(index, {
        running: (index * 7 + round) % 9,
        region: `region-${index % 5}`,
        capabilities: index % 3 === 0 ? ['docker'] : [],
        labels: { rack: `r${index % 900}` },
        gpu: index % 11 === 0 ? { count: 1, types: ['a100'] } : { count: 0, types: [] },
      })
    const candidates = createCandidates()
    const rows = Array.from({ length: 10_000 }, (_, i) => row(i, 0))
    for (const one of rows) candidates.upsert(one)
    const needs = [
      needOf(),
      needOf({ region: 'region-3', capabilities: ['docker'] }),
      needOf({ gpuType: 'a100' }),
      needOf({ nodeLabels: { rack: 'r17' } }),
      needOf({ node: peerOf(77) }),
    ]
    const agree = (): void => {
      for (const need of needs) {
        expect(route(need, candidates, policyOf()).pick).toBe(modelRoute(need, rows, policyOf()).pick)
      }
    }
    agree()
    for (let i = 0; i < 10_000; i += 2) {
      candidates.remove(rows[i]!.peer)
      rows[i] = row(20_000 + i, 4)
      candidates.upsert(rows[i]!)
    }
    expect(candidates.size).toBe(10_000)
    expect(candidates.columns.rows.length).toBe(10_000)
    agree()
  })
})

describe('a posting list', () => {
  it('is the set of slots that were added and not dropped, few or many', () => {
    const change = fc.integer({ min: 0, max: 199 })
    fc.assert(
      fc.property(fc.array(change, { maxLength: 400 }), fc.uniqueArray(change), (changes, others) => {
        const posting = createPosting('term')
        const slots = new Set<number>()
        // The room for slots grows while the list is in use.
        changes.forEach((slot, i) => {
          const words = wordsFor(i < 200 ? 200 : 400)
          if (slots.delete(slot)) dropSlot(posting, slot)
          else {
            slots.add(slot)
            addSlot(posting, slot, words)
          }
        })
        expect(posting.count).toBe(slots.size)
        for (let slot = 0; slot < 200; slot++) expect(bears(posting, slot)).toBe(slots.has(slot))
        const mask = new Int32Array(wordsFor(400))
        for (const slot of others) mask[slot >>> 5]! |= 1 << (slot & 31)
        intersect(mask, posting, new Int32Array(wordsFor(400)))
        const found = new Int32Array(400)
        const count = slotsOf(mask, found)
        const expected = others.filter((slot) => slots.has(slot)).toSorted((a, b) => a - b)
        expect([...found.subarray(0, count)]).toEqual(expected)
      }),
      { numRuns: 500 },
    )
  })

  it('leaves out of a mask the slots beyond its end', () => {
    const posting = createPosting('term')
    for (let slot = 0; slot < 32; slot++) addSlot(posting, slot, wordsFor(32))
    const mask = new Int32Array(wordsFor(128)).fill(-1)
    intersect(mask, posting, new Int32Array(wordsFor(128)))
    expect([...mask]).toEqual([-1, 0, 0, 0])
  })

  it('gives every slot of a full mask', () => {
    const slots = new Int32Array(96)
    expect(slotsOf(new Int32Array(3).fill(-1), slots)).toBe(96)
    expect([...slots]).toEqual(Array.from({ length: 96 }, (_, i) => i))
  })
})

describe('least-loaded', () => {
  const state = fc.record({
    running: fc.nat(20),
    maxConcurrent: fc.nat(20),
    currentLoad: fc.double({ min: 0, max: 1, noNaN: true }),
    inFlight: fc.nat(5),
  })

  it('never scores an emptier node worse, nor a bigger one', () => {
    fc.assert(
      fc.property(state, state, (a, b) => {
        const emptier = {
          running: Math.min(a.running, b.running),
          maxConcurrent: Math.max(a.maxConcurrent, b.maxConcurrent),
          currentLoad: Math.min(a.currentLoad, b.currentLoad),
        }
        const inFlight = Math.min(a.inFlight, b.inFlight)
        const before = rowOf(1, a).ad
        const after = rowOf(1, emptier).ad
        expect(freedomOf(after, inFlight)).toBeGreaterThanOrEqual(freedomOf(before, a.inFlight))
        expect(occupancyOf(after, inFlight)).toBeLessThanOrEqual(occupancyOf(before, a.inFlight))
      }),
      { numRuns: 2_000 },
    )
  })

  it('scores from 1 for idle to 0 for full', () => {
    fc.assert(
      fc.property(state, ({ inFlight, ...ad }) => {
        const score = freedomOf(rowOf(1, ad).ad, inFlight)
        expect(score).toBeGreaterThanOrEqual(0)
        expect(score).toBeLessThanOrEqual(1)
      }),
    )
    expect(freedomOf(rowOf(1).ad, 0)).toBe(1)
    expect(freedomOf(rowOf(1, { running: 8, currentLoad: 1 }).ad, 0)).toBe(0)
    expect(freedomOf(rowOf(1, { maxConcurrent: 0 }).ad, 0)).toBe(0)
  })

  it('prefers a half-used node to one whose host is nearly overloaded, and tells equally loaded hosts apart', () => {
    const overloaded = rowOf(1, { running: 0, currentLoad: 0.99 }).ad
    expect(freedomOf(rowOf(2, { running: 5, currentLoad: 0.6 }).ad, 0)).toBeGreaterThan(freedomOf(overloaded, 0))
    expect(freedomOf(overloaded, 0)).toBeGreaterThan(freedomOf({ ...overloaded, running: 7 }, 0))
  })

  it('expects of a placement in flight what a running agent would have brought', () => {
    const running = rowOf(1, { running: 3, currentLoad: 0.375 }).ad
    expect(freedomOf(rowOf(1, { running: 1, currentLoad: 0.125 }).ad, 2)).toBe(freedomOf(running, 0))
    expect(occupancyOf(rowOf(1, { running: 0, currentLoad: 0.5 }).ad, 2)).toBe(0.75)
  })

  it('counts an unknown load as a half', () => {
    expect(freedomOf(rowOf(1, { currentLoad: Number.NaN }).ad, 0)).toBe(freedomOf(rowOf(1, { currentLoad: 0.5 }).ad, 0))
  })

  it('is a strategy by name', () => {
    expect(isStrategyName('least-loaded')).toBe(true)
    for (const name of ['constructor', '__proto__', '', 'toString']) expect(isStrategyName(name)).toBe(false)
  })
})
