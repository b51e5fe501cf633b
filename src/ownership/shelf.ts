/** The records that this node keeps as a home: on disk before they are acknowledged, bounded, the newest of each agent. */
import { isLive, type AgentRecord } from '../base/agent.ts'
import type { Clock } from '../base/clock.ts'
import { GodelError } from '../base/errors.ts'
import type { Limits } from '../base/limits.ts'
import type { Log } from '../base/log.ts'
import type { Store, Write } from '../store/store.ts'
import { decodeSealed, encodeSealed, openRecord, supersedes, type SealedRecord, type Sealer } from './records.ts'

const SPACE = 'records'

export interface Held {
  record: AgentRecord
  sealed: SealedRecord
}

export interface Shelf {
  /**
   * Keeps a record if it is newer than what is here; resolves when that is durable.
   * STALE_EPOCH when a higher epoch is known, CONFLICT when the agent has ended and a new epoch would bring it back, FORBIDDEN when the agent belongs to another owner, QUEUE_FULL at the bound.
   */
  put(sealed: SealedRecord): Promise<AgentRecord>
  get(agent: string): Held | undefined
  all(): Held[]
  /** Forgets records of agents that ended longer ago than they are kept. */
  sweep(): Promise<void>
}

/** Reads what the store holds; a record there that does not verify any more is dropped and logged. */
export const openShelf = async (deps: {
  store: Store
  sealer: Sealer
  clock: Clock
  log: Log
  limits: Pick<Limits, 'recordsMax' | 'killedWorkspaceMs'>
}): Promise<Shelf> => {
  const { store, sealer, clock, log, limits } = deps
  const held = new Map<string, Held>()
  for (const [key, bytes] of store.scan(SPACE)) {
    try {
      const sealed = decodeSealed(bytes)
      held.set(key, { record: await openRecord(sealer, sealed), sealed })
    } catch (error) {
      log.warn('a stored record does not hold', { agent: key, error: String(error) })
    }
  }

  const refuse = (record: AgentRecord, known: Held | undefined): void => {
    const { agent } = record
    if (known === undefined) {
      if (held.size >= limits.recordsMax)
        throw new GodelError({ code: 'QUEUE_FULL', what: 'the shelf of agent records', limit: limits.recordsMax })
      return
    }
    const current = known.record.agent
    if (current.owner !== agent.owner)
      throw new GodelError({ code: 'FORBIDDEN', action: `a record of ${agent.id}`, reason: 'it has another owner' })
    const overtaken = current.epoch > agent.epoch || (current.epoch === agent.epoch && current.host > agent.host)
    if (overtaken)
      throw new GodelError({ code: 'STALE_EPOCH', agent: agent.id, epoch: agent.epoch, current: current.epoch })
    // A spawn that is still under way elsewhere must not bring back what somebody has killed, and was told is dead.
    if (current.status === 'stopped' && agent.epoch > current.epoch)
      throw new GodelError({ code: 'CONFLICT', what: `agent ${agent.id}`, reason: 'it has ended' })
  }

  return {
    async put(sealed) {
      const record = await openRecord(sealer, sealed)
      const known = held.get(record.agent.id)
      refuse(record, known)
      if (known && !supersedes(record, known.record)) return known.record
      held.set(record.agent.id, { record, sealed })
      await store.commit([{ space: SPACE, key: record.agent.id, value: encodeSealed(sealed) }])
      return record
    },
    get: (agent) => held.get(agent),
    all: () => [...held.values()],
    async sweep() {
      const before = clock.wallMs() - limits.killedWorkspaceMs
      const gone: Write[] = []
      for (const [id, { record }] of held) {
        if (isLive(record.agent.status) || record.agent.changedAtMs > before) continue
        held.delete(id)
        gone.push({ space: SPACE, key: id, value: null })
      }
      if (gone.length > 0) await store.commit(gone)
    },
  }
}
