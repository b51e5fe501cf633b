/** How the figures of a simulation are shown: where it ran, what was assumed, and tables for people. */
import { readFileSync } from 'node:fs'
import { cpus, release, totalmem } from 'node:os'
import { join } from 'node:path'
import Table from 'cli-table3'
import type { BedFigures } from '../../test/sim/calibrate.ts'
import { gossipCostMs } from '../../test/sim/gossip-model.ts'
import { profiles } from '../../test/sim/network.ts'
import type { ScenarioResult } from '../../test/sim/scenarios.ts'
import type { ScenarioOptions } from '../../test/sim/stage.ts'
import { rpcCostMs } from '../../test/sim/sim-net.ts'

const root = join(import.meta.dirname, '..', '..')

const versionOf = (folder: string): string =>
  JSON.parse(readFileSync(join(root, folder, 'package.json'), 'utf8')).version as string

export interface Environment {
  date: string
  machine: string
  versions: { node: string; godelNode: string; libp2p: string; gossipsub: string }
}

export const environment = (): Environment => ({
  date: new Date().toISOString(),
  machine: `${cpus()[0]?.model ?? 'unknown processor'}, ${cpus().length} cores, ${Math.round(totalmem() / 2 ** 30)} GiB, ${process.platform} ${release()}`,
  versions: {
    node: process.version,
    godelNode: versionOf('.'),
    libp2p: versionOf('node_modules/libp2p'),
    gossipsub: versionOf('node_modules/@libp2p/gossipsub'),
  },
})

/** What the figures of a run rest on, in words. */
export const assumed = ({ profile = 'lan', faults = {} }: ScenarioOptions): string[] => {
  const { delayMsMedian, delaySigma, delayMsMin, delayMsMax } = profiles[profile]
  const wrong = Object.entries(faults).filter(([, part]) => part > 0)
  return [
    `delay one way: log-normal, median ${delayMsMedian} ms, sigma ${delaySigma}, from ${delayMsMin} to ${delayMsMax} ms`,
    `processor: ${gossipCostMs.fresh} ms for a new gossip message, ${gossipCostMs.copy} ms for a copy, ${rpcCostMs} ms for a request or an answer`,
    'the realm begins converged: everybody knows everybody, and refreshes come at times of their own',
    'signatures are looked up, not computed; certificates are verified once',
    'clocks: wall clocks off by up to 30 s, drift up to 50 millionths',
    ...(wrong.length === 0 ? [] : [`faults: ${wrong.map(([name, part]) => `${name} ${part}`).join(', ')}`]),
  ]
}

const figure = (value: number): string =>
  Math.abs(value) >= 1_000 ? Math.round(value).toLocaleString('en') : String(Number(value.toPrecision(3)))

const measuredMs = (value: number | null): string => (value === null ? 'none' : `${figure(value)} ms`)

export const resultTable = (result: ScenarioResult & Environment & { assumed: string[] }): string => {
  const { scenario, nodes, seed, profile, measured, details } = result
  const table = new Table({ style: { head: [], border: [] } })
  const rows: [string, number | string | null][] = [
    ['p50', measuredMs(result.p50Ms)],
    ['p99', measuredMs(result.p99Ms)],
    ['max', measuredMs(result.maxMs)],
    ['samples', result.samples],
    ['missing', result.missing],
    ['bytes sent per node and second', result.bytesPerNodePerSecond],
    ['messages sent per node and second', result.messagesPerNodePerSecond],
    ['CPU per node and second, simulation included', `${figure(result.cpuMsPerNodeSecond)} ms`],
    ['false downs', result.falseDowns],
    ['node-days', result.nodeDays],
    ['views equal at the end (who is alive, under which incarnation)', String(result.viewsEqual)],
    ['simulated seconds', result.simulatedSeconds],
    ['events', result.events],
    ['trace', result.traceHash],
    ...Object.entries(details),
  ]
  for (const [name, value] of rows) table.push([name, typeof value === 'number' ? figure(value) : (value ?? 'none')])
  return [
    `${scenario}, ${nodes} nodes, seed ${seed}, profile ${profile}: ${measured}`,
    `${result.date}, ${result.machine}`,
    ...result.assumed.map((line) => `assumed: ${line}`),
    table.toString(),
  ].join('\n')
}

const titles: Record<keyof BedFigures, string> = {
  idleBytesPerNodePerSecond: 'bytes per node and second, idle',
  changingBytesPerNodePerSecond: 'bytes per node and second, with 2.5 changes a second',
  bytesPerChangePerNode: 'bytes per change and node, beyond idle',
  changeHopsMean: 'hops of a change, mean',
  changeHopsMax: 'hops of a change, most',
  changeP50Ms: 'change seen, p50 ms',
  changeP99Ms: 'change seen, p99 ms',
  leavingBytesPerNodePerSecond: 'bytes per node and second, with a leave every 4 s',
  leaveHopsMean: 'hops of a leave, mean',
  leaveP99Ms: 'leave seen, p99 ms',
  joiningBytesPerNodePerSecond: 'bytes per node and second, with a join every 4 s',
  joinHopsMean: 'hops while joining, mean',
  joinFullViewP50Ms: "newcomer's view full, p50 ms",
  utilisation: 'cores used',
}

export const calibrationTable = (
  { real, simulated }: { real: BedFigures; simulated: BedFigures },
  { nodes, seed }: { nodes: number; seed: string },
): string => {
  const { date, machine } = environment()
  const table = new Table({ head: ['', 'real', 'simulated', 'ratio'], style: { head: [], border: [] } })
  for (const [key, title] of Object.entries(titles) as [keyof BedFigures, string][]) {
    const ratio = key === 'utilisation' ? '' : (simulated[key] / real[key]).toFixed(2)
    table.push([title, figure(real[key]), figure(simulated[key]), ratio])
  }
  const busy =
    real.utilisation > 0.5
      ? [`The real nodes used ${figure(real.utilisation)} of a core: their times measure the queue for it.`]
      : []
  return [`${nodes} nodes, seed ${seed}, ${date}, ${machine}`, ...busy, table.toString()].join('\n')
}
