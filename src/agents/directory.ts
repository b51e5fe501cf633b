/**
 * Where agents are, seen from any node. One agent: its host by hint or by its homes. All of them: every node that is up is
 * asked for its own, and for those it knows as a home and whose host is silent, so that the agents of a dead host are
 * shown as lost and are never simply missing. Hosts in other realms are known from the records and asked like the rest.
 */
import { isLive, type Agent, type AgentStatus } from '../base/agent.ts'
import { sleep, type Clock } from '../base/clock.ts'
import { GodelError, hasCode, reasonOf } from '../base/errors.ts'
import type { Limits } from '../base/limits.ts'
import type { GuestView } from '../mesh/guest-view.ts'
import { isUp } from '../mesh/records.ts'
import type { PeerState, View } from '../mesh/view.ts'
import type { Rpc } from '../net/method.ts'
import type { Ownership } from '../ownership/ownership.ts'
import { agentList, agentStatus } from './methods.ts'

export interface AgentFilter {
  /** Ended agents (`stopped`) are listed only when asked for. */
  status?: AgentStatus
  labels?: Record<string, string>
  /** The host, by name or PeerId. */
  node?: string
  model?: string
}

export interface Unanswered {
  peer: string
  node: string
  reason: string
}

export interface Directory {
  /** The agent as its host says, or as lost when the host is silent. AGENT_NOT_FOUND. */
  get(agent: string, signal?: AbortSignal): Promise<Agent>
  /** Like `get`, but undefined when nobody knows it. */
  find(agent: string, signal?: AbortSignal): Promise<Agent | undefined>
  list(filter: AgentFilter): Promise<{ agents: Agent[]; unanswered: Unanswered[] }>
  /** Remembers where an agent was seen, to ask there first. */
  seen(agent: Agent): void
  /** Where an agent was last seen; a hint, which its host confirms or refuses. */
  hint(agent: string): Hint | undefined
  forget(agent: string): void
}

interface Hint {
  host: string
  epoch: number
}

interface DirectoryDeps {
  rpc: Rpc
  view: View
  guests: Pick<GuestView, 'get'>
  ownership: Ownership
  clock: Clock
  limits: Limits
}

interface Pages {
  agents: Agent[]
  orphans: Agent[]
}

