/** Everything that a command of an agent needs, real, in a temporary data directory. */
import { mkdir, mkdtemp } from 'node:fs/promises'
import { randomBytes } from 'node:crypto'
import { tmpdir } from 'node:os'
import path from 'node:path'
import type { Isolation } from '../../src/base/advertisement.ts'
import type { ExecEvent, ExecSpec } from '../../src/base/agent.ts'
import type { Clock } from '../../src/base/clock.ts'
import { mintId } from '../../src/base/ids.ts'
import { limits as defaults } from '../../src/base/limits.ts'
import { silentLog, type Log } from '../../src/base/log.ts'
import { createPipes } from '../../src/agents/pipes.ts'
import { runExec } from '../../src/agents/exec.ts'
import { createSandbox, probeIsolation } from '../../src/agents/sandbox.ts'
import { startWatchdog } from '../../src/agents/watchdog.ts'
import { removeTree, type AgentDirs } from '../../src/agents/workspaces.ts'

/** A clock of the real world, which the rooms are not allowed to make. */
export const wallClock: Clock = {
  wallMs: () => Date.now(),
  monotonicMs: () => performance.now(),
  after(delayMs, fn) {
    const timer = setTimeout(fn, delayMs)
    return { cancel: () => clearTimeout(timer) }
  },
}

/** The levels that this host can run. What cannot be run is said aloud. */
export const probedLevels = async (): Promise<Isolation[]> => {
  const probe = await probeIsolation()
  if (probe.level === 'none') process.stderr.write(`NOT RUN at level bwrap: ${probe.reason}\n`)
  return probe.level === 'none' ? ['none'] : ['bwrap', 'none']
}

export interface Finished {
  events: ExecEvent[]
  stdout: Buffer
  stderr: Buffer
  exit: Extract<ExecEvent, { type: 'exit' }>
}

export const collect = async (source: AsyncIterable<ExecEvent>): Promise<Finished> => {
  const events: ExecEvent[] = []
  for await (const event of source) events.push(event)
  const of = (stream: string) =>
    Buffer.concat(events.flatMap((event) => (event.type === 'output' && event.stream === stream ? [event.data] : [])))
  return { events, stdout: of('stdout'), stderr: of('stderr'), exit: events.at(-1) as Finished['exit'] }
}

export const createExecRig = async ({
  log = silentLog,
  limits = {},
}: { log?: Log; limits?: Partial<typeof defaults> } = {}) => {
  const dataDir = await mkdtemp(path.join(tmpdir(), 'godel-exec-'))
  const nodeMark = randomBytes(16).toString('hex')
  const deps = { clock: wallClock, log, limits: { ...defaults, execKillGraceMs: 300, ...limits } }
  const watchdog = await startWatchdog(deps, { dataDir, nodeMark })
  const pipes = await createPipes(deps, { dataDir })
  const agent = mintId('ag', Date.now())

  const dirsOf = async (id: string): Promise<AgentDirs> => {
    const root = path.join(dataDir, 'agents', id)
    const dirs = { root, workspace: path.join(root, 'workspace'), home: path.join(root, 'home') }
    for (const dir of [dirs.workspace, dirs.home]) await mkdir(dir, { recursive: true, mode: 0o700 })
    return dirs
  }
  const dirs = await dirsOf(agent)

  const run = (
    level: Isolation,
    spec: ExecSpec,
    options: { stdin?: AsyncIterable<Uint8Array>; signal?: AbortSignal; agent?: string } = {},
  ) =>
    runExec(
      { ...deps, watchdog, pipes },
      {
        agent: options.agent ?? agent,
        epoch: 3,
        execId: mintId('ex', Date.now()),
        sandbox: createSandbox(level, { hide: [dataDir] }),
        dirs,
        spec,
        stdin: options.stdin,
        signal: options.signal ?? new AbortController().signal,
      },
    )

  return {
    ...deps,
    dataDir,
    nodeMark,
    agent,
    dirs,
    dirsOf,
    watchdog,
    run,
    /** Runs a script of `sh` to its end. */
    sh: (
      level: Isolation,
      script: string,
      options: Parameters<typeof run>[2] & Omit<Partial<ExecSpec>, 'stdin'> = {},
    ) => {
      const { stdin, signal, agent: other, ...spec } = options
      return collect(
        run(
          level,
          { command: 'sh', args: ['-c', script], ...spec },
          { ...(stdin && { stdin }), ...(signal && { signal }), ...(other && { agent: other }) },
        ),
      )
    },
    async close() {
      await watchdog.close()
      await pipes.close()
      await removeTree(dataDir)
    },
  }
}

export type ExecRig = Awaited<ReturnType<typeof createExecRig>>
