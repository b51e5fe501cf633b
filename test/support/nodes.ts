/** Real godel-node processes for the end-to-end tests, started through the launcher and spoken to by the real CLI. */
import { spawn, type ChildProcess } from 'node:child_process'
import { once } from 'node:events'
import { mkdtemp, readFile, rm } from 'node:fs/promises'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { createInterface } from 'node:readline'
import { fileURLToPath } from 'node:url'
import { takesOthers } from './isolation.ts'
import type { Machine } from './namespaces.ts'

const launcher = fileURLToPath(new URL('../../bin/godel-node.cjs', import.meta.url))

export interface Ready {
  event: 'ready'
  peerId: string
  name: string
  realm: { id: string; name: string }
  api: string
  listen: string[]
  dataDir: string
}

export interface Output {
  code: number | null
  signal: NodeJS.Signals | null
  stdout: string
  stderr: string
}

export interface TestNode {
  readonly name: string
  readonly dataDir: string
  readonly ready: Ready
  readonly process: ChildProcess
  readonly pid: number
  /** Runs a CLI command against this node and gives what it printed. */
  cli(args: string[], options?: RunOptions): Promise<Output>
  /** Runs a CLI command with --json and parses its output; a failure throws with what it printed. */
  json<T = any>(args: string[], options?: RunOptions): Promise<T>
  /** Sends a signal and waits for the end. */
  end(signal?: NodeJS.Signals): Promise<void>
  /** Starts it again on the same data directory. */
  restart(extra?: string[]): Promise<TestNode>
}

export interface RunOptions {
  input?: string | Buffer
  env?: Record<string, string>
  machine?: Machine | undefined
}

const commandOn = (machine: Machine | undefined, args: string[]): string[] => [
  ...(machine?.prefix ?? []),
  process.execPath,
  launcher,
  ...args,
]

const isolatedEnv = (extra: Record<string, string> = {}): NodeJS.ProcessEnv => {
  const { GODEL_URL: _url, GODEL_API_KEY: _key, GODEL_DATA_DIR: _dir, ...rest } = process.env
  return { ...rest, NO_COLOR: '1', ...extra }
}

/** Runs the CLI once, to its end. */
export const runCli = async (args: string[], { input, env, machine }: RunOptions = {}): Promise<Output> => {
  const [file, ...words] = commandOn(machine, args)
  const child = spawn(file!, words, { env: isolatedEnv(env), stdio: ['pipe', 'pipe', 'pipe'] })
  child.stdin.on('error', () => {})
  child.stdin.end(input)
  const out: Buffer[] = []
  const err: Buffer[] = []
  child.stdout.on('data', (part: Buffer) => out.push(part))
  child.stderr.on('data', (part: Buffer) => err.push(part))
  const [code, signal] = (await once(child, 'close')) as [number | null, NodeJS.Signals | null]
  return { code, signal, stdout: Buffer.concat(out).toString(), stderr: Buffer.concat(err).toString() }
}

/** A CLI command that goes on, such as an exec whose output is watched as it comes. */
export const openCli = (args: string[], env?: Record<string, string>): ChildProcess =>
  spawn(process.execPath, [launcher, ...args], { env: isolatedEnv(env), stdio: ['pipe', 'pipe', 'pipe'] })

export interface NodeSpec {
  name: string
  /** `lab` unless told; null for a node in none. */
  realm?: string | null
  join?: string
  args?: string[]
  /** Multiaddrs; one of the machine's own address with a free port unless told. */
  listen?: string[]
  dataDir?: string
  env?: Record<string, string>
  /** Where it runs and where its commands are given; this host unless told. */
  machine?: Machine
}

