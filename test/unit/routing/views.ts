/** Rows, needs and a naive model of the decision, for the tests of this room. */
import fc from 'fast-check'
import { avalanche32, hash32 } from '../../../src/base/hash.ts'
import type { Level, Need } from '../../../src/base/need.ts'
import {
  createCandidates,
  type CandidateAd,
  type CandidateRow,
  type Candidates,
} from '../../../src/routing/candidates.ts'
import type { RoutePolicy } from '../../../src/routing/route.ts'

/** A PeerId of the right form for a number: its digits as letters, after as many ones as it takes. */
export const peerOf = (index: number): string =>
  `12D3KooW${String(index)
    .replace(/\d/g, (digit) => 'ABCDEFGHJK'[Number(digit)]!)
    .padStart(44, '1')}`

export const policyOf = (more: Partial<RoutePolicy> = {}): RoutePolicy => ({
  strategy: 'least-loaded',
  offloadThreshold: 0.8,
  ...more,
})

export const needOf = (more: Partial<Need> = {}): Need => ({
  requestId: 'rq_1',
  runtime: 'process',
  capabilities: [],
  gpu: false,
  nodeLabels: {},
  ...more,
})

/** An idle, sandboxed, trusted node of the realm. */
export const rowOf = (
  index: number,
  ad: Partial<CandidateAd> = {},
  more: Partial<Omit<CandidateRow, 'ad'>> = {},
): CandidateRow => ({
  peer: peerOf(index),
  level: 'realm',
  state: 'alive',
  trusted: true,
  self: false,
  issuedAtMs: 0,
  ...more,
  ad: {
    name: `node-${index}`,
    status: 'available',
    currentLoad: 0,
    running: 0,
    maxConcurrent: 8,
    capabilities: [],
    runtimes: [{ kind: 'process', version: '1' }],
    gpu: { count: 0, types: [] },
    labels: {},
    isolation: 'bwrap',
    acceptUnsandboxed: false,
    shareable: false,
    cost: {},
    ...ad,
  },
})

export const candidatesOf = (rows: readonly CandidateRow[]): Candidates => {
  const candidates = createCandidates()
  for (const row of rows) candidates.upsert(row)
  return candidates
}

// ---- The model: one row after the other, nothing kept between decisions.

