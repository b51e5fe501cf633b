/**
 * What a node costs that does nothing, and how long a person waits: memory and processor time of idle nodes in a realm
 * of three, the time to the ready line, and the time of a command. All of it through the launcher, as a person runs it,
 * with the machine's own Node outside. Linux only: it reads /proc.
 */
import { spawn, spawnSync, type ChildProcess } from 'node:child_process'
import { once } from 'node:events'
import { mkdtempSync, readdirSync, readFileSync, rmSync } from 'node:fs'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { createInterface } from 'node:readline'
import { setTimeout as sleep } from 'node:timers/promises'
import { outerNode, outerPath } from '../outer-node.ts'
import { median, spread, type BenchRow } from './row.ts'

const launcher = join(import.meta.dirname, '..', '..', 'bin', 'godel-node.cjs')
const settleMs = 10_000
const idleMs = 20_000
const readyRuns = 5
const commandRuns = 15
const clockTicksPerSecond = 100 // USER_HZ, the same on every Linux

const node = outerNode()?.path ?? process.execPath
const env = { ...process.env, PATH: outerPath(), NO_COLOR: '1' }

interface Started {
  child: ChildProcess
  dataDir: string
  readyAfterMs: number
}

async function start(name: string, join?: string): Promise<Started> {
  const dataDir = mkdtempSync(`${tmpdir()}/godel-bench-`)
  const joining = join === undefined ? [] : ['--join', join]
  const args = ['start', '--json', '--realm', 'bench', '--name', name, '--data-dir', dataDir, ...joining]
  const startedAt = performance.now()
  const child = spawn(node, [launcher, ...args, '--api-port', '0', '--listen', '/ip4/127.0.0.1/tcp/0'], {
    env,
    stdio: ['ignore', 'pipe', 'inherit'],
  })
  for await (const line of createInterface({ input: child.stdout! })) {
    if (JSON.parse(line).event === 'ready') return { child, dataDir, readyAfterMs: performance.now() - startedAt }
  }
  throw new Error(`node ${name} ended before it was ready`)
}

async function stop({ child, dataDir }: Started): Promise<void> {
  if (child.exitCode === null && child.signalCode === null) {
    child.kill('SIGTERM')
    await once(child, 'exit')
  }
  rmSync(dataDir, { recursive: true, force: true })
}

const command = (args: string[]): string => {
  const { status, stdout, stderr } = spawnSync(node, [launcher, ...args], { env, encoding: 'utf8' })
  if (status !== 0) throw new Error(`godel-node ${args.join(' ')} ended with ${status}: ${stderr}`)
  return stdout
}

/** The fields of /proc/PID/stat after the name, which may hold anything. */
const statOf = (pid: number): string[] => {
  const text = readFileSync(`/proc/${pid}/stat`, 'utf8')
  return text.slice(text.lastIndexOf(')') + 2).split(' ')
}

/** A process and all that it started: the launcher, the node, the node's watchdog. */
function treeOf(pid: number): number[] {
  const parents = readdirSync('/proc')
    .filter((name) => /^\d+$/.test(name))
    .flatMap((name) => {
      try {
        return [[Number(name), Number(statOf(Number(name))[1])] as const]
      } catch {
        return [] // it ended meanwhile
      }
    })
  const below = (parent: number): number[] =>
    parents.filter(([, of]) => of === parent).flatMap(([each]) => [each, ...below(each)])
  return [pid, ...below(pid)]
}

const cpuSeconds = (pid: number): number => {
  const stat = statOf(pid)
  return (Number(stat[11]) + Number(stat[12])) / clockTicksPerSecond
}

const megabytes = (file: string, field: string): number =>
  (Number(new RegExp(`^${field}:\\s+(\\d+) kB`, 'm').exec(readFileSync(file, 'utf8'))?.[1]) * 1024) / 1e6

const row = (name: string, unit: string, values: number[]): BenchRow => ({
  bench: 'footprint',
  case: name,
  value: median(values),
  unit,
  runs: values.length,
  spread: spread(values),
})

async function measureIdle(nodes: readonly Started[]): Promise<BenchRow[]> {
  await sleep(settleMs)
  const trees = nodes.map(({ child }) => treeOf(child.pid!))
  const used = (): number[] => trees.map((tree) => tree.map(cpuSeconds).reduce((sum, each) => sum + each, 0))
  const before = used()
  const from = performance.now()
  await sleep(idleMs)
  const seconds = (performance.now() - from) / 1_000
  const cpu = used().map((after, index) => ((after - before[index]!) / seconds) * 100)
  const own = nodes.map(({ dataDir }) => JSON.parse(readFileSync(join(dataDir, 'api.json'), 'utf8')).pid as number)
  return [
    row(
      'rss',
      'MB',
      own.map((pid) => megabytes(`/proc/${pid}/status`, 'VmRSS')),
    ),
    // Shared pages are counted once: with the launcher and the watchdog.
    row(
      'pss-all-processes',
      'MB',
      trees.map((tree) =>
        tree.map((pid) => megabytes(`/proc/${pid}/smaps_rollup`, 'Pss')).reduce((sum, each) => sum + each, 0),
      ),
    ),
    row('idle-cpu', '% of a core', cpu),
  ]
}

function measureCommands(dataDir: string): BenchRow[] {
  const timed = (args: string[]): number[] =>
    Array.from({ length: commandRuns }, () => {
      const from = performance.now()
      command(args)
      return performance.now() - from
    })
  return [
    row('cli-start', 'ms', timed(['agent', 'list', '--data-dir', dataDir])),
    row('cli-version', 'ms', timed(['--version'])),
  ]
}

async function measureReady(): Promise<BenchRow> {
  const seconds: number[] = []
  for (let run = 0; run < readyRuns; run++) {
    const started = await start(`ready-${run}`)
    seconds.push(started.readyAfterMs / 1_000)
    await stop(started)
  }
  return row('ready', 's', seconds)
}

export async function run(): Promise<BenchRow[]> {
  const ready = await measureReady()
  const nodes = [await start('bench-a')]
  try {
    const dataDir = nodes[0]!.dataDir
    const { token } = JSON.parse(command(['realm', 'invite', '--uses', '2', '--json', '--data-dir', dataDir]))
    nodes.push(await start('bench-b', token), await start('bench-c', token))
    return [...(await measureIdle(nodes)), ready, ...measureCommands(dataDir)]
  } finally {
    await Promise.all(nodes.map(stop))
  }
}