/** The nodes, directories and helpers of one test file; `dispose` ends and removes all of it. */
export const createTestBed = () => {
  const directories: string[] = []
  const running = new Set<ChildProcess>()

  const directory = async (name: string): Promise<string> => {
    const made = await mkdtemp(join(tmpdir(), `godel-${name}-`))
    directories.push(made)
    return made
  }

  const start = async (spec: NodeSpec): Promise<TestNode> => {
    const dataDir = spec.dataDir ?? (await directory(spec.name))
    const [file, ...args] = commandOn(spec.machine, [
      'start',
      ...['--json', '--name', spec.name, '--data-dir', dataDir],
      ...(spec.realm === null ? [] : ['--realm', spec.realm ?? 'lab']),
      ...['--api-port', '0'],
      ...(spec.listen ?? [`/ip4/${spec.machine?.address ?? '127.0.0.1'}/tcp/0`]).flatMap((each) => ['--listen', each]),
      ...takesOthers,
      ...(spec.join === undefined ? [] : ['--join', spec.join]),
      ...(spec.args ?? []),
    ])
    const child = spawn(file!, args, { env: isolatedEnv(spec.env), stdio: ['ignore', 'pipe', 'pipe'] })
    running.add(child)
    child.once('exit', () => running.delete(child))
    return testNode(spec, dataDir, child, await readyOf(child, spec.name), start)
  }

  /** A realm: the first spec founds it, the others join by one token, as members unless told. */
  const realm = async (specs: NodeSpec[], role: 'admin' | 'member' = 'member'): Promise<TestNode[]> => {
    const founder = await start(specs[0]!)
    if (specs.length === 1) return [founder]
    const { token } = await founder.json(['realm', 'invite', '--role', role, '--uses', String(specs.length - 1)])
    return [founder, ...(await Promise.all(specs.slice(1).map((spec) => start({ ...spec, join: token }))))]
  }

  const dispose = async (): Promise<void> => {
    const ends = [...running].map(async (child) => {
      child.kill('SIGKILL')
      if (child.exitCode === null && child.signalCode === null) await once(child, 'exit')
    })
    await Promise.all(ends)
    for (const made of directories) await rm(made, { recursive: true, force: true })
  }

  return { start, realm, directory, dispose }
}

const readyOf = (child: ChildProcess, name: string): Promise<Ready> =>
  new Promise((resolve, reject) => {
    let errors = ''
    child.stderr!.on('data', (part: Buffer) => (errors += part.toString()))
    const lines = createInterface({ input: child.stdout! })
    lines.on('line', (line) => {
      const event = JSON.parse(line)
      if (event.event === 'ready') resolve(event)
    })
    child.once('exit', (code) => reject(new Error(`node ${name} ended with ${code} before it was ready: ${errors}`)))
  })

const testNode = (
  spec: NodeSpec,
  dataDir: string,
  child: ChildProcess,
  ready: Ready,
  start: (spec: NodeSpec) => Promise<TestNode>,
): TestNode => {
  const cli = (args: string[], options?: RunOptions) => {
    // Whatever follows `--` is the command of an exec and takes no option of ours.
    const at = args.includes('--') ? args.indexOf('--') : args.length
    return runCli([...args.slice(0, at), '--data-dir', dataDir, ...args.slice(at)], {
      ...options,
      machine: spec.machine,
    })
  }
  return {
    name: spec.name,
    dataDir,
    ready,
    process: child,
    pid: child.pid!,
    cli,
    async json(args, options) {
      const at = args.includes('--') ? args.indexOf('--') : args.length
      const output = await cli([...args.slice(0, at), '--json', ...args.slice(at)], options)
      if (output.code !== 0) throw new Error(`${args.join(' ')} ended with ${output.code}: ${output.stderr}`)
      return JSON.parse(output.stdout)
    },
    async end(signal = 'SIGTERM') {
      if (child.exitCode !== null || child.signalCode !== null) return
      const ended = once(child, 'exit')
      child.kill(signal)
      await ended
    },
    restart: (extra = []) => {
      const { join: _join, ...rest } = spec
      return start({ ...rest, dataDir, args: [...(spec.args ?? []), ...extra] })
    },
  }
}

/** Resident memory of a process in MiB. */
export const residentMiB = async (pid: number): Promise<number> => {
  const status = await readFile(`/proc/${pid}/status`, 'utf8')
  return Number(/VmRSS:\s+(\d+) kB/.exec(status)![1]) / 1024
}
