/**
 * Placing an agent, from the caller's side: route, hold a slot at the target, send the files, start, and where that is refused
 * go on to the next candidate.
 *
 *   route -> reserve -> [files] -> start -> placed
 *              |           |         |-- refused: next candidate
 *              |-----------|         |-- no answer: ask the target for the agent; is it there, it is placed; if that cannot
 *              |                         be found out, raise the epoch at the homes and go on, so that the first copy stops
 *              |-- refused or silent: next candidate, same epoch, since nothing was started, unless the homes were told of
 *                  this target: then the one after it needs an epoch of its own
 *
 * When no candidate is left, those that were passed over for a momentary reason (full, busy, draining) are asked for a fresh
 * advertisement first: a refusal rests on what nodes say now, never on an old advertisement.
 */
import type { Agent, AgentSpec, SpawnRequest } from '../base/agent.ts'
import type { Clock } from '../base/clock.ts'
import { GodelError, hasCode, toGodelError } from '../base/errors.ts'
import { mintId } from '../base/ids.ts'
import type { Limits } from '../base/limits.ts'
import type { Log } from '../base/log.ts'
import type { Attempt, Decision, Need } from '../base/need.ts'
import type { GuestView } from '../mesh/guest-view.ts'
import type { Mesh } from '../mesh/mesh.ts'
import type { Rpc } from '../net/method.ts'
import type { Ownership } from '../ownership/ownership.ts'
import { sealGrant, type Sealer } from '../ownership/records.ts'
import type { Candidates } from '../routing/candidates.ts'
import { describeNeed, explainRoute, route, type RoutePolicy } from '../routing/route.ts'
import type { Decisions } from './decisions.ts'
import type { Directory } from './directory.ts'
import { agentKill, agentRelease, agentReserve, agentSpawn } from './methods.ts'
import { needOf, specOf, startingAgent } from './need-of.ts'
import { createSettle, meaningOf, rejected, wordsOf } from './settle.ts'

export interface Placement {
  /**
   * Places an agent and answers once it runs. A repeated id gives the agent that is there.
   * NO_CANDIDATE with what each candidate lacked, SPAWN_IN_DOUBT, WORKSPACE_FAILED, CONFLICT, FORBIDDEN, CANCELLED.
   */
  spawn(request: SpawnRequest, signal?: AbortSignal): Promise<Agent>
  /** What would be decided now. Nothing is placed, asked or recorded. */
  explain(request: SpawnRequest): Decision
}

interface PlacementDeps {
  peer: string
  mesh: Pick<Mesh, 'view' | 'acceptAd' | 'refresh' | 'realm'>
  guests: Pick<GuestView, 'get'>
  candidates: Candidates
  rpc: Rpc
  sealer: Sealer
  ownership: Pick<Ownership, 'publish'>
  directory: Directory
  decisions: Decisions
  /** Sends the uploaded files to a target, under its reservation. */
  sendFiles: (target: string, reservation: string, upload: string, signal?: AbortSignal) => Promise<void>
  clock: Clock
  log: Log
  limits: Limits
}

/** One spawn on its way: what it needs, what was tried, and the epoch that the next target gets. */
interface Journey {
  spec: AgentSpec
  upload: string | undefined
  need: Need
  decision: Decision
  epoch: number
  /** The epoch names a target already, at the homes or at a target that may run the agent: the next attempt raises it. */
  spent: boolean
  tried: Set<string>
  asked: Set<string>
  /** A target that may have started a copy and cannot be asked. */
  inDoubt: string | undefined
  signal: AbortSignal | undefined
}

