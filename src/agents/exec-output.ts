/** The output of a command: two pipes, merged in the order in which their data arrives, read only when asked. */
import type { Readable } from 'node:stream'
import type { Clock, Timer } from '../base/clock.ts'
import type { Limits } from '../base/limits.ts'

export interface OutputPart {
  stream: 'stdout' | 'stderr'
  data: Uint8Array
}

interface Source {
  name: 'stdout' | 'stderr'
  pipe: Readable
  /** What was read and not given yet. */
  rest: Buffer | undefined
  over: boolean
}

/**
 * `next` gives the next part of at most `limits.execChunkBytes`, or undefined when both pipes have ended. Once the command
 * has `ended`, a pipe that somebody still holds open is given up after `limits.execDrainMs` of silence.
 */
export const createOutput = (
  deps: { clock: Clock; limits: Pick<Limits, 'execChunkBytes' | 'execDrainMs'> },
  command: { stdout: Readable; stderr: Readable; ended: Promise<unknown> },
): { next(): Promise<OutputPart | undefined> } => {
  const { clock, limits } = deps
  const sources: Source[] = [
    { name: 'stdout', pipe: command.stdout, rest: undefined, over: false },
    { name: 'stderr', pipe: command.stderr, rest: undefined, over: false },
  ]
  /** Those that may have data, in the order in which they said so. */
  const waiting: Source[] = []
  let wake = () => {}
  let ended = false

  for (const source of sources) {
    const onReadable = () => {
      if (!waiting.includes(source)) waiting.push(source)
      wake()
    }
    const onOver = () => {
      source.over = true
      wake()
    }
    source.pipe.on('readable', onReadable)
    for (const event of ['end', 'error', 'close']) source.pipe.on(event, onOver)
    onReadable()
  }
  void command.ended.then(() => {
    ended = true
    wake()
  })

  const take = (): OutputPart | undefined => {
    for (let source = waiting.shift(); source; source = waiting.shift()) {
      const data: Buffer | null = source.rest ?? source.pipe.read()
      source.rest = undefined
      if (data === null) continue
      if (data.length > limits.execChunkBytes) source.rest = data.subarray(limits.execChunkBytes)
      waiting.push(source)
      return { stream: source.name, data: data.subarray(0, limits.execChunkBytes) }
    }
    return undefined
  }

  /** False when nothing came for so long after the end that nothing will. */
  const awaken = (): Promise<boolean> =>
    new Promise((resolve) => {
      let timer: Timer | undefined
      const endedBefore = ended
      wake = () => {
        timer?.cancel()
        wake = () => {}
        resolve(true)
      }
      if (endedBefore) timer = clock.after(limits.execDrainMs, () => resolve(false))
    })

  return {
    async next() {
      for (;;) {
        const part = take()
        if (part) return part
        if (sources.every((source) => source.over) || !(await awaken())) return undefined
      }
    },
  }
}