export const createDirectory = ({ rpc, view, guests, ownership, clock, limits }: DirectoryDeps): Directory => {
  const hints = new Map<string, Hint>()
  const nameOf = (peer: string) => (view.get(peer) ?? guests.get(peer))?.ad.name ?? peer
  /** Whoever may answer: a suspect is asked too, since it may only be slow. */
  const up = () => [...view.entries()].filter(({ state }) => isUp(state)).map(({ peer }) => peer)

  const seen = ({ id, host, epoch }: Agent): void => {
    hints.delete(id)
    hints.set(id, { host, epoch })
    if (hints.size > limits.agentHintsMax) hints.delete(hints.keys().next().value!)
  }

  const askHost = async (host: string, agent: string, signal?: AbortSignal): Promise<Agent | undefined> => {
    const options = { timeoutMs: limits.lookupTimeoutMs, ...(signal && { signal }) }
    const answer = await rpc.call(host, agentStatus, { agent }, options)
    if (answer.agent) seen(answer.agent)
    return answer.agent
  }

  /** A host outside the realm may be one that the owner alone has to do with, so that nobody else can tell how it is. */
  const mayBeSeen = ({ owner, host }: Agent): boolean =>
    owner !== host && [...view.entries()].some(({ peer, self, state }) => peer === owner && !self && isUp(state))

  /** The host is silent: what the record says, as lost when the host is gone, else as it was with the reason said. */
  const fromRecord = (agent: Agent, error: unknown): Agent => {
    if (agent.status === 'stopped' || agent.status === 'failed') return agent
    const why = typeof error === 'string' ? error : reasonOf(error)
    const abroad = guests.get(agent.host)
    const state = (view.get(agent.host) ?? abroad)?.state
    // A realm that withdrew its grant says so, or is simply not to be seen any more.
    const isOut = !view.get(agent.host) && hasCode(error, ...shutOut)
    if (isUp(state) && !isOut) return { ...agent, reason: `its host does not answer: ${why}` }
    const host = abroad?.realmName === undefined ? agent.hostName : `${agent.hostName} of realm ${abroad.realmName}`
    if (isOut)
      return { ...agent, status: 'lost', reason: `its host ${host} lets this realm in no longer${detailOf(error)}` }
    if (state === undefined && mayBeSeen(agent)) {
      const reason = `its host ${host} is not seen from here; ask on ${nameOf(agent.owner)}, which spawned it`
      return { ...agent, status: 'in-doubt', reason }
    }
    return { ...agent, status: 'lost', reason: `its host ${host} ${wordsFor(state)}` }
  }

  const everywhere = async (agent: string, signal?: AbortSignal): Promise<Agent | undefined> => {
    const peers = up().slice(0, limits.agentSearchPeersMax)
    const answers = await Promise.allSettled(peers.map((peer) => askHost(peer, agent, signal)))
    return answers
      .flatMap((answer) => (answer.status === 'fulfilled' && answer.value ? [answer.value] : []))
      .reduce<Agent | undefined>((best, next) => (best && best.epoch >= next.epoch ? best : next), undefined)
  }

  /** The agent where it was last seen, if it lives there; or the host that gave no answer, and why. */
  const askHint = async (
    agent: string,
    signal?: AbortSignal,
  ): Promise<{ hit?: Agent | undefined; silent?: { host: string; error: unknown } }> => {
    const hint = hints.get(agent)
    if (hint === undefined) return {}
    try {
      const hit = await askHost(hint.host, agent, signal)
      if (hit && isLive(hit.status) && hit.epoch >= hint.epoch) return { hit }
      hints.delete(agent)
      return {}
    } catch (error) {
      signal?.throwIfAborted()
      hints.delete(agent)
      return { silent: { host: hint.host, error } }
    }
  }

  const find = async (agent: string, signal?: AbortSignal): Promise<Agent | undefined> => {
    const { hit, silent } = await askHint(agent, signal)
    if (hit) return hit
    const record = await ownership.lookup(agent, signal)
    if (!record) return everywhere(agent, signal)
    // A host that was silent a moment ago is not waited for a second time.
    if (silent && silent.host === record.agent.host) return fromRecord(record.agent, silent.error)
    try {
      const answer = await askHost(record.agent.host, agent, signal)
      if (answer && answer.epoch >= record.agent.epoch) return answer
      return fromRecord(record.agent, 'it does not know the agent yet')
    } catch (error) {
      signal?.throwIfAborted()
      return fromRecord(record.agent, error)
    }
  }

  const pagesOf = async (peer: string, unanswered: string[], timeoutMs: number): Promise<Pages> => {
    const all: Pages = { agents: [], orphans: [] }
    for await (const page of rpc.stream(peer, agentList, { unanswered }, { timeoutMs })) {
      all.agents.push(...page.agents)
      all.orphans.push(...page.orphans)
    }
    return all
  }

  /**
   * Asks every node for its own agents. Who has not answered in half of the time may hold agents that only their homes can name:
   * those that did answer are asked again, by name of the silent, so that the whole is over within limits.listTimeoutMs. In the
   * second half the hosts abroad are asked too, which the records of the first half have named.
   */
  const list = async (filter: AgentFilter) => {
    const pages: Pages[] = []
    const answered = new Set<string>()
    const errors = new Map<string, unknown>()
    const halfMs = limits.listTimeoutMs / 2
    const askOwn = async (peer: string, timeoutMs: number): Promise<void> => {
      try {
        pages.push(await pagesOf(peer, [], timeoutMs))
        answered.add(peer)
      } catch (error) {
        errors.set(peer, error)
      }
    }
    const all = Promise.all(up().map((peer) => askOwn(peer, limits.listTimeoutMs)))
    await within(clock, halfMs, all)
    const late = up().filter((peer) => !answered.has(peer))
    const second = late.length === 0 ? [] : [...answered].map((peer) => pagesOf(peer, late, halfMs))
    const abroad = Promise.all(hostsAbroad(pages).map((peer) => askOwn(peer, halfMs)))
    for (const outcome of await Promise.allSettled(second))
      if (outcome.status === 'fulfilled') pages.push(outcome.value)
    await Promise.all([all, abroad])
    const agents = merge(pages, answered, (agent) =>
      fromRecord(agent, errors.get(agent.host) ?? 'it did not answer in time'),
    )
    for (const agent of agents) seen(agent)
    const unanswered = [...errors].map(([peer, error]) => ({ peer, node: nameOf(peer), reason: reasonOf(error) }))
    return { agents: agents.filter((agent) => matches(agent, filter)), unanswered }
  }

  /** Hosts outside the realm that live agents are recorded at, as far as they are to be seen. */
  const hostsAbroad = (pages: readonly Pages[]): string[] => {
    const orphans = pages.flatMap((page) => page.orphans).filter(({ status }) => isLive(status))
    const hosts = new Set(orphans.map(({ host }) => host))
    return [...hosts]
      .filter((host) => !view.get(host) && isUp(guests.get(host)?.state))
      .slice(0, limits.agentSearchPeersMax)
  }

  return {
    find,
    list,
    seen,
    hint: (agent) => hints.get(agent),
    forget: (agent) => void hints.delete(agent),
    async get(agent, signal) {
      const found = await find(agent, signal)
      if (!found) throw new GodelError({ code: 'AGENT_NOT_FOUND', agent })
      return found
    },
  }
}

