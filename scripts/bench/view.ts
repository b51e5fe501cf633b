/**
 * What the view of a realm costs the node that holds it: processor time of each recurring task while nothing changes and
 * after one change, and the bytes of an entry beside the advertisement and envelope, which all views of this process share.
 * The parts of the mesh are the real ones; the clock is moved by hand and nothing is sent. When each tick looked at every entry
 * (21 November 2026, two cores), 10,000 of them cost: a liveness tick 0.3 ms, and 9.4 ms after one that left; the hashes of a
 * sync 8.2 ms; a seed tick 2.3 ms; an entry 206 bytes.
 */
import { createNodeKey } from '../../src/identity/node-key.ts'
import type { Clock } from '../../src/base/clock.ts'
import { limits } from '../../src/base/limits.ts'
import { silentLog } from '../../src/base/log.ts'
import { silentMeter } from '../../src/base/meter.ts'
import { createPages } from '../../src/mesh/pages.ts'
import type { PeerRecord } from '../../src/mesh/records.ts'
import { refreshIntervalMs } from '../../src/mesh/advertise-rate.ts'
import { startSeeds } from '../../src/mesh/seeds.ts'
import { createView, type MeshView } from '../../src/mesh/view.ts'
import { startWatch } from '../../src/mesh/watch.ts'
import { median, spread, type BenchRow } from './row.ts'

const sizes = [100, 1_000, 10_000]
const rounds = 15
const warmUps = 5
const viewsWeighed = 8

/** Time that passes when it is told to; what falls due on the way is run. */
const handClock = (): Clock & { pass(ms: number): Promise<void> } => {
  let nowMs = 1_000_000
  const timers = new Map<() => void, number>()
  return {
    wallMs: () => 1_800_000_000_000 + nowMs,
    monotonicMs: () => nowMs,
    after(delayMs, fn) {
      timers.set(fn, nowMs + delayMs)
      return { cancel: () => void timers.delete(fn) }
    },
    async pass(ms) {
      nowMs += ms
      const due = [...timers].filter(([, dueMs]) => dueMs <= nowMs)
      for (const [fn] of due) timers.delete(fn)
      for (const [fn] of due) fn()
      for (let turn = 0; turn < 8; turn++) await Promise.resolve()
    },
  }
}

type Words = Pick<PeerRecord, 'peer' | 'ad' | 'envelope'>

const wordsOf = (count: number): Words[] =>
  Array.from({ length: count }, (_, index) => {
    const { peer } = createNodeKey()
    const capacity = { status: 'available', currentLoad: 0, running: 0, maxConcurrent: 8 } as const
    const traits = { isolation: 'none', acceptUnsandboxed: true, shareable: false, shareFraction: 0 } as const
    const lists = { labels: {}, capabilities: [], runtimes: [], ensembles: [], addresses: [], cost: {} }
    const lasting = { realm: '0'.repeat(64), peer, name: `n${index}`, gpu: { count: 0, types: [] } }
    const life = { ttlMs: refreshIntervalMs(count, limits) * limits.advertiseTtlFactor, left: false, certificate: 'c' }
    const ad = { ...lasting, ...lists, ...traits, ...capacity, ...life, incarnation: 1, sequence: 1 }
    return { peer, ad, envelope: new Uint8Array([1, 1, index & 255, index >> 8]) }
  })

const again = ({ peer, ad, envelope }: Words): Words => ({
  peer,
  ad: { ...ad, sequence: ad.sequence + 1 },
  envelope: Uint8Array.from(envelope, (byte, at) => (at === 1 ? byte + 1 : byte)),
})

const heard = (words: Words, issuedAtMs: number): PeerRecord => ({
  peer: words.peer,
  ad: words.ad,
  envelope: words.envelope,
  issuedAtMs,
  accusations: [],
  accusedAtMs: undefined,
})

/** A view of them all, whose advertisements were issued all along the interval of their refresh. */
const filled = (clock: Clock, words: readonly Words[]): MeshView => {
  const [own, ...rest] = words as [Words, ...Words[]]
  const view = createView({ clock, limits, log: silentLog }, { peer: own.peer })
  view.setSelf(heard(own, clock.monotonicMs()), () => own.ad)
  const every = refreshIntervalMs(words.length, limits)
  for (const [index, one] of rest.entries())
    view.merge(heard(one, clock.monotonicMs() - (every * index) / words.length))
  return view
}

