import fc from 'fast-check'
import { describe, expect, it } from 'vitest'
import type { Need } from '../../../src/base/need.ts'
import { createCandidates, type CandidateRow, type Candidates } from '../../../src/routing/candidates.ts'
import { describeNeed, explainRoute, route } from '../../../src/routing/route.ts'
import {
  candidatesOf,
  modelReasons,
  modelRoute,
  needArbitrary,
  needOf,
  peerOf,
  policyArbitrary,
  policyOf,
  rowArbitrary,
  rowOf,
  viewArbitrary,
} from './views.ts'

/** One change of the candidates. */
type Step = { does: 'upsert'; row: CandidateRow } | { does: 'remove' | 'placed' | 'settled'; peer: string }

const stepArbitrary: fc.Arbitrary<Step> = fc.integer({ min: 0, max: 7 }).chain((index) =>
  fc.oneof(
    rowArbitrary(index).map((row): Step => ({ does: 'upsert', row })),
    fc
      .constantFrom('remove', 'placed', 'settled')
      .map((does): Step => ({ does: does as 'remove', peer: peerOf(index) })),
  ),
)

/** What the steps leave behind, kept in the simplest way. */
const leftBy = (steps: readonly Step[]): { rows: CandidateRow[]; inFlight: Map<string, number> } => {
  const rows = new Map<string, CandidateRow>()
  const inFlight = new Map<string, number>()
  for (const step of steps) {
    if (step.does === 'upsert') rows.set(step.row.peer, step.row)
    else if (step.does === 'remove') rows.delete(step.peer)
    else {
      const change = step.does === 'placed' ? 1 : -1
      inFlight.set(step.peer, Math.max(0, (inFlight.get(step.peer) ?? 0) + change))
    }
  }
  return { rows: [...rows.values()], inFlight }
}

const apply = (candidates: Candidates, steps: readonly Step[]): Candidates => {
  for (const step of steps) {
    if (step.does === 'upsert') candidates.upsert(step.row)
    else candidates[step.does](step.peer)
  }
  return candidates
}

/** A plan as a value. */
const outcome = (need: Need, candidates: Candidates, policy = policyOf()) => {
  const plan = route(need, candidates, policy)
  return { pick: plan.pick, level: plan.level, rule: plan.rule, stale: plan.staleRejects() }
}

const reasonsOf = (need: Need, candidates: Candidates, policy = policyOf()): Map<string, string[]> =>
  new Map(
    explainRoute(need, candidates, policy, 0).considered.map(({ peer, rejected }) => [
      peer,
      rejected?.toSorted() ?? [],
    ]),
  )

