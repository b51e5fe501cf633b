import { describe, expect, it } from 'vitest'
import { createCandidates, type CandidateAd, type CandidateRow } from '../../../src/routing/candidates.ts'
import { describeNeed, explainRoute, route } from '../../../src/routing/route.ts'
import type { Need } from '../../../src/base/need.ts'
import { candidatesOf, needOf, peerOf, policyOf, rowOf } from './views.ts'

const fullAd = { running: 8, currentLoad: 0.5 }

describe('a hard filter', () => {
  const cases: [reason: string, need: Partial<Need>, ad: Partial<CandidateAd>, more?: Partial<CandidateRow>][] = [
    ['suspect', {}, {}, { state: 'suspect' }],
    ['down', {}, {}, { state: 'down' }],
    ['left', {}, {}, { state: 'left' }],
    ['recovering', {}, {}, { state: 'recovering' }],
    ['expired', {}, {}, { expired: true }],
    ['not trusted', {}, {}, { trusted: false }],
    ['not shareable', {}, {}, { level: 'cross-realm' }],
    ['draining', {}, { status: 'draining' }],
    ['busy', {}, { status: 'busy' }],
    ['busy', {}, { currentLoad: 1 }],
    ['full (4 of 4)', {}, { running: 4, maxConcurrent: 4 }],
    ['full (0 of 0)', {}, { maxConcurrent: 0 }],
    ['runtime pi missing', { runtime: 'pi' }, {}],
    ['capability docker missing', { capabilities: ['docker'] }, { capabilities: ['process'] }],
    ['no GPU', { gpu: true }, {}],
    ['no GPU', { gpu: true, gpuType: 'a100' }, {}],
    ['GPU type a100 wanted, has h100', { gpu: true, gpuType: 'a100' }, { gpu: { count: 1, types: ['h100'] } }],
    [
      'GPU type a100 wanted, has t4, h100',
      { gpu: false, gpuType: 'a100' },
      { gpu: { count: 2, types: ['t4', 'h100'] } },
    ],
    ['GPU type a100 wanted, has one of unknown type', { gpu: true, gpuType: 'a100' }, { gpu: { count: 1, types: [] } }],
    ['no GPU', { gpuType: 'a100' }, { gpu: { count: 0, types: ['a100'] } }],
    ['region eu-west wanted, is us-east', { region: 'eu-west' }, { region: 'us-east' }],
    ['region eu-west wanted, is unknown', { region: 'eu-west' }, {}],
    ['isolation bwrap wanted, offers none', { isolation: 'bwrap' }, { isolation: 'none', acceptUnsandboxed: true }],
    ['takes no unsandboxed agents of other nodes', {}, { isolation: 'none' }],
    ['takes no unsandboxed agents of other nodes', { isolation: 'none' }, { isolation: 'none' }],
    ['label env=prod missing', { nodeLabels: { env: 'prod' } }, { labels: { env: 'dev' } }],
    ['not the named node', { node: 'other' }, {}],
  ]
  it.each(cases)('says "%s" for the need %j and the node %j', (reason, need, ad, more = {}) => {
    const candidates = candidatesOf([rowOf(1, ad, more)])
    const { considered, omitted } = explainRoute(needOf(need), candidates, policyOf(), 0)
    expect(considered).toEqual([
      { peer: peerOf(1), node: 'node-1', level: more.level ?? 'realm', adAgeMs: 0, rejected: [reason] },
    ])
    expect(omitted).toBe(0)
    expect(route(needOf(need), candidates, policyOf())).toMatchObject({ pick: null, level: null, rule: 'none' })
  })

  const met: [need: Partial<Need>, ad: Partial<CandidateAd>, more?: Partial<CandidateRow>][] = [
    [{}, {}],
    [{ gpu: true }, { gpu: { count: 1, types: [] } }],
    [{ gpuType: 'a100' }, { gpu: { count: 1, types: ['h100', 'a100'] } }],
    [{ region: 'eu-west' }, { region: 'eu-west' }],
    [{ isolation: 'bwrap' }, { isolation: 'bwrap' }],
    [{ isolation: 'none' }, { isolation: 'bwrap' }],
    [{ isolation: 'none' }, { isolation: 'none', acceptUnsandboxed: true }],
    [{}, { isolation: 'none', acceptUnsandboxed: true }],
    [{}, { isolation: 'none' }, { self: true }],
    [{ capabilities: ['docker', 'docker'] }, { capabilities: ['node22', 'docker', 'docker'] }],
    [{ nodeLabels: { env: 'prod' } }, { labels: { env: 'prod', rack: 'r1' } }],
    [{ node: 'node-1' }, {}],
    [{ node: peerOf(1) }, {}],
    [{}, { shareable: true }, { level: 'cross-realm' }],
    [{}, {}, { level: 'unregistered' }],
    [{}, { currentLoad: 0.99, running: 7 }],
  ]
  it.each(met)('lets the need %j through to the node %j', (need, ad, more = {}) => {
    expect(route(needOf(need), candidatesOf([rowOf(1, ad, more)]), policyOf()).pick).toBe(peerOf(1))
  })

  it('tells every reason of a candidate, not only the first', () => {
    const row = rowOf(1, { status: 'draining', running: 8 }, { state: 'down' })
    const [only] = explainRoute(needOf({ gpu: true, region: 'x' }), candidatesOf([row]), policyOf(), 0).considered
    expect(only?.rejected).toEqual(['down', 'draining', 'full (8 of 8)', 'no GPU', 'region x wanted, is unknown'])
  })

  it('cuts a reason to the bound of a record', () => {
    const nodeLabels = { env: 'x'.repeat(255) }
    const [only] = explainRoute(needOf({ nodeLabels }), candidatesOf([rowOf(1)]), policyOf(), 0).considered
    expect(only?.rejected?.[0]).toHaveLength(255)
  })

  it('does not take one label for another whose key and value run together', () => {
    const candidates = candidatesOf([rowOf(1, { labels: { a: 'b=c' } })])
    expect(route(needOf({ nodeLabels: { 'a=b': 'c' } }), candidates, policyOf()).pick).toBeNull()
    expect(route(needOf({ nodeLabels: { a: 'b=c' } }), candidates, policyOf()).pick).toBe(peerOf(1))
  })
})

