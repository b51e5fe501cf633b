/**
 * The agents that this node runs: durable before they are acknowledged, the same after a restart, bounded by admission.
 *
 *   (nothing) --start--> starting --files are there--> idle <--execs--> running
 *   starting --files cannot be had--> (nothing, the caller is told)
 *   starting --the node ended meanwhile--> failed
 *   idle, running --kill | life over | superseded by a higher epoch--> stopped
 *
 * `running` is derived from the execs at hand and never stored. A stopped agent is remembered, and its files kept, for
 * `limits.killedWorkspaceMs`, so that a repeated spawn of its id is seen for what it is.
 */
import type { Isolation, NodeTraits } from '../base/advertisement.ts'
import {
  isLive,
  type Agent,
  type AgentRecord,
  type AgentSpec,
  type AgentStatus,
  type ExecEvent,
  type ExecSpec,
} from '../base/agent.ts'
import type { Clock, Timer } from '../base/clock.ts'
import { GodelError, hasCode, reasonOf } from '../base/errors.ts'
import type { Limits } from '../base/limits.ts'
import type { Log } from '../base/log.ts'
import type { Store } from '../store/store.ts'
import type { Admission } from './admission.ts'
import { createExecs, type RunExec } from './execs.ts'
import { readShelvedAgents, shelveAgent, unshelveAgent, type ShelvedAgent } from './host-store.ts'
import { startingAgent } from './need-of.ts'
import type { Watchdog } from './watchdog.ts'
import type { WorkspaceSourceFiles, Workspaces } from './workspaces.ts'

/** What a host is told to run. */
export interface StartOrder {
  spec: AgentSpec
  epoch: number
  /** The owner's sealed word that this node runs it under that epoch. */
  grant: Uint8Array
  reservation: string
  /** True when its files have been sent ahead with `stage`. */
  staged: boolean
  /** The node that asks. */
  from: string
}

export interface Host {
  get(agent: string): Agent | undefined
  /** Every agent that this node knows as its own, ended ones included. */
  list(): Agent[]
  /**
   * Starts an agent, or gives the one of that id and epoch that is there already. Resolves once it is durable and its files are
   * in place. An order that was taken is carried out even if its caller goes away: the caller asks again and finds it.
   * STALE_EPOCH, CONFLICT (ended, or of another owner), RESERVATION_EXPIRED, WORKSPACE_FAILED.
   */
  start(order: StartOrder): Promise<Agent>
  /** Puts files in place for an agent that is reserved, before it starts. WORKSPACE_FAILED, RESERVATION_EXPIRED. */
  stage(reservation: string, from: string, source: AsyncIterable<Uint8Array>, signal: AbortSignal): Promise<void>
  /** Ends an agent and every process of it, unless `check` throws. AGENT_NOT_FOUND. Ending an ended one changes nothing. */
  kill(agent: string, options: { purge: boolean; reason?: string; check?: (agent: Agent) => void }): Promise<Agent>
  /**
   * Ends the agents that may not run here any more, for the reason that `why` gives, as when the grant of their realm was
   * withdrawn or their owner revoked: `stopped`, their files kept for limits.killedWorkspaceMs, and their owners told if they can still be reached.
   */
  endWhere(why: (agent: Agent) => string | undefined): Promise<void>
  /** Runs a command. AGENT_NOT_FOUND, AGENT_NOT_RUNNING, QUEUE_FULL, CONFLICT, EXEC_FAILED. */
  exec(
    agent: string,
    spec: ExecSpec,
    stdin: AsyncIterable<Uint8Array> | undefined,
    signal: AbortSignal,
  ): AsyncIterable<ExecEvent>
  /**
   * Tells the homes of every agent where it is; a copy that has been superseded is stopped. Of an agent that has ended they are
   * told until one of them has it.
   */
  publishAll(): Promise<void>
  /** Forgets what ended long ago and removes files that belong to nothing. */
  sweep(): Promise<void>
  /** Cancels every command. The agents themselves stay, for the next start of the node. */
  close(): void
}