describe('a decision', () => {
  it('is that of a naive scan over the rows, for any need and view', () => {
    let picks = 0
    fc.assert(
      fc.property(needArbitrary, viewArbitrary, policyArbitrary, (need, rows, policy) => {
        const { reasons, ...plan } = modelRoute(need, rows, policy)
        if (plan.pick !== null) picks++
        expect(outcome(need, candidatesOf(rows), policy)).toEqual(plan)
        const expected = [...reasons].map(([peer, words]) => [peer, [...words].toSorted()] as const)
        expect(reasonsOf(need, candidatesOf(rows), policy)).toEqual(new Map(expected))
      }),
      { numRuns: 2_000 },
    )
    // The arbitrary views are worth something only if they often have somebody to pick.
    expect(picks).toBeGreaterThan(400)
  })

  it('is that of a naive scan after any sequence of changes and placements', () => {
    fc.assert(
      fc.property(needArbitrary, fc.array(stepArbitrary, { maxLength: 60 }), policyArbitrary, (need, steps, policy) => {
        const candidates = apply(createCandidates(), steps)
        const { rows, inFlight } = leftBy(steps)
        const { reasons: _, ...plan } = modelRoute(need, rows, policy, (peer) => inFlight.get(peer) ?? 0)
        expect(outcome(need, candidates, policy)).toEqual(plan)
        expect(candidates.size).toBe(rows.length)
      }),
      { numRuns: 1_000 },
    )
  })

  it('does not depend on the order or the history of the rows', () => {
    const shuffled = viewArbitrary.chain((rows) =>
      fc.tuple(
        fc.constant(rows),
        fc.shuffledSubarray(rows, { minLength: rows.length }),
        fc.subarray(rows),
        fc.array(fc.integer({ min: 0, max: 20 }).chain(rowArbitrary), { maxLength: 20 }),
      ),
    )
    fc.assert(
      fc.property(needArbitrary, shuffled, policyArbitrary, (need, [rows, inOrder, again, others], policy) => {
        const candidates = candidatesOf(others)
        for (const { peer } of others) candidates.remove(peer)
        for (const row of inOrder) candidates.upsert(row)
        for (const { peer } of again) candidates.remove(peer)
        for (const row of again) candidates.upsert(row)
        expect(outcome(need, candidates, policy)).toEqual(outcome(need, candidatesOf(rows), policy))
        expect(explainRoute(need, candidates, policy, 5)).toEqual(explainRoute(need, candidatesOf(rows), policy, 5))
      }),
      { numRuns: 1_000 },
    )
  })

  it('is told alike by its explanation', () => {
    fc.assert(
      fc.property(needArbitrary, viewArbitrary, policyArbitrary, (need, rows, policy) => {
        const candidates = candidatesOf(rows)
        const { considered, omitted } = explainRoute(need, candidates, policy, 0)
        const [first] = considered
        const plan = route(need, candidates, policy)
        expect(plan.pick).toBe(first?.score === undefined ? null : first.peer)
        expect(plan.level).toBe(first?.score === undefined ? null : first.level)
        for (const { score, rejected } of considered) expect((rejected?.length ?? 0) > 0).toBe(score === undefined)
        expect(considered.length + omitted).toBe(rows.length)
      }),
      { numRuns: 1_000 },
    )
  })

  it('never picks an ineligible peer, and picks somebody whenever anybody is eligible', () => {
    fc.assert(
      fc.property(needArbitrary, viewArbitrary, policyArbitrary, (need, rows, policy) => {
        const eligible = rows.filter((row) => modelReasons(row, need, policy, 0).length === 0)
        const { pick } = route(need, candidatesOf(rows), policy)
        if (eligible.length === 0) expect(pick).toBeNull()
        else expect(eligible.map(({ peer }) => peer)).toContain(pick)
      }),
      { numRuns: 1_000 },
    )
  })

  it('never picks a peer that is down, expired, untrusted, draining, full, or of another realm and not shareable', () => {
    const spoiled: ((row: CandidateRow) => CandidateRow)[] = [
      (row) => ({ ...row, state: 'down' }),
      (row) => ({ ...row, expired: true }),
      (row) => ({ ...row, trusted: false }),
      (row) => ({ ...row, ad: { ...row.ad, status: 'draining' } }),
      (row) => ({ ...row, ad: { ...row.ad, running: row.ad.maxConcurrent } }),
      (row) => ({ ...row, self: false, level: 'cross-realm', ad: { ...row.ad, shareable: false } }),
    ]
    const spoil = fc.constantFrom(...spoiled)
    fc.assert(
      fc.property(needArbitrary, viewArbitrary, spoil, policyArbitrary, (need, rows, spoilIt, policy) => {
        expect(route(need, candidatesOf(rows.map(spoilIt)), policy).pick).toBeNull()
      }),
      { numRuns: 500 },
    )
  })

  it('never goes to a node of another realm that is not shared or may not be used, nor outside while the realm has room', () => {
    const orders = viewArbitrary.chain((rows) =>
      fc.tuple(
        fc.constant(rows),
        fc.shuffledSubarray(rows, { minLength: rows.length }),
        needArbitrary,
        policyArbitrary,
      ),
    )
    fc.assert(
      fc.property(orders, ([rows, shuffled, need, policy]) => {
        const plan = route(need, candidatesOf(shuffled), policy)
        expect(plan.pick).toBe(route(need, candidatesOf(rows), policy).pick)
        const picked = rows.find(({ peer }) => peer === plan.pick)
        if (!picked || picked.level === 'realm') return
        expect(picked.trusted).toBe(true)
        expect(picked.level === 'unregistered' || picked.ad.shareable).toBe(true)
        const inRealm = rows.filter(({ level }) => level === 'realm')
        expect(route(need, candidatesOf(inRealm), policy).pick).toBeNull()
      }),
      { numRuns: 2_000 },
    )
  })

  it('stands when the picked peer becomes emptier', () => {
    fc.assert(
      fc.property(needArbitrary, viewArbitrary, policyArbitrary, fc.nat(4), (need, rows, policy, fewer) => {
        const { pick } = route(need, candidatesOf(rows), policy)
        fc.pre(pick !== null)
        const emptier = rows.map((row) => {
          if (row.peer !== pick) return row
          const running = Math.max(0, row.ad.running - fewer)
          return { ...row, ad: { ...row.ad, running, currentLoad: row.ad.currentLoad / 2 } }
        })
        const now = route(need, candidatesOf(emptier), policy)
        expect(now.pick).toBe(pick)
      }),
      { numRuns: 500 },
    )
  })

  it('is made for any need whatever, and a malformed one goes nowhere', () => {
    const halfNeed = fc.record(
      {
        requestId: fc.oneof(fc.string(), fc.anything()),
        runtime: fc.oneof(fc.constant('process'), fc.anything()),
        capabilities: fc.oneof(fc.array(fc.string()), fc.anything()),
        gpu: fc.oneof(fc.boolean(), fc.anything()),
        gpuType: fc.anything(),
        region: fc.anything(),
        node: fc.anything(),
        isolation: fc.anything(),
        nodeLabels: fc.oneof(fc.dictionary(fc.string(), fc.string()), fc.anything()),
      },
      { requiredKeys: [] },
    )
    const candidates = candidatesOf([rowOf(0, {}, { self: true }), rowOf(1), rowOf(2, { running: 8 })])
    fc.assert(
      fc.property(fc.oneof(fc.anything(), halfNeed), (garbage) => {
        const need = garbage as Need
        const plan = outcome(need, candidates)
        const { considered } = explainRoute(need, candidates, policyOf(), 0)
        if (describeNeed(need) !== 'a malformed need') return
        expect(plan).toEqual({ pick: null, level: null, rule: 'none', stale: [] })
        expect(considered.map(({ rejected }) => rejected)).toEqual(considered.map(() => ['the need is malformed']))
      }),
      { numRuns: 2_000 },
    )
    expect(outcome({ ...needOf(), isolation: 'gvisor' } as unknown as Need, candidates).pick).toBeNull()
    expect(outcome({ ...needOf(), capabilities: [1] } as unknown as Need, candidates).pick).toBeNull()
    expect(outcome(undefined as unknown as Need, candidates).pick).toBeNull()
  })
})