describe('a full realm', () => {
  const full = [rowOf(0, fullAd, { self: true }), rowOf(1, fullAd)]
  const pinned = (ad: Partial<CandidateAd> = {}, more: Partial<CandidateRow> = {}) =>
    rowOf(2, ad, { level: 'unregistered', ...more })
  const foreign = (ad: Partial<CandidateAd> = {}, more: Partial<CandidateRow> = {}) =>
    rowOf(3, { shareable: true, ...ad }, { level: 'cross-realm', ...more })

  it.each([
    ['spills over to the unregistered', [pinned(), foreign()], 2, 'unregistered'],
    ['and then to the shareable of other realms', [pinned(fullAd), foreign()], 3, 'cross-realm'],
    ['but never to one that is not shareable', [foreign({ shareable: false })], undefined, null],
    [
      'nor to one that may not be used',
      [pinned({}, { trusted: false }), foreign({}, { trusted: false })],
      undefined,
      null,
    ],
    ['nor to one that drains', [pinned({ status: 'draining' }), foreign({ status: 'draining' })], undefined, null],
    ['nor to an expired one', [pinned({}, { expired: true }), foreign({}, { expired: true })], undefined, null],
    [
      'nor to a recovering one',
      [pinned({}, { state: 'recovering' }), foreign({}, { state: 'recovering' })],
      undefined,
      null,
    ],
  ] as const)('%s', (_what, outside, index, level) => {
    const candidates = candidatesOf([...outside, ...full])
    const pick = index === undefined ? null : peerOf(index)
    expect(route(needOf(), candidates, policyOf())).toMatchObject({ pick, level })
    // The explanation names level and reason of each.
    const { considered } = explainRoute(needOf(), candidates, policyOf(), 0)
    for (const { peer, level: of } of outside) expect(considered.find((one) => one.peer === peer)!.level).toBe(of)
    if (pick === null) for (const one of considered) expect(one.rejected).not.toEqual([])
  })
})