const rowOf = (name: string, unit: string, values: number[]): BenchRow => ({
  bench: 'view',
  case: name,
  value: median(values),
  unit,
  runs: values.length,
  spread: spread(values),
})

/** Microseconds of `work`, each time after `prepare`, which does not count. */
const timed = async (work: () => unknown, prepare: () => unknown = () => {}): Promise<number[]> => {
  const times: number[] = []
  for (let round = -warmUps; round < rounds; round++) {
    await prepare()
    const fromMs = performance.now()
    await work()
    if (round >= 0) times.push((performance.now() - fromMs) * 1_000)
  }
  return times
}

const fail = (): never => {
  throw new Error('nothing is sent here')
}

const ticks = async (words: readonly Words[]): Promise<BenchRow[]> => {
  const size = words.length
  const clock = handClock()
  const view = filled(clock, words)
  const [own, ...rest] = words as [Words, ...Words[]]
  let next = 0
  const refreshed = (): Words => (rest[next % rest.length] = again(rest[next++ % rest.length]!))
  const refresh = () => view.merge(heard(refreshed(), clock.monotonicMs()))
  const leave = () => {
    const words = refreshed()
    view.merge(heard({ ...words, ad: { ...words.ad, left: true } }, clock.monotonicMs()))
  }
  const rpc = { call: () => Promise.reject(new Error('nothing is sent here')), stream: fail, register() {} }
  const parts = { view, clock, limits, log: silentLog, meter: silentMeter, connect: fail, random: Math.random }
  const pages = createPages({ view, clock, limits })
  const watch = startWatch({
    ...parts,
    net: { peer: own.peer, rpc },
    accept: { ad: fail },
    probe: () => Promise.resolve({ answered: false, evidence: 'no-answer' }),
    partners: () => [],
    accuse: () => Promise.resolve(),
    settings: () => ({
      healthCheckIntervalMs: limits.probeIntervalMs,
      failureThreshold: limits.failureThreshold,
      recoveryTimeMs: limits.recoveryTimeMs,
    }),
    onAnswered() {},
  })
  const liveness = () => clock.pass(limits.livenessTickMs)
  const rows = [
    rowOf(`${size}-refresh`, 'µs', await timed(refresh)),
    rowOf(`${size}-liveness-tick-quiet`, 'µs', await timed(liveness)),
    rowOf(`${size}-liveness-tick-after-refresh`, 'µs', await timed(liveness, refresh)),
    rowOf(`${size}-liveness-tick-after-leave`, 'µs', await timed(liveness, leave)),
    rowOf(
      `${size}-sync-hashes-after-refresh`,
      'µs',
      await timed(
        () => pages.hashes(),
        () => (refresh(), view.sweep()),
      ),
    ),
  ]
  watch.close()
  const connected = rest.slice(-limits.connectionsWanted).map(({ peer }) => peer)
  const seeds = startSeeds({
    ...parts,
    net: { peer: own.peer, connected: () => connected, isAdmitted: () => true },
    book: { addressesOf: () => [], seeds: () => connected, remember: () => Promise.resolve(), hint: () => {} },
    watched: () => connected.slice(0, limits.watchersPerNode),
  })
  rows.push(rowOf(`${size}-seed-tick`, 'µs', await timed(() => clock.pass(limits.seedTickMs))))
  seeds.close()
  return rows
}

const heapBytes = (): number => {
  globalThis.gc?.()
  globalThis.gc?.()
  const { heapUsed, external } = process.memoryUsage()
  return heapUsed + external
}

const weigh = (words: readonly Words[]): BenchRow => {
  const clock = handClock()
  const kept = [filled(clock, words)] // what views share is there from now on
  const bytes: number[] = []
  for (let count = 0; count < viewsWeighed; count++) {
    const before = heapBytes()
    kept.push(filled(clock, words))
    bytes.push((heapBytes() - before) / words.length)
  }
  return rowOf(`${words.length}-entry`, 'bytes', bytes)
}

export const run = async (): Promise<BenchRow[]> => {
  const { setFlagsFromString } = await import('node:v8')
  const { runInNewContext } = await import('node:vm')
  setFlagsFromString('--expose-gc')
  globalThis.gc ??= runInNewContext('gc')
  const rows: BenchRow[] = []
  for (const size of sizes) {
    const words = wordsOf(size)
    rows.push(...(await ticks([...words])), weigh(words))
  }
  return rows
}
