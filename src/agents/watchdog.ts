/**
 * The node's side of the watchdog: starts it, tells it of every process tree, asks it to end some, and starts another
 * one when it dies. What a mark in the environment cannot find (see processes.ts) a pid namespace holds, where there is
 * one.
 */
import { spawn, type ChildProcess } from 'node:child_process'
import { mkdir, readFile, rename, writeFile } from 'node:fs/promises'
import path from 'node:path'
import { fileURLToPath } from 'node:url'
import type { Clock, Timer } from '../base/clock.ts'
import { GodelError } from '../base/errors.ts'
import type { Limits } from '../base/limits.ts'
import type { Log } from '../base/log.ts'
import { readProcess, type TreeRoot } from './processes.ts'
import {
  agentVariable,
  createLines,
  execVariable,
  nodeVariable,
  type EndScope,
  type FromWatchdog,
  type ToWatchdog,
} from './watchdog-protocol.ts'

export interface Watchdog {
  /** The pid of the watchdog process, while it has one. */
  pid(): number | undefined
  /** The variables that mark the processes of one exec. */
  marks(agent: string, execId: string): Record<string, string>
  /** Call at once when a process was spawned. It must lead its own session. */
  started(agent: string, execId: string, pid: number): void
  ended(agent: string, execId: string): void
  /** Ends what is left of one exec. Resolves when it is gone, or after `limits.watchdogAnswerMs`. */
  endExec(agent: string, execId: string): Promise<void>
  /** Ends every process of an agent, likewise. */
  endAgent(agent: string): Promise<void>
  /** Ends all trees, and the watchdog. */
  close(): Promise<void>
}

export interface WatchdogDeps {
  log: Log
  clock: Clock
  limits: Pick<
    Limits,
    | 'watchdogStartMs'
    | 'watchdogAnswerMs'
    | 'watchdogRestartMs'
    | 'watchdogRounds'
    | 'watchdogPauseMs'
    | 'stopTimeoutMs'
  >
}

const markPattern = /^[A-Za-z0-9_-]{16,128}$/

/**
 * Starts the watchdog of a node, and ends whatever an earlier node of the same data directory left behind. `nodeMark` is
 * random and new for each start of a node: INVALID_ARGUMENT unless it is 16 to 128 letters or digits. INTERNAL when the
 * process cannot be started.
 */
export const startWatchdog = async (
  deps: WatchdogDeps,
  options: { dataDir: string; nodeMark: string },
): Promise<Watchdog> => {
  if (!markPattern.test(options.nodeMark))
    throw new GodelError({ code: 'INVALID_ARGUMENT', field: 'nodeMark', reason: 'is not a mark' })
  const line = createWatchdogLine(deps, options.nodeMark)
  await line.ready()
  await sweepEarlier(deps, line, options)
  return watchdogOn(line, options.nodeMark)
}

const watchdogOn = (line: WatchdogLine, nodeMark: string): Watchdog => ({
  pid: () => line.pid(),
  marks: (agent, execId) => ({ [nodeVariable]: nodeMark, [agentVariable]: agent, [execVariable]: execId }),
  started(agent, execId, pid) {
    const startTicks = process.platform === 'linux' ? readProcess(pid)?.startTicks : ''
    if (startTicks !== undefined) line.register(execId, { agent, root: { pid, startTicks } })
  },
  ended: (_agent, execId) => line.unregister(execId),
  endExec: (agent, exec) => line.end({ node: nodeMark, agent, exec }),
  endAgent: (agent) => line.end({ node: nodeMark, agent }),
  close: () => line.close(),
})

/** The mark of the node that ran here before is kept in a file, so that what bears it can be found. */
const sweepEarlier = async (
  { log }: WatchdogDeps,
  line: WatchdogLine,
  { dataDir, nodeMark }: { dataDir: string; nodeMark: string },
): Promise<void> => {
  const file = path.join(dataDir, 'node.mark')
  const earlier = (await readFile(file, 'utf8').catch(() => '')).trim()
  if (markPattern.test(earlier) && earlier !== nodeMark) {
    log.debug('ending what an earlier node left behind')
    await line.end({ node: earlier })
  }
  await mkdir(dataDir, { recursive: true, mode: 0o700 })
  await writeFile(`${file}.new`, `${nodeMark}\n`, { mode: 0o600 })
  await rename(`${file}.new`, file)
}

interface Registration {
  agent: string
  root: TreeRoot
}

interface WatchdogLine {
  pid(): number | undefined
  ready(): Promise<void>
  register(exec: string, entry: Registration): void
  unregister(exec: string): void
  end(scope: EndScope): Promise<void>
  close(): Promise<void>
}