describe('the hierarchy', () => {
  const realm = rowOf(1, { running: 7, currentLoad: 0.9 })
  const unregistered = rowOf(2, {}, { level: 'unregistered' })
  const shared = rowOf(3, { shareable: true }, { level: 'cross-realm' })

  it('takes a nearly full node of the realm before an idle one outside', () => {
    expect(route(needOf(), candidatesOf([shared, unregistered, realm]), policyOf())).toMatchObject({
      pick: realm.peer,
      level: 'realm',
      rule: 'strategy',
    })
  })

  it('spills over to unregistered peers when the realm is full, then to other realms', () => {
    const full = rowOf(1, fullAd)
    expect(route(needOf(), candidatesOf([shared, unregistered, full]), policyOf()).pick).toBe(unregistered.peer)
    expect(route(needOf(), candidatesOf([shared, full]), policyOf())).toMatchObject({
      pick: shared.peer,
      level: 'cross-realm',
    })
  })

  it('holds among nodes of one name', () => {
    const rows = [rowOf(2, { name: 'gpu' }, { level: 'unregistered' }), rowOf(1, { name: 'gpu', running: 7 })]
    expect(route(needOf({ node: 'gpu' }), candidatesOf(rows), policyOf())).toMatchObject({
      pick: peerOf(1),
      rule: 'named-node',
    })
  })
})

describe('a named node', () => {
  it('may be borne by several, of which the emptiest is taken', () => {
    const rows = [rowOf(1, { name: 'gpu', running: 3 }), rowOf(2, { name: 'gpu', running: 1 }), rowOf(3)]
    expect(route(needOf({ node: 'gpu' }), candidatesOf(rows), policyOf()).pick).toBe(peerOf(2))
  })

  it('is never one that took the PeerId of another as its name', () => {
    const impostor = rowOf(1, { name: peerOf(2) })
    const need = needOf({ node: peerOf(2) })
    expect(route(need, candidatesOf([impostor]), policyOf()).pick).toBeNull()
    expect(route(need, candidatesOf([impostor, rowOf(2, { running: 7 })]), policyOf()).pick).toBe(peerOf(2))
  })

  it('is left for no other node when it cannot take the work', () => {
    const rows = [rowOf(1, fullAd), rowOf(2)]
    expect(route(needOf({ node: 'node-1' }), candidatesOf(rows), policyOf()).pick).toBeNull()
  })
})

