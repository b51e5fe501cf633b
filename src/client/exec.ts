/** One command in an agent: its events as they come, its input as it is wanted. */
import type { ExecEvent } from '../base/agent.ts'
import { GodelError } from '../base/errors.ts'
import { mintId } from '../base/ids.ts'
import { fromProblem } from '../base/problem.ts'
import { linkSignal, type Http } from './http.ts'
import { linesOf } from './lines.ts'

export interface ExecOptions {
  command: string
  args?: string[]
  /** Relative to the workspace, or absolute inside the sandbox. */
  cwd?: string
  env?: Record<string, string>
  timeoutSeconds?: number
  /** What the command reads; without it the command finds its input ended. Read only as fast as the command takes it. */
  stdin?: AsyncIterable<Uint8Array>
  /** Ends the command. */
  signal?: AbortSignal
}

type Line =
  | ExecEvent
  | { type: 'output'; stream: 'stdout' | 'stderr'; seq: number; data: string }
  | { type: 'error'; problem: unknown }

/**
 * The events of a command, `started` first and `exit` last. Reading slowly slows the command; leaving the loop ends it.
 * Throws what the node says, and STREAM_LOST when the answer breaks off before the exit.
 */
export async function* execute(http: Http, agent: string, options: ExecOptions): AsyncGenerator<ExecEvent> {
  const { stdin, signal, ...command } = options
  const execId = mintId('ex', http.clock.wallMs())
  const path = `/v1/agents/${encodeURIComponent(agent)}`
  const link = linkSignal(signal, 'the exec')
  const inputLink = linkSignal(undefined, 'the input')
  let ended = false

  const sendInput = async (source: AsyncIterable<Uint8Array>): Promise<void> => {
    try {
      const answer = await http.open('POST', `${path}/execs/${execId}/stdin`, {
        source: { type: 'application/octet-stream', bytes: source },
        signal: inputLink.signal,
      })
      for await (const _ of answer);
    } catch (error) {
      // A command that has ended takes no more input, which is its right. Anything else leaves it with half an input.
      if (!ended && !isOver(error)) link.abort(error as GodelError)
    }
  }

  try {
    const url = await http.url()
    const body = { ...command, execId, ...(stdin !== undefined && { stdin: true }) }
    const answer = await http.open('POST', `${path}/exec`, { body, signal: link.signal })
    for await (const line of linesOf(answer, http.limits.clientLineBytesMax)) {
      if (line === '') continue
      const event = readLine(line, url)
      if (event.type === 'started' && stdin !== undefined) void sendInput(stdin)
      if (event.type === 'exit') ended = true
      yield event
      if (ended) return
    }
    throw new GodelError({ code: 'STREAM_LOST', peer: url, reason: 'the output ended before the exit of the command' })
  } finally {
    ended = true
    link.release()
    link.abort()
    inputLink.abort()
  }
}

const isOver = (error: unknown): boolean => error instanceof GodelError && error.code === 'EXEC_NOT_FOUND'

const readLine = (text: string, url: string): ExecEvent => {
  let line: Line
  try {
    line = JSON.parse(text) as Line
  } catch (cause) {
    throw new GodelError({ code: 'INVALID_MESSAGE', what: 'a line of the output', reason: 'it is not JSON' }, { cause })
  }
  if (line.type === 'error') throw fromProblem(line.problem, url)
  if (line.type !== 'output') return line
  return { ...line, data: typeof line.data === 'string' ? Buffer.from(line.data, 'base64') : line.data }
}

export interface ExecResult {
  /** Null when a signal ended the command. */
  code: number | null
  signal: string | null
  cause?: 'timeout' | 'cancelled' | 'killed'
  stdout: Uint8Array
  stderr: Uint8Array
}

/** Runs a command to its end and gives all that it said; TOO_LARGE beyond runOutputBytesMax of output. */
export const runToEnd = async (http: Http, agent: string, options: ExecOptions): Promise<ExecResult> => {
  const parts: Record<'stdout' | 'stderr', Uint8Array[]> = { stdout: [], stderr: [] }
  const limitBytes = http.limits.runOutputBytesMax
  let bytes = 0
  for await (const event of execute(http, agent, options)) {
    if (event.type === 'output') {
      bytes += event.data.byteLength
      if (bytes > limitBytes) throw new GodelError({ code: 'TOO_LARGE', what: 'the output', bytes, limitBytes })
      parts[event.stream].push(event.data)
    } else if (event.type === 'exit') {
      const { code, signal, cause } = event
      return {
        code,
        signal,
        ...(cause && { cause }),
        stdout: Buffer.concat(parts.stdout),
        stderr: Buffer.concat(parts.stderr),
      }
    }
  }
  throw new GodelError({ code: 'STREAM_LOST', peer: await http.url(), reason: 'the command did not end' })
}
