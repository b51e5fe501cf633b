/**
 * The processes behind an exec: how they are started, told to end, and how it is known what became of them, directly or
 * through the report of a sandbox (see `bootScript` in sandbox.ts).
 */
import { spawn, type ChildProcess } from 'node:child_process'
import { closeSync } from 'node:fs'
import { stat } from 'node:fs/promises'
import { Socket } from 'node:net'
import { constants } from 'node:os'
import type { Readable, Writable } from 'node:stream'
import { GodelError, reasonOf } from '../base/errors.ts'
import { handedDown } from './descriptors.ts'
import type { ExecDeps, ExecOrder } from './exec.ts'
import type { Pipe } from './pipes.ts'
import type { Launch } from './sandbox.ts'

export interface Exit {
  code: number | null
  signal: string | null
}

export interface Command extends Streams {
  /** Resolves when the command itself runs; EXEC_FAILED or SANDBOX_FAILED when it never will. */
  ready: Promise<void>
  /** Resolves, and never rejects, when the command and all that belongs to it is gone. */
  ended: Promise<Exit>
  hasExited(): boolean
  /** TERM to the command's process group; KILL to all of it after `limits.execKillGraceMs`. */
  terminate(): void
  /** Closes the pipes. */
  release(): void
}

/** Starts a command, registered with the watchdog. EXEC_FAILED, INVALID_ARGUMENT. */
export const startCommand = async (deps: ExecDeps, order: ExecOrder): Promise<Command> => {
  const { agent, execId, sandbox, dirs, spec } = order
  const launch = sandbox.launch({
    agent,
    workspace: dirs.workspace,
    home: dirs.home,
    command: spec.command,
    args: spec.args ?? [],
    env: spec.env ?? {},
    marks: deps.watchdog.marks(agent, execId),
    ...(spec.cwd !== undefined && { cwd: spec.cwd }),
  })
  const isDirectory = await stat(launch.cwd).then(
    (entry) => entry.isDirectory(),
    () => false,
  )
  if (!isDirectory) throw failed(order, noDirectory(spec.cwd))
  const launched = await launchProcess(deps, launch, order)
  const { pid } = launched.child
  if (pid !== undefined) deps.watchdog.started(agent, execId, pid)
  return launch.reports ? sandboxedCommand(deps, order, launched) : bareCommand(deps, order, launched)
}

const failed = ({ spec }: ExecOrder, reason: string): GodelError =>
  new GodelError({ code: 'EXEC_FAILED', command: spec.command, reason })

const noDirectory = (cwd: string | undefined): string => `the directory ${cwd ?? 'of the workspace'} does not exist`

interface Streams {
  stdin: Writable | null
  stdout: Readable
  stderr: Readable
}

interface Launched extends Streams {
  child: ChildProcess
}

const launchProcess = async (deps: ExecDeps, launch: Launch, order: ExecOrder): Promise<Launched> => {
  const output = await deps.pipes?.take()
  const errors = await deps.pipes?.take()
  const stdio: ('pipe' | 'ignore' | number)[] = [
    order.stdin ? 'pipe' : 'ignore',
    output?.theirs ?? 'pipe',
    errors?.theirs ?? 'pipe',
  ]
  if (launch.reports) stdio.push('pipe', 'ignore', 'pipe', ...launch.inputs.map(() => 'pipe' as const))
  for (const { descriptor, nothing } of handedDown()) stdio[descriptor] ??= nothing
  const streams = [output, errors].map((pipe) => pipe && readerOf(pipe))
  try {
    const child = spawn(launch.file, launch.args, {
      cwd: launch.cwd,
      env: launch.env,
      // A session and a process group of its own, so that signals find all of it and none of the node.
      detached: true,
      stdio: Array.from(stdio, (entry) => entry ?? 'ignore'),
    })
    for (const stream of extraStreams(child)) stream?.on('error', () => {})
    launch.inputs.forEach((text, index) => (extraStreams(child)[6 + index] as Writable | undefined)?.end(text))
    return {
      child,
      stdin: child.stdin,
      stdout: streams[0] ?? child.stdout!,
      stderr: streams[1] ?? child.stderr!,
    }
  } catch (error) {
    for (const stream of streams) stream?.destroy()
    throw failed(order, reasonOf(error))
  } finally {
    for (const pipe of [output, errors]) if (pipe) closeSync(pipe.theirs)
  }
}

const readerOf = (pipe: Pipe): Readable => {
  const stream = new Socket({ fd: pipe.own, readable: true, writable: false })
  stream.on('error', () => {})
  return stream
}

/** Node types five streams only. */
const extraStreams = (child: ChildProcess): readonly (Readable | Writable | null | undefined)[] => child.stdio