/** What a host abroad answers once it lets this realm, or this node, in no longer. */
const shutOut = ['FORBIDDEN', 'NOT_A_MEMBER', 'CERTIFICATE_INVALID', 'REALM_MISMATCH'] as const

/** What the host said, where it tells more than that this realm is a stranger there. */
const detailOf = (error: unknown): string => (hasCode(error, 'REALM_MISMATCH') ? '' : `: ${reasonOf(error)}`)

const wordsFor = (state: PeerState | undefined): string =>
  state === undefined ? 'has not been heard of' : state === 'left' ? 'has left' : `is ${state}`

/** Resolves with the work, or after `ms` without it; the work goes on. */
const within = async (clock: Clock, ms: number, work: Promise<unknown>): Promise<void> => {
  const over = new AbortController()
  const late = sleep(clock, ms, over.signal).catch(() => {})
  await Promise.race([work, late])
  over.abort()
}

/**
 * One entry per agent: the host's own word where the host answered, else the newest record. A record of a host that answered
 * and did not name the agent is out of date and is left out.
 */
const merge = (pages: Pages[], answered: ReadonlySet<string>, fromRecord: (agent: Agent) => Agent): Agent[] => {
  const best = new Map<string, Agent>()
  const better = (next: Agent, known: Agent | undefined) =>
    !known || next.epoch > known.epoch || (next.epoch === known.epoch && next.changedAtMs > known.changedAtMs)
  for (const agent of pages.flatMap((page) => page.agents))
    if (better(agent, best.get(agent.id))) best.set(agent.id, agent)
  const records = pages.flatMap((page) => page.orphans).filter((agent) => !answered.has(agent.host))
  for (const agent of records) if (better(agent, best.get(agent.id))) best.set(agent.id, fromRecord(agent))
  return [...best.values()].toSorted((a, b) => (a.id < b.id ? -1 : 1))
}

/** Whether a listing with this filter shows the agent. */
export const matches = (agent: Agent, filter: AgentFilter): boolean =>
  (filter.status === undefined ? agent.status !== 'stopped' : agent.status === filter.status) &&
  Object.entries(filter.labels ?? {}).every(([key, value]) => agent.labels[key] === value) &&
  (filter.node === undefined || agent.hostName === filter.node || agent.host === filter.node) &&
  (filter.model === undefined || agent.model === filter.model)
