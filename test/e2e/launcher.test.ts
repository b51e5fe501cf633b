/** The launcher between the machine's own Node and the one that the program needs is not to be noticed. */
import { spawn, type ChildProcess } from 'node:child_process'
import { once } from 'node:events'
import { cpSync, mkdtempSync, readFileSync, rmSync } from 'node:fs'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { createInterface } from 'node:readline'
import { text } from 'node:stream/consumers'
import { afterEach, beforeAll, describe, expect, test } from 'vitest'
import { outerNode } from '../../scripts/outer-node.ts'
import { waitFor } from '../support/wait.ts'

const root = join(import.meta.dirname, '..', '..')
const runner = join(root, 'bin', 'run.cjs')
const fixture = join(root, 'test', 'fixtures', 'launched.ts')

const outer = outerNode()
const isOld = outer !== undefined && outer.major < 24
const node = outer?.path ?? process.execPath

interface Hello {
  pid: number
  major: number
  args: string[]
}

const started: ChildProcess[] = []
const pids: number[] = []

const launch = (args: string[]): ChildProcess & { stdout: NonNullable<ChildProcess['stdout']> } => {
  // A group of its own, as a shell gives to each of its jobs.
  const child = spawn(node, [runner, fixture, ...args], { stdio: ['pipe', 'pipe', 'inherit'], detached: true })
  started.push(child)
  return child
}

const ended = async (child: ChildProcess): Promise<{ code: number | null; signal: NodeJS.Signals | null }> => {
  if (child.exitCode === null && child.signalCode === null) await once(child, 'exit')
  return { code: child.exitCode, signal: child.signalCode }
}

/** Starts the fixture, and gives the lines that it says once it has said who it is. */
const launchWaiting = async (): Promise<{ child: ChildProcess; hello: Hello; lines: AsyncIterator<string> }> => {
  const child = launch(['wait'])
  const lines = createInterface({ input: child.stdout! })[Symbol.asyncIterator]()
  const hello: Hello = JSON.parse((await lines.next()).value!)
  pids.push(hello.pid)
  return { child, hello, lines }
}

/** As the kernel has it: R, S, T, Z and so on, or undefined where there is no such process. */
const stateOf = (pid: number): string | undefined => {
  try {
    const stat = readFileSync(`/proc/${pid}/stat`, 'utf8')
    return stat.slice(stat.lastIndexOf(')') + 2)[0]
  } catch {
    return undefined
  }
}

const isGone = (pid: number): boolean => ['Z', 'X', undefined].includes(stateOf(pid))

beforeAll(() => {
  if (!isOld) {
    process.stderr.write(
      `The machine's own Node is ${outer?.version ?? 'missing'}: the launcher goes on in place here.\n`,
    )
  }
})

afterEach(async () => {
  for (const child of started.splice(0)) {
    child.kill('SIGKILL')
    await ended(child)
  }
  for (const pid of pids.splice(0)) if (!isGone(pid)) process.kill(pid, 'SIGKILL')
})

describe('the launcher', () => {
  test('runs the program on Node 24 or later with its arguments as they were', async () => {
    const child = launch(['exit', '0', '--flag', 'a b', ''])
    const hello: Hello = JSON.parse(await text(child.stdout))
    expect(hello.major).toBeGreaterThanOrEqual(24)
    expect(hello.args).toEqual(['exit', '0', '--flag', 'a b', ''])
  })

  test.each([0, 1, 7, 255])('ends with the exit code %i of the program', async (code) => {
    expect(await ended(launch(['exit', String(code)]))).toEqual({ code, signal: null })
  })

  test.each(['SIGTERM', 'SIGKILL', 'SIGINT', 'SIGUSR2'] as const)(
    'dies by %s when the program does',
    async (signal) => {
      expect(await ended(launch(['die', signal]))).toEqual({ code: null, signal })
    },
  )

  test('gives the program its standard input to the last byte', async () => {
    const child = launch(['copy'])
    const input = 'line\n'.repeat(100_000)
    child.stdin!.end(input)
    expect(await text(child.stdout)).toBe(input)
  })

  test.each(['SIGINT', 'SIGTERM', 'SIGHUP'] as const)('hands a %s that it was sent on once', async (signal) => {
    const { child, lines } = await launchWaiting()
    child.kill(signal)
    expect(JSON.parse((await lines.next()).value!)).toBe(signal)
    child.kill('SIGUSR2')
    expect(JSON.parse((await lines.next()).value!)).toBe('SIGUSR2')
  })

  test('hands Ctrl-C, which a terminal sends to the whole group, on once', async () => {
    const { child, lines } = await launchWaiting()
    // The kernel makes one of two equal signals that come at the same moment: once alone would prove little.
    for (let round = 0; round < 10; round++) {
      process.kill(-child.pid!, 'SIGINT')
      expect(JSON.parse((await lines.next()).value!)).toBe('SIGINT')
      child.kill('SIGUSR2')
      expect(JSON.parse((await lines.next()).value!)).toBe('SIGUSR2')
    }
  })

  test('takes the program with it when it is killed', async () => {
    const { child, hello } = await launchWaiting()
    child.kill('SIGKILL')
    await waitFor('the program has ended', () => isGone(hello.pid), { withinMs: 5_000 })
  })

  test.runIf(isOld)('stops and goes on together with the program', async () => {
    const { child, hello, lines } = await launchWaiting()
    child.kill('SIGTSTP')
    await waitFor('both have stopped', () => stateOf(hello.pid) === 'T' && stateOf(child.pid!) === 'T')
    child.kill('SIGCONT')
    child.kill('SIGINT')
    expect(JSON.parse((await lines.next()).value!)).toBe('SIGINT')
  })

  test.runIf(isOld)('says what is needed where no new enough Node is to be had', async () => {
    const alone = mkdtempSync(join(tmpdir(), 'godel-launcher-'))
    try {
      cpSync(join(root, 'bin'), join(alone, 'bin'), { recursive: true })
      const child = spawn(node, [join(alone, 'bin', 'godel-node.cjs')], { stdio: ['ignore', 'ignore', 'pipe'] })
      const [said, { code }] = await Promise.all([text(child.stderr), ended(child)])
      expect(said).toContain('Node.js 24 or later is needed')
      expect(code).toBe(1)
    } finally {
      rmSync(alone, { recursive: true, force: true })
    }
  })
})