/** The line to the process: what was registered and asked for is said again when the process had to be replaced. */
const createWatchdogLine = ({ log, clock, limits }: WatchdogDeps, nodeMark: string): WatchdogLine => {
  const registered = new Map<string, Registration>()
  const asked = new Map<number, { scope: EndScope; done: () => void }>()
  const opened = Promise.withResolvers<void>()
  let child: ChildProcess | undefined
  let closing = false
  let lastId = 0
  let restart: Timer | undefined

  const tell = (message: ToWatchdog): void => void child?.stdin?.write(`${JSON.stringify(message)}\n`)

  const onMessage = (message: FromWatchdog): void => {
    if (message.type === 'ready') {
      opened.resolve()
      holdNode(child, asked.size > 0)
      return
    }
    if (message.left > 0) log.error('processes could not be ended', { left: message.left })
    asked.get(message.id)?.done()
  }

  const open = (): void => {
    const startedAtMs = clock.monotonicMs()
    const started = spawnWatchdog(onMessage)
    child = started
    tell({ type: 'options', nodeMark, rounds: limits.watchdogRounds, pauseMs: limits.watchdogPauseMs })
    let over = false
    const onOver = (why: string): void => {
      if (over) return
      over = true
      child = undefined
      if (closing) return
      log.warn('the watchdog ended and is started again', { why, trees: registered.size })
      const young = clock.monotonicMs() - startedAtMs < limits.watchdogRestartMs
      if (young) restart = clock.after(limits.watchdogRestartMs, open)
      else open()
    }
    started.once('error', (error) => onOver(error.message))
    started.once('exit', (code, signal) => onOver(signal ?? `exit code ${code}`))
    for (const [exec, entry] of registered) tell({ type: 'started', exec, ...entry })
    for (const [id, { scope }] of asked) tell({ type: 'end', id, scope })
  }
  open()

  return {
    pid: () => child?.pid,
    ready: () => within(clock, limits.watchdogStartMs, opened.promise),
    register(exec, entry) {
      registered.set(exec, entry)
      tell({ type: 'started', exec, ...entry })
    },
    unregister(exec) {
      if (registered.delete(exec)) tell({ type: 'ended', exec })
    },
    end(scope) {
      if (closing) return Promise.resolve()
      const id = ++lastId
      return new Promise((resolve) => {
        const done = () => {
          late.cancel()
          asked.delete(id)
          holdNode(child, asked.size > 0)
          resolve()
        }
        const late = clock.after(limits.watchdogAnswerMs, () => {
          log.error('the watchdog does not answer')
          done()
        })
        asked.set(id, { scope, done })
        holdNode(child, true)
        tell({ type: 'end', id, scope })
      })
    },
    async close() {
      closing = true
      restart?.cancel()
      if (child) await closeChild(child, clock, limits.stopTimeoutMs)
      for (const { done } of [...asked.values()]) done()
    },
  }
}

/** The source runs as TypeScript, the package as JavaScript: the process is the neighbour with the same ending. */
const mainFile = fileURLToPath(
  new URL(import.meta.url.endsWith('.ts') ? './watchdog-main.ts' : './watchdog-main.js', import.meta.url),
)

const spawnWatchdog = (onMessage: (message: FromWatchdog) => void): ChildProcess => {
  // A session of its own, so that what a terminal sends to the node does not reach it.
  const child = spawn(process.execPath, ['--max-old-space-size=32', mainFile], {
    cwd: '/',
    env: {},
    detached: true,
    stdio: ['pipe', 'pipe', 'ignore'],
  })
  child.stdin.on('error', () => {})
  child.stdout.setEncoding('utf8')
  child.stdout.on(
    'data',
    createLines((line) => onMessage(JSON.parse(line) as FromWatchdog)),
  )
  return child
}

/** Whether the process keeps the node alive: only while something is awaited of it. */
const holdNode = (child: ChildProcess | undefined, hold: boolean): void => {
  for (const part of [child, child?.stdin, child?.stdout] as (
    Partial<Pick<ChildProcess, 'ref' | 'unref'>> | undefined
  )[])
    if (hold) part?.ref?.()
    else part?.unref?.()
}

/** Closing its input is what makes the watchdog end everything. */
const closeChild = (child: ChildProcess, clock: Clock, timeoutMs: number): Promise<void> =>
  new Promise((resolve) => {
    if (child.exitCode !== null || child.signalCode !== null) return resolve()
    const late = clock.after(timeoutMs, () => child.kill('SIGKILL'))
    holdNode(child, true)
    child.once('exit', () => {
      late.cancel()
      resolve()
    })
    child.stdin?.end()
  })

const within = <T>(clock: Clock, timeoutMs: number, promise: Promise<T>): Promise<T> =>
  new Promise((resolve, reject) => {
    const late = clock.after(timeoutMs, () =>
      reject(new GodelError({ code: 'INTERNAL', reason: `the watchdog did not start within ${timeoutMs} ms` })),
    )
    promise.then(resolve, reject).finally(() => late.cancel())
  })