interface HostDeps {
  peer: string
  /** The id of the realm of this node; of a node without one that of the private one, which a later start may replace. */
  realm: string
  store: Store
  clock: Clock
  log: Log
  limits: Limits
  admission: Admission
  workspaces: Workspaces
  watchdog: Watchdog
  runExec: RunExec
  traits: NodeTraits
  isolation: Isolation
  /** Tells the homes. STALE_EPOCH when a higher epoch is known there. */
  publish: (record: AgentRecord, grant: Uint8Array) => Promise<number>
  /** Checks the owner's word. */
  openGrant: (grant: Uint8Array) => Promise<{ owner: string; agent: string; epoch: number; host: string }>
}

/** Reads what was here before and goes on from there. */
export const openHost = async (deps: HostDeps): Promise<Host> => {
  const { peer, realm, store, clock, log, limits, admission, workspaces, watchdog, traits, publish } = deps
  const agents = new Map<string, ShelvedAgent>()
  const starting = new Map<string, Promise<Agent>>()
  const checking = new Map<string, Promise<void>>()
  const staged = new Set<string>()
  const fetching = new Map<string, AbortController>()
  const lives = new Map<string, Timer>()
  /** Agents whose last change no home has. */
  const untold = new Set<string>()
  const execs = createExecs({ limits, clock, runExec: deps.runExec })

  const shown = ({ agent }: ShelvedAgent): Agent =>
    agent.status === 'idle' && execs.count(agent.id) > 0 ? { ...agent, status: 'running' } : agent

  const find = (id: string): ShelvedAgent => {
    const entry = agents.get(id)
    if (!entry) throw new GodelError({ code: 'AGENT_NOT_FOUND', agent: id })
    return entry
  }

  const save = async (entry: ShelvedAgent, status: AgentStatus, reason?: string): Promise<ShelvedAgent> => {
    const { reason: _, ...rest } = entry.agent
    const agent: Agent = { ...rest, status, changedAtMs: clock.wallMs(), ...(reason !== undefined && { reason }) }
    const next = { ...entry, agent, version: entry.version + 1 }
    agents.set(agent.id, next)
    await store.commit([shelveAgent(next)])
    return next
  }

  const tell = async (entry: ShelvedAgent): Promise<void> => {
    const record: AgentRecord = { agent: entry.agent, version: entry.version, mode: 'pinned' }
    const { id, epoch } = entry.agent
    untold.add(id)
    try {
      const homes = await publish(record, entry.grant)
      if (homes > 0 && agents.get(id)?.version === entry.version) untold.delete(id)
    } catch (error) {
      untold.delete(id)
      if (!hasCode(error, 'STALE_EPOCH')) throw error
      const now = agents.get(id)
      // What was told may be older than what is here: the owner may have raised the epoch of this very copy meanwhile.
      if (now?.agent.epoch !== epoch) return
      log.warn('a copy of an agent was superseded', { agent: id, epoch, by: error.detail.current })
      if (isLive(now.agent.status))
        await end({ ...now, superseded: true }, `superseded by epoch ${error.detail.current}`)
      throw error
    }
  }

  const tellQuietly = (entry: ShelvedAgent): Promise<void> =>
    tell(entry).catch((error: unknown) =>
      log.debug('the homes were not told', { agent: entry.agent.id, error: reasonOf(error) }),
    )

  const end = async (entry: ShelvedAgent, reason: string): Promise<ShelvedAgent> => {
    const { id } = entry.agent
    lives.get(id)?.cancel()
    lives.delete(id)
    const next = await save(entry, 'stopped', reason)
    fetching.get(id)?.abort(new GodelError({ code: 'AGENT_NOT_RUNNING', agent: id, status: 'stopped' }))
    execs.endAll(id)
    await watchdog.endAgent(id).finally(() => admission.release(id))
    log.info('agent stopped', { agent: id, reason })
    return next
  }

  const watchLife = ({ agent }: ShelvedAgent): void => {
    if (agent.expiresAtMs === undefined) return
    const leftMs = Math.max(0, agent.expiresAtMs - clock.wallMs())
    const timer = clock.after(Math.min(leftMs, limits.timerMsMax), () => {
      const entry = agents.get(agent.id)
      if (!entry || !isLive(entry.agent.status)) return
      if (clock.wallMs() < agent.expiresAtMs!) return watchLife(entry)
      end(entry, 'its timeout was reached')
        .then(tellQuietly)
        .catch((error: unknown) =>
          log.error('an agent outlived its timeout', { agent: agent.id, error: reasonOf(error) }),
        )
    })
    lives.set(agent.id, timer)
  }

  const fresh = ({ spec, epoch, grant }: StartOrder): ShelvedAgent => {
    const now = clock.wallMs()
    const at = { host: peer, hostName: traits.name, epoch, isolation: deps.isolation }
    const { timeoutSeconds } = spec
    return {
      agent: {
        ...startingAgent(spec, at, now),
        ...(timeoutSeconds !== undefined && { expiresAtMs: now + timeoutSeconds * 1000 }),
      },
      grant,
      version: 0,
    }
  }

  const checkGrant = async ({ spec, epoch, grant, from }: StartOrder): Promise<void> => {
    const said = await deps.openGrant(grant)
    const holds =
      said.owner === from &&
      said.owner === spec.owner &&
      said.agent === spec.id &&
      said.epoch === epoch &&
      said.host === peer
    if (!holds)
      throw new GodelError({
        code: 'FORBIDDEN',
        action: `starting ${spec.id}`,
        reason: 'the grant does not fit the order',
      })
  }

  /** An agent of this id that is here already: the same one again, the same one under a new epoch, or a conflict. */
  const again = async (known: ShelvedAgent, order: StartOrder): Promise<Agent> => {
    const { agent } = known
    const { id, owner } = order.spec
    if (agent.owner !== owner)
      throw new GodelError({ code: 'CONFLICT', what: `agent ${id}`, reason: 'it has another owner' })
    if (agent.epoch > order.epoch)
      throw new GodelError({ code: 'STALE_EPOCH', agent: id, epoch: order.epoch, current: agent.epoch })
    // Neither was ended by anybody who wanted the agent to end, so its owner may bring it back here.
    const mayReturn = agent.status === 'failed' || known.superseded
    if (mayReturn && agent.epoch < order.epoch) return startFresh(order)
    if (!isLive(agent.status))
      throw new GodelError({ code: 'CONFLICT', what: `agent ${id}`, reason: `it is ${agent.status}` })
    if (agent.epoch === order.epoch) return shown(known)
    const raised = { ...known, grant: order.grant, agent: { ...agent, epoch: order.epoch } }
    const next = await save(raised, agent.status)
    await tell(next)
    return shown(next)
  }

  const fetchFiles = async ({ spec, staged: sent }: StartOrder): Promise<void> => {
    if (sent && staged.delete(spec.id)) return
    if (sent) throw new GodelError({ code: 'WORKSPACE_FAILED', reason: 'the files that were sent ahead are gone' })
    const source: WorkspaceSourceFiles = spec.git === undefined ? { kind: 'empty' } : { kind: 'git', url: spec.git }
    const abort = new AbortController()
    fetching.set(spec.id, abort)
    try {
      await workspaces.prepare(spec.id, source, abort.signal)
    } catch (error) {
      // Why it was broken off says to the caller whether to go elsewhere.
      throw abort.signal.aborted ? abort.signal.reason : error
    } finally {
      fetching.delete(spec.id)
    }
  }

  const startFresh = async (order: StartOrder): Promise<Agent> => {
    const { id } = order.spec
    admission.take(order.reservation, order.from, id)
    const entry = fresh(order)
    agents.set(id, entry)
    try {
      await store.commit([shelveAgent(entry)])
      await fetchFiles(order)
    } catch (error) {
      // Killed meanwhile: its end is on record and stays there.
      if (agents.get(id)?.agent.status !== 'stopped') await forget(id)
      throw error
    }
    const now = find(id)
    if (now.agent.status !== 'starting')
      throw new GodelError({ code: 'AGENT_NOT_RUNNING', agent: id, status: now.agent.status })
    const idle = await save(now, 'idle')
    watchLife(idle)
    log.info('agent started', { agent: id, epoch: order.epoch, owner: order.spec.owner })
    await tell(idle).catch((error: unknown) => {
      if (hasCode(error, 'STALE_EPOCH')) throw error
      log.debug('the homes were not told', { agent: id, error: reasonOf(error) })
    })
    return shown(find(id))
  }

  const startOnce = async (order: StartOrder): Promise<Agent> => {
    const { id } = order.spec
    const checked = checkGrant(order).finally(() => checking.delete(id))
    checking.set(id, checked)
    await checked
    const known = agents.get(id)
    return known ? again(known, order) : startFresh(order)
  }

  const forget = async (id: string): Promise<void> => {
    agents.delete(id)
    untold.delete(id)
    try {
      await workspaces.remove(id)
    } finally {
      admission.release(id)
      await store.commit([unshelveAgent(id)])
    }
  }

  await workspaces.removeUnfinished()
  for (const entry of readShelvedAgents(store, log)) {
    agents.set(entry.agent.id, entry)
    if (entry.agent.status === 'starting') await save(entry, 'failed', 'the node ended before its files were in place')
    untold.add(entry.agent.id)
    if (!isLive(find(entry.agent.id).agent.status)) continue
    // The node may bear another name since, or have come into a realm: what it spawned itself comes along, as no other owns it.
    const here = { hostName: traits.name, realm: entry.agent.owner === peer ? realm : entry.agent.realm }
    if (entry.agent.hostName !== here.hostName || entry.agent.realm !== here.realm)
      await save({ ...entry, agent: { ...entry.agent, ...here } }, entry.agent.status)
    admission.occupy(entry.agent)
    watchLife(find(entry.agent.id))
  }

  return {
    get: (id) => {
      const entry = agents.get(id)
      return entry && shown(entry)
    },
    list: () => [...agents.values()].map(shown),
    async start(order) {
      const { id } = order.spec
      while (starting.has(id)) await starting.get(id)!.catch(() => {})
      const started = startOnce(order).finally(() => starting.delete(id))
      starting.set(id, started)
      return started
    },
    async stage(reservation, from, source, signal) {
      const { agent } = admission.renew(reservation, from)
      const stream = renewing(source, () => admission.renew(reservation, from))
      await workspaces.prepare(agent, { kind: 'tar', stream }, signal)
      staged.add(agent)
    },
    async kill(id, { purge, reason, check }) {
      // An order that came before is here by then, so that a caller who takes it back does not miss it.
      await checking.get(id)?.catch(() => {})
      const entry = find(id)
      check?.(shown(entry))
      const next = isLive(entry.agent.status) ? await end(entry, reason ?? 'killed') : entry
      if (purge) {
        // Files that are still on their way would come after the removal.
        await starting.get(id)?.catch(() => {})
        await workspaces.remove(id)
      }
      if (next !== entry) await tellQuietly(next)
      return next.agent
    },
    exec(id, spec, stdin, signal) {
      const { agent } = find(id)
      if (agent.status === 'stopped') throw new GodelError({ code: 'AGENT_NOT_FOUND', agent: id })
      if (agent.status !== 'idle') throw new GodelError({ code: 'AGENT_NOT_RUNNING', agent: id, status: agent.status })
      return execs.run(agent, workspaces.dirs(id), spec, stdin, signal)
    },
    async endWhere(why) {
      // All at once: one that is slow to end, or whose homes are slow to hear of it, holds up none of the others.
      const ends = [...agents.values()].map(async (entry) => {
        const reason = isLive(entry.agent.status) ? why(entry.agent) : undefined
        if (reason !== undefined) await tellQuietly(await end(entry, reason))
      })
      await Promise.all(ends)
    },
    async publishAll() {
      for (const entry of agents.values())
        if (isLive(entry.agent.status) || untold.has(entry.agent.id)) await tellQuietly(entry)
    },
    async sweep() {
      const before = clock.wallMs() - limits.killedWorkspaceMs
      for (const { agent } of [...agents.values()]) {
        if (isLive(agent.status) || agent.changedAtMs > before) continue
        await forget(agent.id)
      }
      for (const id of await workspaces.list()) {
        if (agents.has(id) || admission.isReserved(id)) continue
        staged.delete(id)
        await workspaces.remove(id)
      }
    },
    close() {
      for (const timer of lives.values()) timer.cancel()
      for (const abort of fetching.values()) abort.abort(new GodelError({ code: 'NODE_STOPPING', node: traits.name }))
      execs.close()
    },
  }
}

/** Passes a stream through and renews the lease with every part that arrives. */
async function* renewing(source: AsyncIterable<Uint8Array>, renew: () => void): AsyncIterable<Uint8Array> {
  for await (const part of source) {
    renew()
    yield part
  }
}