describe('equal nodes', () => {
  /** The chi-square bound that fair draws exceed once in a thousand, by number of nodes. */
  it.each([
    [2, 10.83],
    [5, 18.47],
    [16, 37.7],
    [50, 85.35],
  ])('share 10,000 requests evenly: %i nodes', (nodes, bound) => {
    const candidates = candidatesOf(Array.from({ length: nodes }, (_, i) => rowOf(i + 1)))
    const picks = new Map<string, number>()
    const requests = 10_000
    for (let i = 0; i < requests; i++) {
      const requestId = `rq_0192f3c0-1a2b-7000-8000-${i.toString(16).padStart(12, '0')}`
      const { pick } = route(needOf({ requestId }), candidates, policyOf())
      picks.set(pick!, (picks.get(pick!) ?? 0) + 1)
    }
    const expected = requests / nodes
    let chiSquare = 0
    for (let i = 1; i <= nodes; i++) chiSquare += ((picks.get(peerOf(i)) ?? 0) - expected) ** 2 / expected
    expect(chiSquare).toBeLessThan(bound)
  })

  it('take a burst in turns, because placements in flight count before an advertisement does', () => {
    const candidates = candidatesOf(Array.from({ length: 5 }, (_, i) => rowOf(i + 1)))
    const picks = new Map<string, number>()
    for (let i = 0; i < 20; i++) {
      const { pick } = route(needOf({ requestId: `rq_${i}` }), candidates, policyOf())
      candidates.placed(pick!)
      picks.set(pick!, (picks.get(pick!) ?? 0) + 1)
    }
    expect([...picks.values()]).toEqual([4, 4, 4, 4, 4])
    for (let i = 20; i < 40; i++)
      candidates.placed(route(needOf({ requestId: `rq_${i}` }), candidates, policyOf()).pick!)
    expect(route(needOf(), candidates, policyOf()).pick).toBeNull()
  })
})
