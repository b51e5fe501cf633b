/**
 * `npm run bench -- NAME [--json]`: runs one benchmark, or all, and prints its rows as a table or as one JSON array.
 * Each runs in a process of its own, so that one's heap and compiled code are not the next one's.
 */
import { spawnSync } from 'node:child_process'
import { readFileSync } from 'node:fs'
import { cpus, release, totalmem } from 'node:os'
import { join } from 'node:path'
import { parseArgs } from 'node:util'
import Table from 'cli-table3'
import type { BenchRow } from './row.ts'

const root = join(import.meta.dirname, '..', '..')
const names = ['rpc', 'bulk', 'route', 'view', 'footprint'] as const
const inThisProcess = 'GODEL_BENCH_ALONE'

type Name = (typeof names)[number]

const versionOf = (folder: string): string => {
  try {
    return JSON.parse(readFileSync(join(root, folder, 'package.json'), 'utf8')).version
  } catch {
    return 'not installed'
  }
}

const machine = (): string[] => [
  `${cpus()[0]?.model ?? 'unknown processor'}, ${cpus().length} cores, ${Math.round(totalmem() / 2 ** 30)} GiB, ${process.platform} ${release()}`,
  `node ${process.version}, godel-node ${versionOf('.')}, libp2p ${versionOf('node_modules/libp2p')}, ` +
    `grpc-js ${versionOf('node_modules/@grpc/grpc-js')}`,
]

/** Three significant figures, and no exponent for what a person can read. */
const figure = (value: number): string =>
  Math.abs(value) >= 1_000 ? Math.round(value).toLocaleString('en') : String(Number(value.toPrecision(3)))

const table = (rows: readonly BenchRow[]): string => {
  const out = new Table({
    head: ['bench', 'case', 'value', 'unit', 'peer', "peer's value", 'ratio', 'runs', 'spread'],
    style: { head: [], border: [] },
  })
  for (const row of rows) {
    out.push([
      row.bench,
      row.case,
      figure(row.value),
      row.unit,
      row.peer ?? '',
      row.peerValue === undefined ? '' : figure(row.peerValue),
      row.ratio === undefined ? '' : figure(row.ratio),
      row.runs,
      `${(row.spread * 100).toFixed(0)} %`,
    ])
  }
  return out.toString()
}

const runHere = async (name: Name): Promise<BenchRow[]> => {
  const bench: { run(): Promise<BenchRow[]> } = await import(`./${name}.ts`)
  return bench.run()
}

/** Runs one benchmark in a process of its own. What it says on the way goes to standard error. */
const runAlone = (name: Name): BenchRow[] => {
  process.stderr.write(`bench ${name}\n`)
  const child = spawnSync(process.execPath, [import.meta.filename, name, '--json'], {
    encoding: 'utf8',
    env: { ...process.env, [inThisProcess]: '1' },
    stdio: ['ignore', 'pipe', 'inherit'],
    maxBuffer: 2 ** 26,
  })
  if (child.status !== 0) throw new Error(`bench ${name} failed with ${child.status ?? child.signal}`)
  return JSON.parse(child.stdout)
}

const { values, positionals } = parseArgs({ allowPositionals: true, options: { json: { type: 'boolean' } } })
const wanted = positionals[0] === 'all' ? names : names.filter((name) => name === positionals[0])

if (wanted.length === 0 || positionals.length !== 1) {
  process.stderr.write(`Usage: npm run bench -- ${names.join('|')}|all [--json]\n`)
  process.exitCode = 2
} else if (process.env[inThisProcess] !== undefined) {
  console.log(JSON.stringify(await runHere(wanted[0]!)))
} else {
  const rows = wanted.flatMap(runAlone)
  if (values.json) console.log(JSON.stringify(rows, null, 2))
  else console.log([...machine(), table(rows)].join('\n'))
}
