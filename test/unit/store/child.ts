/** Starts a fixture as a process of its own and reads its lines. */
import { spawn, type ChildProcess } from 'node:child_process'
import { once } from 'node:events'
import { fileURLToPath } from 'node:url'

const fixture = (name: string) => fileURLToPath(new URL(`../../fixtures/${name}`, import.meta.url))

export interface FixtureProcess {
  readonly child: ChildProcess
  /** Every whole line so far. */
  readonly lines: string[]
  /** Resolves when `enough` holds for the lines so far, or when the process has ended. */
  until(enough: (lines: string[]) => boolean): Promise<void>
  /** Kills it with SIGKILL, and resolves when it is gone and its output was read. */
  kill(): Promise<void>
  /** Resolves when it is gone and its output was read. */
  readonly ended: Promise<void>
}

/** `wrapper` is a command to run it under, such as strace with its arguments. */
export const startFixture = (name: string, args: string[], wrapper: string[] = []): FixtureProcess => {
  const [file, ...rest] = [...wrapper, process.execPath, fixture(name), ...args]
  const child = spawn(file!, rest, { stdio: ['ignore', 'pipe', 'inherit'] })
  const lines: string[] = []
  let tail = ''
  const ended = once(child, 'close').then(() => {})
  let wake = Promise.withResolvers<void>()
  child.stdout!.setEncoding('utf8').on('data', (chunk: string) => {
    const parts = (tail + chunk).split('\n')
    tail = parts.pop()!
    lines.push(...parts)
    wake.resolve()
    wake = Promise.withResolvers()
  })
  return {
    child,
    lines,
    ended,
    async until(enough) {
      let over = false
      void ended.then(() => (over = true))
      while (!enough(lines) && !over) await Promise.race([wake.promise, ended])
    },
    async kill() {
      child.kill('SIGKILL')
      await ended
    },
  }
}
