/** The commands that run in the agents of this node: counted, named, ended together. */
import type { Agent, ExecEvent, ExecSpec } from '../base/agent.ts'
import type { Clock } from '../base/clock.ts'
import { GodelError } from '../base/errors.ts'
import { mintId } from '../base/ids.ts'
import type { Limits } from '../base/limits.ts'
import type { AgentDirs } from './workspaces.ts'

/** Starts one command; see exec.ts, with what does not change from call to call already given. */
export type RunExec = (order: {
  agent: string
  epoch: number
  execId: string
  dirs: AgentDirs
  spec: ExecSpec
  stdin: AsyncIterable<Uint8Array> | undefined
  signal: AbortSignal
}) => AsyncIterable<ExecEvent>

export interface Execs {
  count(agent: string): number
  /** QUEUE_FULL, CONFLICT when the id is in use. The command starts when the first event is asked for. */
  run(
    agent: Agent,
    dirs: AgentDirs,
    spec: ExecSpec,
    stdin: AsyncIterable<Uint8Array> | undefined,
    signal: AbortSignal,
  ): AsyncIterable<ExecEvent>
  /** Ends every command of an agent that has ended. A reader that has stopped reading does not delay it. */
  endAll(agent: string): void
  /** Cancels every command, since the node stops. */
  close(): void
}

interface Running {
  agent: string
  abort: AbortController
}

export const createExecs = (deps: { clock: Clock; limits: Limits; runExec: RunExec }): Execs => {
  const { clock, limits, runExec } = deps
  const running = new Map<string, Running>()
  const of = (agent: string) => [...running.values()].filter((exec) => exec.agent === agent)

  const enter = (agent: string, execId: string): AbortController => {
    if (running.has(execId)) throw new GodelError({ code: 'CONFLICT', what: `exec ${execId}`, reason: 'it is running' })
    if (of(agent).length >= limits.execsPerAgentMax)
      throw new GodelError({ code: 'QUEUE_FULL', what: `the execs of ${agent}`, limit: limits.execsPerAgentMax })
    const abort = new AbortController()
    running.set(execId, { agent, abort })
    return abort
  }

  const end = (execs: Running[], why: GodelError): void => {
    for (const exec of execs) exec.abort.abort(why)
  }

  return {
    count: (agent) => of(agent).length,
    async *run(agent, dirs, spec, stdin, signal) {
      const execId = spec.execId ?? mintId('ex', clock.wallMs())
      const abort = enter(agent.id, execId)
      const onAbort = () => abort.abort(signal.reason)
      signal.addEventListener('abort', onAbort, { once: true })
      if (signal.aborted) onAbort()
      try {
        yield* runExec({ agent: agent.id, epoch: agent.epoch, execId, dirs, spec, stdin, signal: abort.signal })
      } finally {
        signal.removeEventListener('abort', onAbort)
        running.delete(execId)
      }
    },
    endAll: (agent) => end(of(agent), new GodelError({ code: 'AGENT_NOT_RUNNING', agent, status: 'stopped' })),
    close: () => end([...running.values()], new GodelError({ code: 'CANCELLED', what: 'the exec' })),
  }
}