describe('work that this node can do', () => {
  const self = (running: number, ad: Partial<CandidateAd> = {}) =>
    rowOf(0, { running, maxConcurrent: 10, ...ad }, { self: true })
  const idle = rowOf(1, { region: 'eu-west' })

  it('stays here below the threshold although another node is emptier', () => {
    const plan = route(needOf(), candidatesOf([idle, self(7)]), policyOf())
    expect(plan).toMatchObject({ pick: peerOf(0), level: 'realm', rule: 'local-below-threshold' })
  })

  it('goes to the emptier node at the threshold', () => {
    const plan = route(needOf(), candidatesOf([idle, self(8)]), policyOf())
    expect(plan).toMatchObject({ pick: idle.peer, rule: 'strategy' })
  })

  it('goes elsewhere when the load of the host reaches the threshold, whatever its slots', () => {
    expect(route(needOf(), candidatesOf([idle, self(0, { currentLoad: 0.8 })]), policyOf()).pick).toBe(idle.peer)
  })

  it('counts placements in flight towards the threshold', () => {
    const candidates = candidatesOf([idle, self(7)])
    candidates.placed(peerOf(0))
    expect(route(needOf(), candidates, policyOf()).pick).toBe(idle.peer)
    candidates.settled(peerOf(0))
    expect(route(needOf(), candidates, policyOf()).pick).toBe(peerOf(0))
  })

  it.each<[string, Partial<Need>, boolean]>([
    ['a region', { region: 'eu-west' }, false],
    ['a node', { node: 'node-1' }, false],
    ['a strategy', {}, true],
  ])('does not stay merely because there is room when the request names %s', (_, need, strategyNamed) => {
    const candidates = candidatesOf([idle, self(1, { region: 'eu-west' })])
    expect(route(needOf(need), candidates, policyOf({ strategyNamed })).pick).toBe(idle.peer)
  })

  it('goes elsewhere when this node lacks what is asked for, is draining, or was tried', () => {
    const gpu = rowOf(1, { gpu: { count: 1, types: [] }, running: 7 })
    expect(route(needOf({ gpu: true }), candidatesOf([self(0), gpu]), policyOf()).pick).toBe(gpu.peer)
    expect(route(needOf(), candidatesOf([self(0, { status: 'draining' }), gpu]), policyOf()).pick).toBe(gpu.peer)
    const exclude = new Set([peerOf(0)])
    expect(route(needOf(), candidatesOf([self(0), gpu]), policyOf({ exclude })).pick).toBe(gpu.peer)
  })

  it('wins every tie', () => {
    const candidates = candidatesOf([
      rowOf(0, {}, { self: true }),
      ...Array.from({ length: 20 }, (_, i) => rowOf(i + 1)),
    ])
    for (let i = 0; i < 100; i++) {
      const plan = route(needOf({ requestId: `rq_${i}` }), candidates, policyOf({ strategyNamed: true }))
      expect(plan).toMatchObject({ pick: peerOf(0), rule: 'strategy' })
    }
  })
})

describe('peers worth asking again', () => {
  it('are those whose only reasons are momentary, by level', () => {
    const candidates = candidatesOf([
      rowOf(5, fullAd, { level: 'unregistered' }),
      rowOf(1, fullAd),
      rowOf(2, { status: 'draining' }),
      rowOf(3, { status: 'busy', running: 8 }),
      rowOf(4, fullAd, { state: 'down' }),
      rowOf(6, { ...fullAd, isolation: 'none' }),
      rowOf(7, fullAd),
    ])
    const plan = route(needOf(), candidates, policyOf({ exclude: new Set([peerOf(7)]) }))
    expect(plan.pick).toBeNull()
    const stale = plan.staleRejects()
    expect(stale.slice(0, 3).toSorted()).toEqual([peerOf(1), peerOf(2), peerOf(3)])
    expect(stale.slice(3)).toEqual([peerOf(5)])
  })

  it('come in another order for another request, so that not everybody asks the same one first', () => {
    const candidates = candidatesOf(Array.from({ length: 10 }, (_, i) => rowOf(i + 1, fullAd)))
    const firsts = new Set<string | undefined>()
    for (let i = 0; i < 50; i++) {
      firsts.add(route(needOf({ requestId: `rq_${i}` }), candidates, policyOf()).staleRejects()[0])
    }
    expect(firsts.size).toBeGreaterThan(5)
  })

  it('leave out those that are eligible', () => {
    const plan = route(needOf(), candidatesOf([rowOf(1), rowOf(2, fullAd)]), policyOf())
    expect(plan.staleRejects()).toEqual([peerOf(2)])
  })
})

