/**
 * One command of an agent, from its start to the end of every process that it left: a stream of events that is read as
 * fast as its consumer pulls, and no faster.
 */
import type { ExecEvent, ExecSpec } from '../base/agent.ts'
import type { Clock } from '../base/clock.ts'
import { GodelError, hasCode, reasonOf } from '../base/errors.ts'
import type { Limits } from '../base/limits.ts'
import type { Log } from '../base/log.ts'
import { pumpInput } from './exec-input.ts'
import { createOutput } from './exec-output.ts'
import { startCommand, type Command } from './exec-command.ts'
import type { Pipes } from './pipes.ts'
import type { Sandbox } from './sandbox.ts'
import type { Watchdog } from './watchdog.ts'
import type { AgentDirs } from './workspaces.ts'

export interface ExecDeps {
  clock: Clock
  log: Log
  limits: Pick<Limits, 'execChunkBytes' | 'execKillGraceMs' | 'execDrainMs' | 'execReportBytesMax'>
  watchdog: Pick<Watchdog, 'marks' | 'started' | 'ended' | 'endExec'>
  /** Without them the streams of a command are sockets, which it cannot open again as /dev/stdout and the like. */
  pipes?: Pick<Pipes, 'take'>
}

export interface ExecOrder {
  agent: string
  epoch: number
  execId: string
  sandbox: Sandbox
  dirs: AgentDirs
  spec: ExecSpec
  stdin: AsyncIterable<Uint8Array> | undefined
  /** Ends the command. An abort with AGENT_NOT_RUNNING shows as cause `killed`, any other as `cancelled`. */
  signal: AbortSignal
}

type Cause = 'timeout' | 'cancelled' | 'killed'

/**
 * Runs a command. It starts when the first event is asked for; leaving the iteration cancels it. The `exit` event comes
 * once all output has been given and every process of the command is gone. Throws before `started`: EXEC_FAILED (no such
 * command or directory), INVALID_ARGUMENT (a NUL in a word), SANDBOX_FAILED, CANCELLED.
 */
export const runExec = (deps: ExecDeps, order: ExecOrder): AsyncIterable<ExecEvent> => ({
  [Symbol.asyncIterator]() {
    const left = new AbortController()
    const events = execEvents(deps, order, left.signal)
    return {
      next: () => events.next(),
      // A generator takes `return` only between two events, and a silent command has none: end the command first.
      return: (value?: unknown) => {
        left.abort()
        return events.return(value)
      },
    }
  },
})

async function* execEvents(deps: ExecDeps, order: ExecOrder, left: AbortSignal): AsyncGenerator<ExecEvent> {
  if (order.signal.aborted || left.aborted) throw new GodelError({ code: 'CANCELLED', what: 'the exec' })
  const command = await startCommand(deps, order)
  const end = watchForEnd(deps, order, left, command)
  try {
    await command.ready.catch((error: unknown) => {
      throw end.cause() === undefined ? error : new GodelError({ code: 'CANCELLED', what: 'the exec' })
    })
    feed(deps, order, command, () => end.because('cancelled'))
    yield { type: 'started', execId: order.execId, epoch: order.epoch }
    const output = createOutput(deps, command)
    let seq = 0
    for (let part = await output.next(); part; part = await output.next()) yield { type: 'output', seq: seq++, ...part }
    const { code, signal } = await command.ended
    const cause = end.cause()
    yield { type: 'exit', seq, code, signal, ...(cause && { cause }) }
  } finally {
    end.because('cancelled')
    await command.ended
    end.forget()
    command.release()
  }
}

/** Ends the command on the first of: its time is over, somebody cancels it, nobody reads it any more. */
const watchForEnd = ({ clock }: ExecDeps, { spec, signal }: ExecOrder, left: AbortSignal, command: Command) => {
  let cause: Cause | undefined
  const because = (why: Cause): void => {
    if (cause !== undefined || command.hasExited()) return
    cause = why
    command.terminate()
  }
  const onAbort = () => because(hasCode(signal.reason, 'AGENT_NOT_RUNNING') ? 'killed' : 'cancelled')
  const onLeft = () => because('cancelled')
  const timer = spec.timeoutSeconds && clock.after(spec.timeoutSeconds * 1000, () => because('timeout'))
  signal.addEventListener('abort', onAbort, { once: true })
  left.addEventListener('abort', onLeft, { once: true })
  if (signal.aborted) onAbort()
  if (left.aborted) onLeft()
  return {
    because,
    cause: () => cause,
    forget() {
      if (timer) timer.cancel()
      signal.removeEventListener('abort', onAbort)
      left.removeEventListener('abort', onLeft)
    },
  }
}

/** Input that breaks off is not input that ends: a command must not take half a file for the whole. */
const feed = ({ log }: ExecDeps, { stdin, execId }: ExecOrder, command: Command, onBroken: () => void): void => {
  if (!stdin || !command.stdin) return
  const pump = pumpInput(stdin, command.stdin)
  void command.ended.then(() => pump.stop())
  pump.done.catch((error: unknown) => {
    log.debug('the input of an exec broke off', { exec: execId, error: reasonOf(error) })
    onBroken()
  })
}
