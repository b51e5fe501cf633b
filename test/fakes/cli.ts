/** The real CLI as a process of its own, run from its sources. */
import { spawn, type ChildProcess } from 'node:child_process'
import { once } from 'node:events'
import { fileURLToPath } from 'node:url'

const main = fileURLToPath(new URL('../../src/cli/main.ts', import.meta.url))

export interface CliOutput {
  code: number | null
  signal: NodeJS.Signals | null
  stdout: Buffer
  stderr: string
}

export interface CliOptions {
  env?: Record<string, string>
  input?: string | Buffer
  script?: string
}

const environment = (extra: Record<string, string> = {}) => {
  const { GODEL_URL: _url, GODEL_API_KEY: _key, GODEL_DATA_DIR: _dir, ...rest } = process.env
  return { ...rest, NO_COLOR: '1', ...extra }
}

/** Starts it; its streams are the test's. */
export const openCli = (args: string[], { env, script = main }: CliOptions = {}): ChildProcess =>
  spawn(process.execPath, [script, ...args], { env: environment(env), stdio: ['pipe', 'pipe', 'pipe'] })

/** How a process ended and what it said. */
export const endOf = async (child: ChildProcess): Promise<CliOutput> => {
  const out: Buffer[] = []
  let stderr = ''
  child.stdout!.on('data', (part: Buffer) => out.push(part))
  child.stderr!.on('data', (part: Buffer) => (stderr += part.toString()))
  const [code, signal] = (await once(child, 'close')) as [number | null, NodeJS.Signals | null]
  return { code, signal, stdout: Buffer.concat(out), stderr }
}

/** Runs it to its end, with `input` as all of its input. */
export const runCli = (args: string[], options: CliOptions = {}): Promise<CliOutput> => {
  const child = openCli(args, options)
  child.stdin!.on('error', () => {})
  child.stdin!.end(options.input)
  return endOf(child)
}
