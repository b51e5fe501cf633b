/**
 * Room ownership: who runs which agent, under which epoch, and who knows it.
 *
 * ownership.ts   publishes records to the homes, looks them up, hands them on when homes change (this file)
 * records.ts     a record and the owner's grant: sealing, opening, which of two stands
 * homes.ts       which members keep the records of an agent
 * shelf.ts       the records that this node keeps as a home
 * abroad.ts      records of agents that run in another realm than their own
 * methods.ts     record.put, record.get and record.hand between peers
 *
 * A host publishes at the homes of its agents; a look-up asks them. A lower epoch is refused everywhere, which is how a
 * host learns that its copy has been superseded. The room decides nothing about agents: it tells, and `agents` acts.
 */
import type { Agent, AgentRecord } from '../base/agent.ts'
import { every, type Clock } from '../base/clock.ts'
import { hasCode, reasonOf } from '../base/errors.ts'
import type { Limits } from '../base/limits.ts'
import type { Log } from '../base/log.ts'
import type { GuestView } from '../mesh/guest-view.ts'
import { isUp } from '../mesh/records.ts'
import type { View } from '../mesh/view.ts'
import { bind, type BoundMethod, type Rpc } from '../net/method.ts'
import type { Store } from '../store/store.ts'
import { createAbroad } from './abroad.ts'
import { homesOf } from './homes.ts'
import { recordGet, recordHand, recordPut } from './methods.ts'
import { openRecord, sealRecord, supersedes, type SealedRecord, type Sealer } from './records.ts'
import { openShelf, type Held } from './shelf.ts'

export interface Ownership {
  /**
   * Tells the homes of an agent where it is. Resolves once most of them have it on disk, or all have been tried, with the number
   * that have. The homes of an agent of another realm are told by a node of that realm.
   * STALE_EPOCH when a home knows a higher epoch, CONFLICT when one knows that the agent has ended, FORBIDDEN.
   */
  publish(record: AgentRecord, grant: Uint8Array): Promise<number>
  /** The newest record of an agent that its homes (and this node) know; undefined when none does. */
  lookup(agent: string, signal?: AbortSignal): Promise<AgentRecord | undefined>
  /** Agents that this node knows as a home and whose host is in `unanswered`, abroad, or not up in this node's view. */
  orphans(unanswered: ReadonlySet<string>): Agent[]
  /** Hands the records of hosts that are gone to the homes of now. */
  handOn(): Promise<void>
  /** The rows that `node` registers. */
  readonly methods: readonly BoundMethod[]
  close(): void
}

interface OwnershipDeps {
  peer: string
  /** The id of this node's realm. */
  realm: () => string
  rpc: Rpc
  sealer: Sealer
  view: View
  /** Nodes outside the realm. */
  guests: Pick<GuestView, 'get'>
  /** The nodes of another realm that are connected at the moment. */
  guestsOf: (realm: string) => readonly string[]
  store: Store
  clock: Clock
  log: Log
  limits: Limits
}

/** Starts the room: reads the shelf, and from then on hands records on as homes change. */
export const startOwnership = async (deps: OwnershipDeps): Promise<Ownership> => {
  const { peer, rpc, sealer, view, guests, clock, log, limits } = deps
  const shelf = await openShelf(deps)
  const abroad = createAbroad({ ...deps, isMember: (other) => view.get(other) !== undefined })
  const members = () => view.alive().map((entry) => entry.peer)
  const homes = (agent: string) => homesOf(agent, members(), limits.agentHomes)
  const isHostUp = (host: string) => isUp(view.get(host)?.state)

  const put = async (home: string, sealed: SealedRecord): Promise<void> => {
    if (home === peer) await shelf.put(sealed)
    else await rpc.call(home, recordPut, sealed, { timeoutMs: limits.recordTimeoutMs })
  }

  /** A home that is silent and not yet suspected is not waited for once most have answered; any two majorities meet. */
  const publishSealed = (agent: string, sealed: SealedRecord): Promise<number> => {
    const chosen = homes(agent)
    const { promise, resolve, reject } = Promise.withResolvers<number>()
    const failures: unknown[] = []
    let kept = 0
    const check = (): void => {
      if (kept > chosen.length / 2) return resolve(kept)
      if (kept + failures.length < chosen.length) return
      const refusal = failures.find((one) => hasCode(one, 'CONFLICT', 'FORBIDDEN'))
      if (refusal) reject(refusal)
      else resolve(kept)
    }
    for (const home of chosen)
      put(home, sealed).then(
        () => {
          kept++
          check()
        },
        (error: unknown) => {
          failures.push(error)
          log.debug('a home did not take a record', { agent, home, error: reasonOf(error) })
          // A higher epoch outweighs everything else: whoever publishes has to stop its copy.
          if (hasCode(error, 'STALE_EPOCH')) reject(error)
          check()
        },
      )
    check()
    return promise
  }

  const ask = async (home: string, agent: string, signal?: AbortSignal): Promise<AgentRecord | undefined> => {
    if (home === peer) return shelf.get(agent)?.record
    const options = { timeoutMs: limits.lookupTimeoutMs, ...(signal && { signal }) }
    const { held } = await rpc.call(home, recordGet, { agent }, options)
    return held ? openRecord(sealer, held) : undefined
  }

  /** A dead host cannot refresh its records: the homes that are left hand them to the ones that took over. */
  const handOn = async (): Promise<void> => {
    await shelf.sweep()
    const isGone = ({ record }: Held) =>
      !isHostUp(record.agent.host) && guests.get(record.agent.host)?.state !== 'alive'
    for (const { record, sealed } of shelf.all().filter(isGone)) {
      await publishSealed(record.agent.id, sealed).catch((error: unknown) =>
        log.debug('a record was not handed on', { agent: record.agent.id, error: reasonOf(error) }),
      )
    }
  }
  const loop = every(
    clock,
    () => limits.recordRefreshMs,
    handOn,
    (error) => log.warn('handing records on failed', { error: reasonOf(error) }),
  )

  return {
    async publish(record, grant) {
      const sealed = await sealRecord(sealer, record, grant)
      return abroad.isForeign(record) ? abroad.hand(record, sealed) : publishSealed(record.agent.id, sealed)
    },
    async lookup(agent, signal) {
      const answers = await Promise.allSettled(
        [...new Set([peer, ...homes(agent)])].map((home) => ask(home, agent, signal)),
      )
      signal?.throwIfAborted()
      return answers
        .flatMap((answer) => (answer.status === 'fulfilled' && answer.value ? [answer.value] : []))
        .reduce<AgentRecord | undefined>((best, next) => (best && !supersedes(next, best) ? best : next), undefined)
    },
    orphans: (unanswered) =>
      shelf
        .all()
        .map((held) => held.record.agent)
        .filter((agent) => unanswered.has(agent.host) || !isHostUp(agent.host)),
    handOn,
    methods: [
      bind(recordPut, async (sealed) => {
        const { agent } = await shelf.put(sealed)
        return { epoch: agent.epoch }
      }),
      bind(recordGet, ({ agent }) => {
        const held = shelf.get(agent)
        return held ? { held: held.sealed } : {}
      }),
      bind(recordHand, async (sealed, { peer: from }) => {
        const { agent } = await abroad.receive(sealed, from)
        return { homes: await publishSealed(agent.id, sealed) }
      }),
    ],
    close: () => loop.stop(),
  }
}