/** What both levels share: the exit of the child, then the end of what it left, then the watchdog is told. */
const commandOf = (
  { clock, limits, watchdog }: ExecDeps,
  { agent, execId }: ExecOrder,
  { child, ...streams }: Launched,
  parts: {
    ready: Promise<void>
    signal: (signal: 'SIGTERM' | 'SIGKILL') => void
    afterExit: (exit: Exit) => Promise<Exit>
  },
): Command => {
  let exited = false
  const exit = new Promise<Exit>((resolve) => {
    const over = (result: Exit) => {
      exited = true
      resolve(result)
    }
    child.once('exit', (code, signal) => over({ code, signal }))
    child.once('error', () => child.pid === undefined && over({ code: null, signal: null }))
  })
  const ended = exit.then(parts.afterExit).finally(() => watchdog.ended(agent, execId))
  parts.ready.catch(() => {})
  return {
    ...streams,
    ready: parts.ready,
    ended,
    hasExited: () => exited,
    terminate() {
      if (exited) return
      parts.signal('SIGTERM')
      const timer = clock.after(limits.execKillGraceMs, () => exited || parts.signal('SIGKILL'))
      void exit.then(() => timer.cancel())
    },
    release() {
      for (const stream of [...extraStreams(child), ...Object.values(streams)]) stream?.destroy()
    },
  }
}

/** True when there was such a process. */
const send = (pid: number, signal: 'SIGTERM' | 'SIGKILL'): boolean => {
  try {
    return process.kill(pid, signal)
  } catch {
    return false
  }
}

const bareCommand = (deps: ExecDeps, order: ExecOrder, launched: Launched): Command => {
  const { child } = launched
  const { pid } = child
  const ready = new Promise<void>((resolve, reject) => {
    child.once('spawn', resolve)
    child.once('error', (error: NodeJS.ErrnoException) => {
      reject(failed(order, error.code === 'ENOENT' ? 'there is no such command' : error.message))
    })
  })
  return commandOf(deps, order, launched, {
    ready,
    signal: (signal) => void (pid !== undefined && send(-pid, signal)),
    async afterExit(exit) {
      if (pid === undefined) return exit
      // The group at once, before its number can mean anything else; then whatever left the group.
      send(-pid, 'SIGKILL')
      await deps.watchdog.endExec(order.agent, order.execId)
      return exit
    },
  })
}

const sandboxedCommand = (deps: ExecDeps, order: ExecOrder, launched: Launched): Command => {
  const { child } = launched
  const report = readReport(extraStreams(child)[3] as Readable, deps.limits.execReportBytesMax)
  const init = readInitPid(extraStreams(child)[5] as Readable)
  const ready = report.firstLine.then((line) => {
    if (line === 'ready') return
    if (line === 'directory') throw failed(order, noDirectory(order.spec.cwd))
    if (line === 'missing') throw failed(order, 'there is no such command in the sandbox')
    if (line === 'denied') throw failed(order, 'it is not an executable file')
    const said = String(launched.stderr.read() ?? '').trim()
    throw new GodelError({
      code: 'SANDBOX_FAILED',
      reason: said.slice(0, 1_024) || 'bwrap could not be started',
    })
  })
  return commandOf(deps, order, launched, {
    ready,
    signal(signal) {
      // bwrap passes no signal on: its group inside is told directly. The end of its pid 1 is the end of all.
      const pid = init.pid()
      if (signal === 'SIGTERM' && pid !== undefined && report.isReady() && send(-pid, signal)) return
      if (pid === undefined || !send(pid, 'SIGKILL')) child.kill('SIGKILL')
    },
    async afterExit(exit) {
      await report.over
      // When bwrap itself was killed, the kernel kills its pid 1, a moment later.
      if (exit.signal !== null) await deps.watchdog.endExec(order.agent, order.execId)
      return exitInside(exit, report.text())
    },
  })
}

const signalNames = new Map(Object.entries(constants.signals).map(([name, number]) => [number, name]))

/**
 * What became of a command in a sandbox. Its pid 1 gives 128 + n for signal n as shells do, and what it says between
 * `ready` and `end` tells that from an exit with such a code. Without an `end` pid 1 was killed, and all with it.
 */
export const exitInside = (exit: Exit, report: string): Exit => {
  if (exit.signal !== null || exit.code === null) return exit
  const lines = report.split('\n').filter((line) => line !== '')
  if (lines[0] === 'ready' && lines.at(-1) !== 'end') return { code: null, signal: 'SIGKILL' }
  const signal = signalNames.get(exit.code - 128)
  return lines.length > 2 && signal !== undefined ? { code: null, signal } : exit
}

const readReport = (stream: Readable, bytesMax: number) => {
  const firstLine = Promise.withResolvers<string>()
  const over = Promise.withResolvers<void>()
  let text = ''
  stream.setEncoding('utf8')
  stream.on('data', (part: string) => {
    // The last line matters as much as the first, so what is too much goes from the middle.
    text += part
    if (text.length > bytesMax) text = text.slice(0, bytesMax / 2) + text.slice(-bytesMax / 2)
    if (text.includes('\n')) firstLine.resolve(text.slice(0, text.indexOf('\n')))
  })
  for (const event of ['end', 'close', 'error'])
    stream.on(event, () => {
      firstLine.resolve('')
      over.resolve()
    })
  return {
    firstLine: firstLine.promise,
    over: over.promise,
    text: () => text,
    isReady: () => text.startsWith('ready\n'),
  }
}

/** The pid, on the host, of pid 1 of the sandbox: bwrap says `{ "child-pid": N, … }` first. */
const readInitPid = (stream: Readable) => {
  let text = ''
  let pid: number | undefined
  stream.setEncoding('utf8')
  stream.on('data', (part: string) => {
    if (pid !== undefined) return
    text += part
    pid = Number(/"child-pid":\s*(\d+)/.exec(text)?.[1] ?? Number.NaN) || undefined
  })
  return { pid: () => pid }
}
