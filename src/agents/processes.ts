/**
 * Processes of the host as /proc shows them, and how to end a tree of them. Everything here is synchronous, since it runs
 * in the watchdog, which has nothing else to do. Without /proc (macOS) the tables are empty, and process groups are all
 * that can be ended.
 */
import { readdirSync, readFileSync } from 'node:fs'

export interface ProcessRow {
  pid: number
  parent: number
  group: number
  session: number
  /** Clock ticks since boot; tells a process from a later one with the same pid. */
  startTicks: string
  /** True when it has ended and only waits for its parent to notice. */
  ended: boolean
}

/** One process, or undefined when there is none. Fields as of proc_pid_stat(5). */
export const readProcess = (pid: number): ProcessRow | undefined => {
  let stat: string
  try {
    stat = readFileSync(`/proc/${pid}/stat`, 'latin1')
  } catch {
    return undefined
  }
  // The name in parentheses may hold anything, so the fields are counted from its last parenthesis.
  const fields = stat.slice(stat.lastIndexOf(')') + 2).split(' ')
  const [state, parent, group, session] = fields
  return {
    pid,
    parent: Number(parent),
    group: Number(group),
    session: Number(session),
    startTicks: fields[19] ?? '',
    ended: state === 'Z' || state === 'X',
  }
}

/** Every process of the host. */
export const listProcesses = (): ProcessRow[] => {
  let names: string[]
  try {
    names = readdirSync('/proc')
  } catch {
    return []
  }
  return names.filter((name) => /^\d+$/.test(name)).flatMap((name) => readProcess(Number(name)) ?? [])
}

/** True when the environment that the process was started with holds every one of `marks`. False where it cannot be read. */
export const isMarked = (pid: number, marks: Record<string, string>): boolean => {
  let environ: string
  try {
    environ = `\0${readFileSync(`/proc/${pid}/environ`, 'latin1')}`
  } catch {
    return false
  }
  return Object.entries(marks).every(([name, value]) => environ.includes(`\0${name}=${value}\0`))
}

/** The root of a tree that was registered: its pid and when it started. It led its own session and group. */
export interface TreeRoot {
  pid: number
  startTicks: string
}

/**
 * The living processes of the trees: the roots with their sessions and groups, every process with one of the `marks`,
 * and the descendants of all of these.
 */
export const findTree = (roots: readonly TreeRoot[], marks: Record<string, string>): ProcessRow[] => {
  const rows = listProcesses()
  const byPid = new Map(rows.map((row) => [row.pid, row]))
  // A pid stays taken while its session or group has members; where another process bears it now, ours has none left.
  const leaders = new Set(
    roots
      .filter(({ pid, startTicks }) => (byPid.get(pid)?.startTicks ?? startTicks) === startTicks)
      .map(({ pid }) => pid),
  )
  const found = new Set<number>()
  for (const row of rows) {
    const led = leaders.has(row.pid) || leaders.has(row.group) || leaders.has(row.session)
    if (led || isMarked(row.pid, marks)) found.add(row.pid)
  }
  for (let grown = found.size > 0; grown;) {
    grown = false
    for (const row of rows) {
      if (found.has(row.pid) || !found.has(row.parent)) continue
      found.add(row.pid)
      grown = true
    }
  }
  found.delete(process.pid)
  return rows.filter((row) => found.has(row.pid) && !row.ended)
}

const pauseCell = new Int32Array(new SharedArrayBuffer(4))
const pause = (durationMs: number): void => void Atomics.wait(pauseCell, 0, 0, durationMs)

/**
 * Kills the trees and looks again until nothing of them is found, `rounds` times at most, with a pause between that lets
 * the kernel do its part. Gives what is left: empty, but for processes that hang in the kernel.
 */
export const endTree = (
  roots: readonly TreeRoot[],
  marks: Record<string, string>,
  bounds: { rounds: number; pauseMs: number },
): ProcessRow[] => {
  if (process.platform !== 'linux') for (const root of roots) send(-root.pid)
  let left = findTree(roots, marks)
  for (let round = 0; left.length > 0 && round < bounds.rounds; round++) {
    for (const row of left) kill(row)
    pause(round === 0 ? 1 : bounds.pauseMs)
    left = findTree(roots, marks)
  }
  return left
}

const kill = (row: ProcessRow): void => {
  if (readProcess(row.pid)?.startTicks === row.startTicks) send(row.pid)
}

const send = (pid: number): void => {
  try {
    process.kill(pid, 'SIGKILL')
  } catch {
    // It ended in between, or is another user's; the next look tells.
  }
}
