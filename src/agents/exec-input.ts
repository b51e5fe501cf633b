/** The input of a command: written as fast as it takes it. */
import type { Writable } from 'node:stream'
import { createInterrupt, type Interrupt } from './interrupt.ts'

/**
 * Writes `source` to `target` with back-pressure and ends it. A reader that went away (EPIPE) is not a failure. `done`
 * rejects when the source fails, and leaves the target open then. `stop` lets the source go.
 */
export const pumpInput = (source: AsyncIterable<Uint8Array>, target: Writable) => {
  const interrupt = createInterrupt()
  const stopped = new Error('nobody reads the input')
  const stop = () => interrupt.raise(stopped)
  target.on('error', stop)
  target.on('close', stop)
  const done = pump(source, target, interrupt).catch((error: unknown) => {
    if (error !== stopped) throw error
  })
  return { done, stop }
}

const pump = async (source: AsyncIterable<Uint8Array>, target: Writable, interrupt: Interrupt): Promise<void> => {
  const iterator = source[Symbol.asyncIterator]()
  try {
    for (;;) {
      const result = await interrupt.guard(iterator.next())
      if (result.done) return void target.end()
      if (!target.write(result.value)) await interrupt.guard(drained(target))
    }
  } catch (error) {
    // The source may never answer, so nobody waits for it.
    Promise.resolve(iterator.return?.()).catch(() => {})
    throw error
  }
}

const drained = (target: Writable): Promise<void> => new Promise((resolve) => target.once('drain', () => resolve()))
