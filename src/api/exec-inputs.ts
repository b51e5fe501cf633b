/** Joins the two requests of a command with input: the exec, which waits for its input, and the POST that brings it. */
import { GodelError } from '../base/errors.ts'

export interface ExecInput {
  /** The input for the command; it can be read once. */
  readonly source: AsyncIterable<Uint8Array>
  /** The command has ended: whoever sends input is told how much of it was taken. */
  close(): void
}

export interface ExecInputs {
  /** CONFLICT when a command of this id waits for input already. `onLost` is told when the sender broke off. */
  open(agent: string, execId: string, onLost: (error: GodelError) => void): ExecInput
  /** Resolves with the number of bytes that the command took. EXEC_NOT_FOUND, CONFLICT when it has its input already. */
  feed(agent: string, execId: string, body: AsyncIterable<Uint8Array>): Promise<number>
}

interface Waiting {
  readonly agent: string
  fed: boolean
  bytes: number
  readonly body: PromiseWithResolvers<AsyncIterable<Uint8Array>>
  readonly done: PromiseWithResolvers<number>
}

/** At most one entry per open exec stream, so their bound is the bound here. */
export const createExecInputs = (): ExecInputs => {
  const waiting = new Map<string, Waiting>()

  async function* read(entry: Waiting, onLost: (error: GodelError) => void): AsyncIterable<Uint8Array> {
    try {
      for await (const part of await entry.body.promise) {
        entry.bytes += part.byteLength
        yield part
      }
    } catch (cause) {
      // Half an input must not pass for a whole one: the command is cancelled rather than told that its input has ended.
      const error = new GodelError(
        { code: 'STREAM_LOST', peer: 'the sender of the input', reason: 'it broke off' },
        { cause },
      )
      onLost(error)
      throw error
    } finally {
      entry.done.resolve(entry.bytes)
    }
  }

  return {
    open(agent, execId, onLost) {
      if (waiting.has(execId))
        throw new GodelError({ code: 'CONFLICT', what: `exec ${execId}`, reason: 'it is running' })
      const entry: Waiting = {
        agent,
        fed: false,
        bytes: 0,
        body: Promise.withResolvers(),
        done: Promise.withResolvers(),
      }
      waiting.set(execId, entry)
      return {
        source: read(entry, onLost),
        close() {
          waiting.delete(execId)
          entry.body.resolve(nothing())
          entry.done.resolve(entry.bytes)
        },
      }
    },
    async feed(agent, execId, body) {
      const entry = waiting.get(execId)
      if (entry?.agent !== agent) throw new GodelError({ code: 'EXEC_NOT_FOUND', exec: execId })
      if (entry.fed)
        throw new GodelError({ code: 'CONFLICT', what: `exec ${execId}`, reason: 'its input is being sent already' })
      entry.fed = true
      entry.body.resolve(body)
      return entry.done.promise
    },
  }
}

async function* nothing(): AsyncIterable<Uint8Array> {}