const momentary = /^(draining|busy|full \()/

/** Every reason why a row is not eligible, in no particular order. */
export const modelReasons = (row: CandidateRow, need: Need, policy: RoutePolicy, inFlight: number): string[] => {
  const { ad } = row
  const reasons: string[] = []
  const rejectIf = (rejected: boolean, reason: string): void => {
    if (rejected) reasons.push(reason)
  }
  const isPeerId = need.node?.startsWith('12D3KooW') === true
  rejectIf(policy.exclude?.has(row.peer) === true, 'already tried')
  rejectIf(need.node !== undefined && need.node !== (isPeerId ? row.peer : ad.name), 'not the named node')
  rejectIf(row.state !== 'alive', row.state)
  rejectIf(row.expired === true, 'expired')
  rejectIf(!row.trusted, 'not trusted')
  rejectIf(row.level === 'cross-realm' && !ad.shareable, 'not shareable')
  rejectIf(ad.status === 'draining', 'draining')
  rejectIf(ad.status === 'busy' || ad.currentLoad >= 1, 'busy')
  rejectIf(ad.running + inFlight >= ad.maxConcurrent, `full (${ad.running + inFlight} of ${ad.maxConcurrent})`)
  rejectIf(!ad.runtimes.some(({ kind }) => kind === need.runtime), `runtime ${need.runtime} missing`)
  for (const name of need.capabilities) rejectIf(!ad.capabilities.includes(name), `capability ${name} missing`)
  if (need.gpu || need.gpuType !== undefined) {
    if (ad.gpu.count === 0) reasons.push('no GPU')
    else if (need.gpuType !== undefined && !ad.gpu.types.includes(need.gpuType)) {
      reasons.push(`GPU type ${need.gpuType} wanted, has ${ad.gpu.types.join(', ') || 'one of unknown type'}`)
    }
  }
  if (need.region !== undefined) {
    rejectIf(ad.region !== need.region, `region ${need.region} wanted, is ${ad.region ?? 'unknown'}`)
  }
  if (need.isolation === 'bwrap') {
    rejectIf(ad.isolation === 'none', 'isolation bwrap wanted, offers none')
  } else {
    const bare = ad.isolation === 'none' && !row.self && !ad.acceptUnsandboxed
    rejectIf(bare, 'takes no unsandboxed agents of other nodes')
  }
  for (const [key, value] of Object.entries(need.nodeLabels)) {
    rejectIf(ad.labels[key] !== value, `label ${key}=${value} missing`)
  }
  return reasons
}

const taken = ({ ad }: CandidateRow, inFlight: number): [slots: number, load: number] => [
  Math.min(1, (ad.running + inFlight) / ad.maxConcurrent),
  Math.min(1, ad.currentLoad + inFlight / ad.maxConcurrent),
]

const tieOf = (row: CandidateRow, need: Need): number => avalanche32(hash32(row.peer) ^ hash32(need.requestId))

const hierarchy: readonly Level[] = ['realm', 'unregistered', 'cross-realm']

export interface ModelPlan {
  pick: string | null
  level: Level | null
  rule: string
  stale: string[]
  reasons: Map<string, string[]>
}

export const modelRoute = (
  need: Need,
  rows: readonly CandidateRow[],
  policy: RoutePolicy,
  inFlightOf: (peer: string) => number = () => 0,
): ModelPlan => {
  const reasons = new Map(rows.map((row) => [row.peer, modelReasons(row, need, policy, inFlightOf(row.peer))]))
  const stale = rows
    .filter(
      (row) => reasons.get(row.peer)!.length > 0 && reasons.get(row.peer)!.every((reason) => momentary.test(reason)),
    )
    .toSorted((a, b) => hierarchy.indexOf(a.level) - hierarchy.indexOf(b.level) || tieOf(b, need) - tieOf(a, need))
    .map((row) => row.peer)
  const eligible = rows.filter((row) => reasons.get(row.peer)!.length === 0)
  const level = hierarchy.find((one) => eligible.some((row) => row.level === one))
  if (level === undefined) return { pick: null, level: null, rule: 'none', stale, reasons }
  const self = eligible.find((row) => row.self)
  const free = need.node === undefined && need.region === undefined && policy.strategyNamed !== true
  if (self !== undefined && free && Math.max(...taken(self, inFlightOf(self.peer))) < policy.offloadThreshold) {
    return { pick: self.peer, level: self.level, rule: 'local-below-threshold', stale, reasons }
  }
  const score = (row: CandidateRow): number => {
    const [slots, load] = taken(row, inFlightOf(row.peer))
    return 1 - (3 * Math.max(slots, load) + Math.min(slots, load)) / 4
  }
  const [best] = eligible
    .filter((row) => row.level === level)
    .toSorted((a, b) => score(b) - score(a) || Number(b.self) - Number(a.self) || tieOf(b, need) - tieOf(a, need))
  const rule = need.node === undefined ? 'strategy' : 'named-node'
  return { pick: best!.peer, level, rule, stale, reasons }
}

// ---- Arbitrary views and needs, of few words, so that needs are met often enough.

const word = <T>(...words: T[]): fc.Arbitrary<T> => fc.constantFrom(...words)
const mostly = <T>(usual: T, ...others: T[]): fc.Arbitrary<T> =>
  fc.oneof({ weight: 7, arbitrary: fc.constant(usual) }, { weight: 2, arbitrary: word(usual, ...others) })

export const adArbitrary: fc.Arbitrary<Partial<CandidateAd>> = fc.record(
  {
    name: word('a', 'b', 'c', peerOf(0)),
    status: mostly<CandidateAd['status']>('available', 'busy', 'draining'),
    currentLoad: word(0, 0.25, 0.5, 0.8, 1),
    running: fc.integer({ min: 0, max: 4 }),
    maxConcurrent: mostly(4, 0, 2, 8),
    capabilities: fc.array(word('docker', 'node22')),
    runtimes: mostly([{ kind: 'process', version: '1' }], [{ kind: 'pi', version: '1' }], []),
    gpu: word(
      { count: 0, types: [] },
      { count: 0, types: ['a100'] },
      { count: 2, types: ['a100'] },
      { count: 1, types: ['h100', 'a100'] },
      { count: 1, types: [] },
    ),
    region: word('eu-west', 'us-east'),
    labels: word<Record<string, string>>({}, { env: 'prod' }, { env: 'dev', rack: 'r1' }),
    isolation: mostly<CandidateAd['isolation']>('bwrap', 'none'),
    acceptUnsandboxed: fc.boolean(),
    shareable: fc.boolean(),
  },
  { requiredKeys: [] },
)

const traitsArbitrary = fc.record({
  level: mostly<Level>('realm', 'unregistered', 'cross-realm'),
  state: mostly<CandidateRow['state']>('alive', 'suspect', 'down', 'left', 'recovering'),
  trusted: mostly(true, false),
  expired: mostly(false, true),
  issuedAtMs: fc.integer({ min: 0, max: 10_000 }),
})

/** A row of the peer with this number. Number 0 is the node itself, and in its own realm. */
export const rowArbitrary = (index: number): fc.Arbitrary<CandidateRow> =>
  fc
    .tuple(adArbitrary, traitsArbitrary)
    .map(([ad, traits]) => rowOf(index, ad, index === 0 ? { ...traits, self: true, level: 'realm' } : traits))

/** Views of up to 16 peers, with the node itself in three of four. */
export const viewArbitrary: fc.Arbitrary<CandidateRow[]> = fc
  .tuple(fc.integer({ min: 0, max: 16 }), word(true, true, true, false))
  .chain(([peers, self]) => fc.tuple(...Array.from({ length: peers }, (_, i) => rowArbitrary(self ? i : i + 1))))

export const needArbitrary: fc.Arbitrary<Need> = fc
  .record(
    {
      requestId: fc.string({ maxLength: 8 }),
      runtime: mostly('process', 'pi', 'none-such'),
      capabilities: mostly<string[]>([], ['docker'], ['docker', 'node22'], ['absent']),
      gpu: mostly(false, true),
      gpuType: word('a100', 'h100', 't4'),
      region: word('eu-west', 'us-east', 'nowhere'),
      node: word('a', 'b', 'c', peerOf(0), peerOf(1), 'absent'),
      isolation: word<'none' | 'bwrap'>('none', 'bwrap'),
      nodeLabels: mostly<Record<string, string>>({}, { env: 'prod' }, { env: 'dev', rack: 'r1' }, { env: 'none-such' }),
    },
    { requiredKeys: ['requestId', 'runtime', 'capabilities', 'gpu', 'nodeLabels'] },
  )
  // Every optional demand at once is met by nobody: most needs keep one of them or none.
  .chain((need) =>
    fc.subarray(['gpuType', 'region', 'node', 'isolation'] as const, { maxLength: 1 }).map((kept) => {
      const { gpuType, region, node, isolation, ...rest } = need
      const optional = { gpuType, region, node, isolation }
      const some = Object.fromEntries(
        kept.map((key) => [key, optional[key]]).filter(([, value]) => value !== undefined),
      )
      return { ...rest, ...some } as Need
    }),
  )

export const policyArbitrary: fc.Arbitrary<RoutePolicy> = fc
  .record({
    strategyNamed: fc.boolean(),
    offloadThreshold: word(0, 0.5, 0.8, 1),
    exclude: mostly<number[]>([], [0], [1, 2], [99]),
  })
  .map(({ exclude, ...rest }) => policyOf({ ...rest, exclude: new Set(exclude.map(peerOf)) }))
