/**
 * Real pipes for the output of commands. What Node makes by itself are sockets, which cannot be opened again: with them
 * `echo x > /dev/stderr` fails. Node cannot make a pipe, but it can open a FIFO, so some are kept at hand. Input stays a
 * socket: a FIFO that is opened again after its writer has gone waits for another one for ever.
 */
import { spawn } from 'node:child_process'
import { constants, openSync, unlinkSync } from 'node:fs'
import { mkdir, rm } from 'node:fs/promises'
import path from 'node:path'
import { reasonOf } from '../base/errors.ts'
import type { Limits } from '../base/limits.ts'
import type { Log } from '../base/log.ts'

/** Two descriptors: this process reads `own`, a command writes to `theirs`. */
export interface Pipe {
  own: number
  theirs: number
}

export interface Pipes {
  /** A fresh pipe; undefined where FIFOs cannot be made. */
  take(): Promise<Pipe | undefined>
  close(): Promise<void>
}

/** Keeps its FIFOs in `dataDir/pipes`, which it empties first. Fails over to giving nothing, and says so once. */
export const createPipes = async (
  deps: { log: Log; limits: Pick<Limits, 'execPipesAtHand'> },
  { dataDir }: { dataDir: string },
): Promise<Pipes> => {
  const dir = path.join(dataDir, 'pipes')
  const ready: string[] = []
  let made = 0
  let works = true
  let making: Promise<void> | undefined
  await rm(dir, { recursive: true, force: true })
  await mkdir(dir, { recursive: true, mode: 0o700 })

  const make = async (): Promise<void> => {
    const files = Array.from({ length: deps.limits.execPipesAtHand }, () => path.join(dir, String(made++)))
    try {
      await mkfifo(files)
      ready.push(...files)
    } catch (error) {
      works = false
      deps.log.warn('commands get sockets for their streams', { reason: reasonOf(error) })
    } finally {
      making = undefined
    }
  }

  return {
    async take() {
      while (works && ready.length === 0) await (making ??= make())
      const file = ready.shift()
      if (works && ready.length < deps.limits.execPipesAtHand / 2) making ??= make()
      return file === undefined ? undefined : openPipe(file)
    },
    async close() {
      works = false
      await making
      await rm(dir, { recursive: true, force: true })
    },
  }
}

const mkfifo = (files: string[]): Promise<void> =>
  new Promise((resolve, reject) => {
    const child = spawn('mkfifo', ['-m', '600', '--', ...files], { stdio: 'ignore' })
    child.once('error', reject)
    child.once('exit', (code) => (code === 0 ? resolve() : reject(new Error(`mkfifo ended with ${code}`))))
  })

/** Opening the writing end blocks until somebody reads, so the reading end, which need not block, comes first. */
const openPipe = (file: string): Pipe => {
  try {
    const own = openSync(file, constants.O_RDONLY | constants.O_NONBLOCK)
    return { own, theirs: openSync(file, constants.O_WRONLY) }
  } finally {
    unlinkSync(file)
  }
}