export const createPlacement = (deps: PlacementDeps): Placement => {
  const { peer, mesh, guests, candidates, rpc, sealer, ownership, directory, decisions, clock, log, limits } = deps
  const underWay = new Map<string, Promise<Agent>>()
  const settle = createSettle({ rpc, view: mesh.view, guests, clock, limits })
  const adOf = (target: string) => (mesh.view.get(target) ?? guests.get(target))?.ad
  const nameOf = (target: string) => adOf(target)?.name ?? target
  const isAbroad = (target: string) => target !== peer && candidates.get(target)?.level !== 'realm'

  const policy = (tried: ReadonlySet<string>): RoutePolicy => ({
    strategy: 'least-loaded',
    offloadThreshold: limits.offloadThreshold,
    exclude: tried,
  })

  const decide = (need: Need, tried: ReadonlySet<string>): Decision => {
    const plan = route(need, candidates, policy(tried))
    const { considered, omitted } = explainRoute(need, candidates, policy(tried), clock.monotonicMs())
    const { pick, level, rule } = plan
    const { requestId } = need
    return {
      requestId,
      atMs: clock.wallMs(),
      need,
      strategy: 'least-loaded',
      rule,
      pick,
      level,
      considered,
      omitted,
      attempts: [],
    }
  }

  /** The next target: by route, or, where momentary reasons stand against everybody, after asking them how they are now. */
  const nextTarget = async (journey: Journey): Promise<string | null> => {
    const { need, tried, asked, signal } = journey
    for (;;) {
      const plan = route(need, candidates, policy(tried))
      if (plan.pick !== null) return plan.pick
      const stale = plan
        .staleRejects()
        // Those abroad say how they are on their own account, and are not asked.
        .filter((other) => other !== peer && !asked.has(other) && !isAbroad(other))
        .slice(0, limits.placementAttemptsMax)
      if (stale.length === 0) return null
      for (const other of stale) asked.add(other)
      await Promise.allSettled(stale.map((other) => mesh.refresh(other, signal)))
    }
  }

  const note = (journey: Journey, target: string, outcome: Attempt['outcome'], error?: string): void => {
    const { epoch, decision } = journey
    decision.attempts.push({
      peer: target,
      node: nameOf(target),
      epoch,
      outcome,
      ...(error !== undefined && { error }),
    })
  }

  const callOptions = (journey: Journey, timeoutMs: number) => ({
    timeoutMs,
    ...(journey.signal && { signal: journey.signal }),
  })

  /** Holds a slot; undefined when the target refused or cannot be reached, which has then been noted. */
  const reserve = async (
    journey: Journey,
    target: string,
  ): Promise<{ reservation: string; held: boolean } | undefined> => {
    const { spec, epoch, signal } = journey
    try {
      const answer = await rpc.call(
        target,
        agentReserve,
        { spec, epoch },
        callOptions(journey, limits.reserveTimeoutMs),
      )
      if (target !== peer && !isAbroad(target))
        await mesh
          .acceptAd(answer.advertisement, 0)
          .catch((error: unknown) => log.debug('an answer brought a bad ad', { target, error: String(error) }))
      if ('reservation' in answer) return answer
      note(journey, target, 'refused', `${answer.refusal.code}: ${answer.refusal.reason}`)
      if (answer.refusal.code === 'FORBIDDEN' && !isAbroad(target))
        throw new GodelError({ code: 'FORBIDDEN', action: 'spawning an agent', reason: answer.refusal.reason })
    } catch (error) {
      signal?.throwIfAborted()
      // What another realm forbids, the own one may allow.
      if (hasCode(error, 'CANCELLED') || (hasCode(error, 'FORBIDDEN') && !isAbroad(target))) throw error
      note(journey, target, 'unreachable', wordsOf(error))
    }
    return undefined
  }

  const start = async (
    journey: Journey,
    target: string,
    held: { reservation: string; held: boolean },
  ): Promise<Agent | undefined> => {
    const { spec, upload, epoch, signal } = journey
    const { reservation } = held
    const staged = upload !== undefined && !held.held
    try {
      if (staged) await deps.sendFiles(target, reservation, upload, signal)
    } catch (error) {
      signal?.throwIfAborted()
      if (hasCode(error, 'WORKSPACE_FAILED', 'NOT_FOUND', 'TOO_LARGE')) throw error
      note(journey, target, 'unreachable', wordsOf(error))
      return undefined
    }
    const grant = await sealGrant(sealer, spec.id, epoch, target)
    if (epoch > 1) {
      journey.spent = true
      await raise(journey, target, grant)
    }
    const timeoutMs = limits.rpcDefaultTimeoutMs + (spec.git === undefined ? 0 : limits.gitCloneTimeoutMs)
    try {
      return await rpc.call(
        target,
        agentSpawn,
        { spec, epoch, grant, reservation, staged },
        callOptions(journey, timeoutMs),
      )
    } catch (error) {
      if (signal?.aborted) return takeBack(journey, target)
      return afterFailure(journey, target, error)
    }
  }

  /** The caller does not want it any more: what the target made of the order is ended, as far as it can be told. */
  const takeBack = async ({ spec, signal }: Journey, target: string): Promise<never> => {
    await rpc
      .call(target, agentKill, { agent: spec.id, purge: true }, { timeoutMs: limits.rpcDefaultTimeoutMs })
      .catch((error: unknown) =>
        log.warn('a spawn that was cancelled may go on', { agent: spec.id, target, error: String(error) }),
      )
    throw toGodelError(signal?.reason ?? new GodelError({ code: 'CANCELLED', what: 'the spawn' }))
  }

  /** A start that failed: refused for good, refused for this node, never sent, or, worst, not known. */
  const afterFailure = async (journey: Journey, target: string, error: unknown): Promise<Agent | undefined> => {
    const failure = toGodelError(error)
    const meaning = hasCode(failure, 'FORBIDDEN') && isAbroad(target) ? 'never started' : meaningOf(failure)
    if (meaning === 'final') throw failure
    if (meaning === 'never started') {
      note(journey, target, hasCode(failure, 'PEER_UNREACHABLE') ? 'unreachable' : 'refused', wordsOf(failure))
      return undefined
    }
    const { spec, signal } = journey
    log.warn('the answer to a spawn was lost', { agent: spec.id, target, error: failure.message })
    const found = await settle(spec.id, target, signal).catch((reason: unknown) => {
      if (signal?.aborted) return takeBack(journey, target)
      throw reason
    })
    if (typeof found !== 'string') return found
    // Whatever the target made of the order, from here on a copy of it is superseded.
    journey.spent = true
    if (found === 'silent') {
      note(journey, target, 'unknown', wordsOf(failure))
      journey.inDoubt = target
    } else note(journey, target, 'refused', 'it did not start the agent')
    return undefined
  }

  /** Tells the homes that the agent is to be at `target` under a new epoch, before anything starts there. */
  const raise = async ({ spec, epoch }: Journey, target: string, grant: Uint8Array): Promise<void> => {
    const isolation = adOf(target)?.isolation ?? 'none'
    const at = { host: target, hostName: nameOf(target), epoch, isolation }
    const agent = startingAgent(spec, at, clock.wallMs())
    const homes = await ownership.publish({ agent, version: 0, mode: 'pinned' }, grant)
    log.info('epoch raised', { agent: spec.id, epoch, target, homes })
  }

  /** Nobody else is kept waiting for a slot that this spawn has given up; where that cannot be told, it lapses by itself. */
  const giveBack = (target: string, reservation: string): void => {
    rpc
      .call(target, agentRelease, { reservation }, { timeoutMs: limits.recordTimeoutMs })
      .catch((error: unknown) => log.debug('a slot was not given back', { target, error: String(error) }))
  }

  const attempt = async (journey: Journey, target: string): Promise<Agent | undefined> => {
    const { attempts } = journey.decision
    const before = attempts.length
    // Until its answer counts it, a placement that is under way counts as load of its target, so that a burst does not herd.
    if (target !== peer) candidates.placed(target)
    const held = await reserve(journey, target).finally(() => {
      if (target !== peer) candidates.settled(target)
    })
    if (!held) return undefined
    try {
      const agent = await start(journey, target, held)
      if (!agent) giveBack(target, held.reservation)
      return agent
    } catch (error) {
      giveBack(target, held.reservation)
      if (attempts.length === before) note(journey, target, 'refused', wordsOf(error))
      throw error
    }
  }

  const place = async (journey: Journey): Promise<Agent> => {
    const { spec, tried, decision } = journey
    while (decision.attempts.length < limits.placementAttemptsMax) {
      const target = await nextTarget(journey)
      if (target === null) break
      if (journey.spent) journey.epoch++
      journey.spent = false
      const agent = await attempt(journey, target)
      if (agent) {
        decision.pick = target
        decision.level = candidates.get(target)?.level ?? decision.level
        note({ ...journey, epoch: agent.epoch }, target, 'placed')
        directory.seen(agent)
        return agent
      }
      tried.add(target)
    }
    if (journey.inDoubt !== undefined)
      throw new GodelError({ code: 'SPAWN_IN_DOUBT', agent: spec.id, node: nameOf(journey.inDoubt) })
    const considered = rejected(
      explainRoute(journey.need, candidates, policy(new Set()), clock.monotonicMs()).considered,
      decision.attempts,
    )
    throw new GodelError({
      code: 'NO_CANDIDATE',
      need: describeNeed(journey.need),
      considered,
      attempts: decision.attempts.length,
    })
  }

  const begin = async (request: SpawnRequest & { id: string }, epoch: number, signal?: AbortSignal): Promise<Agent> => {
    const realm = mesh.realm()
    const spec = specOf(request, { owner: peer, realm: realm.id })
    const need = needOf(spec)
    const decision = decide(need, new Set())
    const upload = request.workspace && 'upload' in request.workspace ? request.workspace.upload : undefined
    try {
      return await place({
        spec,
        upload,
        need,
        decision,
        epoch,
        spent: false,
        tried: new Set(),
        asked: new Set(),
        inDoubt: undefined,
        signal,
      })
    } catch (error) {
      decision.pick = null
      throw error
    } finally {
      decisions.add(decision)
    }
  }

  /** An id that was used before: the agent that is there, or, if its host is gone and it is ours, the next epoch. */
  const beginAgain = async (request: SpawnRequest & { id: string }, signal?: AbortSignal): Promise<Agent> => {
    const known = await directory.find(request.id, signal)
    if (!known) return begin(request, 1, signal)
    const isGone = known.status === 'lost' || known.status === 'failed'
    if (isGone && known.owner === peer) return begin(request, known.epoch + 1, signal)
    if (known.status === 'starting') return untilStarted(request, known, signal)
    if (known.status === 'stopped' || known.status === 'failed')
      throw new GodelError({
        code: 'CONFLICT',
        what: `agent ${known.id}`,
        reason: `its id was used, and it is ${known.status}`,
      })
    return known
  }

  /** Somebody asked before: the target is still at it, or it never heard of it, because the one who asked died on the way. */
  const untilStarted = async (
    request: SpawnRequest & { id: string },
    known: Agent,
    signal?: AbortSignal,
  ): Promise<Agent> => {
    const found = await settle(known.id, known.host, signal)
    if (typeof found !== 'string') return found
    if (found === 'absent' && known.owner === peer) return begin(request, known.epoch + 1, signal)
    throw new GodelError({ code: 'SPAWN_IN_DOUBT', agent: known.id, node: known.hostName })
  }

  return {
    spawn(request, signal) {
      const id = request.id ?? mintId('ag', clock.wallMs())
      const same = underWay.get(id)
      if (same) return same
      const work =
        request.id === undefined ? begin({ ...request, id }, 1, signal) : beginAgain({ ...request, id }, signal)
      const done = work.finally(() => underWay.delete(id))
      underWay.set(id, done)
      return done
    },
    explain(request) {
      const id = request.id ?? mintId('ag', clock.wallMs())
      return decide(needOf(specOf({ ...request, id }, { owner: peer, realm: mesh.realm().id })), new Set())
    },
  }
}
