/** What a start that failed means, and what became of one whose answer was lost, as far as its target can still be asked. */
import { isLive, type Agent } from '../base/agent.ts'
import { sleep, type Clock } from '../base/clock.ts'
import { errorWhat, GodelError, hasCode, toGodelError, type RejectedCandidate } from '../base/errors.ts'
import type { Limits } from '../base/limits.ts'
import type { Attempt, Considered } from '../base/need.ts'
import type { GuestView } from '../mesh/guest-view.ts'
import type { View } from '../mesh/view.ts'
import type { Rpc } from '../net/method.ts'
import { agentStatus } from './methods.ts'

/**
 * Asks a target for an agent until it says something final: the agent, which then runs there, or `absent`; `silent` when it
 * cannot be asked for `limits.spawnSettleMs`, or as soon as the realm holds it for gone, since waiting tells nothing more
 * then. AGENT_NOT_RUNNING when the agent was ended meanwhile.
 */
export type Settle = (agent: string, target: string, signal?: AbortSignal) => Promise<Agent | 'absent' | 'silent'>

export const createSettle = (deps: {
  rpc: Pick<Rpc, 'call'>
  view: Pick<View, 'get'>
  guests: Pick<GuestView, 'get'>
  clock: Clock
  limits: Pick<Limits, 'spawnSettleMs' | 'spawnPollMs' | 'gitCloneTimeoutMs' | 'recordTimeoutMs'>
}): Settle => {
  const { rpc, view, guests, clock, limits } = deps
  const isGone = (target: string) => {
    const state = (view.get(target) ?? guests.get(target))?.state
    return state === 'down' || state === 'left'
  }

  return async (id, target, signal) => {
    const giveUpAt = clock.monotonicMs() + limits.spawnSettleMs
    let startingUntil = clock.monotonicMs() + limits.gitCloneTimeoutMs
    for (;;) {
      const said = await rpc
        .call(target, agentStatus, { agent: id }, { timeoutMs: limits.recordTimeoutMs })
        .catch(() => undefined)
      if (said === undefined) {
        if (isGone(target) || clock.monotonicMs() > giveUpAt) return 'silent'
        startingUntil = Math.min(startingUntil, giveUpAt)
      } else {
        const { agent } = said
        // A failed one ended before its files were in place: nothing of it runs, as if it had never been.
        if (!agent || agent.status === 'failed') return 'absent'
        if (!isLive(agent.status)) throw new GodelError({ code: 'AGENT_NOT_RUNNING', agent: id, status: agent.status })
        if (agent.status !== 'starting') return agent
        if (clock.monotonicMs() > startingUntil) return 'silent'
      }
      await sleep(clock, limits.spawnPollMs, signal)
    }
  }
}

/** Another target would say the same, or the agent was ended by somebody meanwhile. */
const refusedForGood = [
  'WORKSPACE_FAILED',
  'TOO_LARGE',
  'CONFLICT',
  'FORBIDDEN',
  'STALE_EPOCH',
  'AGENT_NOT_RUNNING',
  'CANCELLED',
] as const

/** The target has nothing of the agent. Every other failure may have come after it took the order. */
const neverStarted = [
  'PEER_UNREACHABLE',
  'RESERVATION_EXPIRED',
  'NODE_STOPPING',
  'QUEUE_FULL',
  'METHOD_UNKNOWN',
  'INVALID_ARGUMENT',
  'NOT_A_MEMBER',
  'RATE_LIMITED',
] as const

/** What the failure of a start says: nobody is to take it, this target has not, or nothing that can be relied on. */
export const meaningOf = (failure: GodelError): 'final' | 'never started' | 'unknown' =>
  hasCode(failure, ...refusedForGood) ? 'final' : hasCode(failure, ...neverStarted) ? 'never started' : 'unknown'

/** The code and the words of a failure, as the record of a decision keeps them. */
export const wordsOf = (error: unknown): string => {
  const { detail } = toGodelError(error)
  return `${detail.code}: ${errorWhat(detail)}`
}

/** Why each candidate did not take the agent: what it answered where it was asked, else what its advertisement lacks. */
export const rejected = (considered: Considered[], attempts: Attempt[]): RejectedCandidate[] =>
  considered.map(({ node, peer, rejected: reasons }) => {
    const answers = attempts
      .filter((attempt) => attempt.peer === peer && attempt.error)
      .map((attempt) => attempt.error!)
    return { node, peer, reasons: answers.length > 0 ? answers : (reasons ?? ['it was not asked']) }
  })
