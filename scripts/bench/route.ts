/**
 * How long a decision takes over 10, 1,000 and 10,000 peers. Two views each: a mixed one as a realm is (regions, GPUs,
 * loads, some nodes full, draining or down), and one of equal idle nodes, where every candidate ties. Aim: a median of
 * less than 50 µs at 10,000 peers.
 */
import { pathToFileURL } from 'node:url'
import type { Need } from '../../src/base/need.ts'
import { createCandidates, type CandidateRow, type Candidates } from '../../src/routing/candidates.ts'
import { route } from '../../src/routing/route.ts'
import { median, spread, type BenchRow } from './row.ts'

const decisions = 4_000
const warmUp = 1_000
const rounds = 5
const policy = { strategy: 'least-loaded', strategyNamed: true, offloadThreshold: 0.8 } as const

/** A repeatable sequence of fractions (mulberry32). */
const fractions = (seed: number) => (): number => {
  seed = (seed + 0x6d2b79f5) | 0
  let t = Math.imul(seed ^ (seed >>> 15), 1 | seed)
  t = (t + Math.imul(t ^ (t >>> 7), 61 | t)) ^ t
  return ((t ^ (t >>> 14)) >>> 0) / 2 ** 32
}

const regions = ['eu-west', 'eu-north', 'us-east', 'us-west', 'ap-south']

const idleRow = (index: number): CandidateRow => ({
  peer: `12D3KooW${String(index).padStart(44, '1')}`,
  level: 'realm',
  state: 'alive',
  trusted: true,
  self: index === 0,
  issuedAtMs: 0,
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
  },
})

const mixedRow = (index: number, fraction: () => number): CandidateRow => {
  const row = idleRow(index)
  const maxConcurrent = 4 + Math.floor(fraction() * 28)
  const running = Math.floor(fraction() * (maxConcurrent + 1))
  const gpus = fraction() < 0.2 ? 1 + Math.floor(fraction() * 8) : 0
  return {
    ...row,
    level: fraction() < 0.9 ? 'realm' : 'cross-realm',
    state: fraction() < 0.97 ? 'alive' : 'down',
    ad: {
      ...row.ad,
      status: fraction() < 0.02 ? 'draining' : running === maxConcurrent ? 'busy' : 'available',
      currentLoad: running / maxConcurrent,
      running,
      maxConcurrent,
      capabilities: fraction() < 0.5 ? ['docker', 'node22'] : ['node22'],
      runtimes: [{ kind: 'process', version: '1' }, ...(fraction() < 0.6 ? [{ kind: 'pi', version: '0.60' }] : [])],
      gpu: { count: gpus, types: gpus > 0 ? [fraction() < 0.5 ? 'a100' : 'h100'] : [] },
      region: regions[Math.floor(fraction() * regions.length)]!,
      labels: { env: fraction() < 0.7 ? 'prod' : 'dev', rack: `r${Math.floor(fraction() * 400)}` },
      isolation: fraction() < 0.8 ? 'bwrap' : 'none',
      shareable: fraction() < 0.5,
    },
  }
}

const need = (more: Partial<Need> = {}): Need => ({
  requestId: '',
  runtime: 'process',
  capabilities: [],
  gpu: false,
  nodeLabels: {},
  ...more,
})

const anyNode: readonly Need[] = [need()]
const mixedNeeds: readonly Need[] = [
  need(),
  need({ runtime: 'pi' }),
  need({ gpu: true, gpuType: 'a100' }),
  need({ region: 'eu-west', capabilities: ['docker'] }),
  need({ nodeLabels: { env: 'prod', rack: 'r17' } }),
  need({ isolation: 'bwrap', capabilities: ['node22'] }),
]

const filled = (peers: number, rowOf: (index: number) => CandidateRow): Candidates => {
  const candidates = createCandidates()
  for (let index = 0; index < peers; index++) candidates.upsert(rowOf(index))
  return candidates
}

/** The time of each decision in microseconds. Each request has an id of its own, made before its time is taken. */
const timesOf = (candidates: Candidates, needs: readonly Need[], count: number, from: number): number[] => {
  const times: number[] = []
  for (let i = 0; i < count; i++) {
    const asked = {
      ...needs[i % needs.length]!,
      requestId: `rq_0192f3c0-0000-7000-8000-${String(from + i).padStart(12, '0')}`,
    }
    const startedMs = performance.now()
    route(asked, candidates, policy)
    times.push((performance.now() - startedMs) * 1_000)
  }
  return times
}

const measure = (name: string, candidates: Candidates, needs: readonly Need[]): BenchRow => {
  timesOf(candidates, needs, warmUp, 0)
  const medians: number[] = []
  for (let round = 1; round <= rounds; round++) {
    medians.push(median(timesOf(candidates, needs, decisions, round * decisions)))
  }
  return { bench: 'route', case: name, value: median(medians), unit: 'µs', runs: rounds, spread: spread(medians) }
}

/** The median time of a decision, by case. */
export const run = async (): Promise<BenchRow[]> => {
  const rows: BenchRow[] = []
  for (const peers of [10, 1_000, 10_000]) {
    const fraction = fractions(peers)
    const mixed = filled(peers, (index) => mixedRow(index, fraction))
    rows.push(measure(`${peers}-mixed-needs`, mixed, mixedNeeds))
    rows.push(measure(`${peers}-mixed-peers`, mixed, anyNode))
    // The plain case is the worst one: all are equal, so that every one of them counts in the tie.
    rows.push(measure(String(peers), filled(peers, idleRow), anyNode))
  }
  return rows
}

if (import.meta.url === pathToFileURL(process.argv[1] ?? '').href) {
  for (const { case: name, value, unit, spread } of await run()) {
    process.stdout.write(`${name}: ${value.toFixed(2)} ${unit} (spread ${(spread * 100).toFixed(1)} %)\n`)
  }
}