describe('an explanation', () => {
  it('puts the pick first, then the eligible by level and score, then the rejected by name', () => {
    const candidates = candidatesOf([
      rowOf(1, { name: 'z', status: 'draining' }),
      rowOf(2, { name: 'y' }, { level: 'unregistered' }),
      rowOf(3, { name: 'x', running: 4 }),
      rowOf(4, { name: 'w' }),
      rowOf(5, { name: 'a' }, { state: 'down' }),
      rowOf(0, { name: 'self', running: 5 }, { self: true }),
    ])
    const { considered } = explainRoute(needOf(), candidates, policyOf(), 0)
    expect(considered.map(({ node }) => node)).toEqual(['self', 'w', 'x', 'y', 'a', 'z'])
    expect(considered.map(({ score }) => score !== undefined)).toEqual([true, true, true, true, false, false])
  })

  it('is bounded, keeps the best and counts the rest', () => {
    const rows = Array.from({ length: 500 }, (_, i) =>
      rowOf(i, { running: i % 100, maxConcurrent: 100, ...(i % 2 === 0 ? { status: 'draining' } : {}) }),
    )
    const { considered, omitted } = explainRoute(needOf(), candidatesOf(rows), policyOf(), 0)
    expect(considered).toHaveLength(256)
    expect(omitted).toBe(244)
    const scores = considered.slice(0, 250).map(({ score }) => score!)
    expect(scores).toEqual(scores.toSorted((a, b) => b - a))
    expect(considered.slice(250).map(({ node }) => node)).toEqual(
      rows
        .filter(({ ad }) => ad.status === 'draining')
        .map(({ ad }) => ad.name)
        .toSorted()
        .slice(0, 6),
    )
    const few = explainRoute(needOf(), candidatesOf(rows), policyOf(), 0, { decisionCandidatesMax: 3 })
    expect(few.considered).toEqual(considered.slice(0, 3))
    expect(few.omitted).toBe(497)
  })

  it('keeps a pick that stays here although many others score better', () => {
    const rows = [rowOf(0, { running: 5 }, { self: true }), ...Array.from({ length: 20 }, (_, i) => rowOf(i + 1))]
    const few = explainRoute(needOf(), candidatesOf(rows), policyOf(), 0, { decisionCandidatesMax: 2 })
    expect(few.considered[0]?.peer).toBe(peerOf(0))
  })

  it('tells the age of each advertisement, never below zero', () => {
    const candidates = candidatesOf([
      rowOf(1, { name: 'a' }, { issuedAtMs: 250.4 }),
      rowOf(2, { running: 1 }, { issuedAtMs: 2_000 }),
    ])
    const { considered } = explainRoute(needOf(), candidates, policyOf(), 1_000)
    expect(considered.map(({ adAgeMs }) => adAgeMs)).toEqual([750, 0])
  })

  it('says of nobody that it was considered when there is nobody', () => {
    expect(explainRoute(needOf(), createCandidates(), policyOf(), 0)).toEqual({ considered: [], omitted: 0 })
  })
})

describe('a need in words', () => {
  it.each<[string, Partial<Need>]>([
    ['an agent (process)', {}],
    ['an agent (process) with a GPU', { gpu: true }],
    ['an agent (process) with a GPU of type a100 in eu-west', { gpu: true, gpuType: 'a100', region: 'eu-west' }],
    [
      'an agent (pi) with capability docker and labels env=prod, rack=r1 at isolation bwrap on node gpu-box',
      {
        runtime: 'pi',
        capabilities: ['docker'],
        nodeLabels: { env: 'prod', rack: 'r1' },
        isolation: 'bwrap',
        node: 'gpu-box',
      },
    ],
    ['an agent (process) with capabilities a, b and label x=y', { capabilities: ['a', 'b'], nodeLabels: { x: 'y' } }],
  ])('reads "%s"', (text, need) => {
    expect(describeNeed(needOf(need))).toBe(text)
  })

  it('is bounded', () => {
    const capabilities = Array.from({ length: 1_000 }, (_, i) => `capability-${i}`)
    expect(describeNeed(needOf({ capabilities })).length).toBeLessThanOrEqual(512)
  })
})
