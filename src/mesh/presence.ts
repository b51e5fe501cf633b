/**
 * What this node alone knows of a peer beside its record: since when it is back, how often it has started, and what the peer
 * itself said of the age of its words. None of it is merged or handed on. Pure.
 */
import type { PeerRecord, PeerState, RecordState } from './records.ts'

export interface Presence {
  /** It was down and is alive since then; undefined where it never was, or has been well for long enough. */
  readonly backAtMs: number | undefined
  /** How often it has been seen to start anew. */
  readonly restarts: number
  readonly restartedAtMs: number | undefined
  /** A word that came straight from its author was issued then; what is newer is not older. */
  readonly straightAtMs: number
}

export const stranger: Presence = {
  backAtMs: undefined,
  restarts: 0,
  restartedAtMs: undefined,
  straightAtMs: Number.NEGATIVE_INFINITY,
}

interface Known {
  readonly record: PeerRecord
  readonly state: PeerState
  readonly presence: Presence
  /** Suspect by the word of one other alone, which changes nothing of what is known here. */
  readonly doubted: boolean
}

/**
 * What is known after a record has come to mean `state`. A peer that becomes suspect while it recovers begins anew once that is
 * cleared up. A start is told by `startedAs`, since a refutation raises the incarnation as well.
 */
export const presenceAfter = (
  before: Known | undefined,
  { record, state, doubted }: { record: PeerRecord; state: RecordState; doubted: boolean },
  { nowMs, recoveryTimeMs }: { nowMs: number; recoveryTimeMs: number },
): Presence => {
  if (before === undefined) return stranger
  const { presence } = before
  const { startedAs } = record.ad
  const startedBefore = before.record.ad.startedAs
  const hasRestarted = startedAs !== undefined && startedBefore !== undefined && startedAs > startedBefore
  const backAtMs = backAt(before, doubted ? 'alive' : state, nowMs, recoveryTimeMs)
  if (!hasRestarted && backAtMs === presence.backAtMs) return presence
  return {
    ...presence,
    backAtMs,
    ...(hasRestarted && { restarts: presence.restarts + 1, restartedAtMs: nowMs }),
  }
}

const backAt = (before: Known, state: RecordState, nowMs: number, recoveryTimeMs: number): number | undefined => {
  const { backAtMs } = before.presence
  if (state === 'down' || state === 'left') return undefined
  if (before.state === 'down') return nowMs
  if (backAtMs === undefined) return undefined
  if (before.state === 'suspect' && !before.doubted && state === 'alive') return nowMs
  return state === 'alive' && nowMs >= backAtMs + recoveryTimeMs ? undefined : backAtMs
}

export const shownState = (state: RecordState, { backAtMs }: Presence): PeerState =>
  state === 'alive' && backAtMs !== undefined ? 'recovering' : state

interface Presences {
  get(peer: string): Presence
  set(peer: string, presence: Presence): void
  delete(peer: string): void
  shown(peer: string): { restarts: number; restartedAtMs?: number }
  /** The record came from its author. Whatever stands of that author is this word or a later one, and so is no older. */
  hearStraight(record: PeerRecord): void
  /** Outside the merge, which knows only what everybody says: here is what this node knows better. */
  notOlder(record: PeerRecord): PeerRecord
}

/** Those of whom anything is known at all. */
export const createPresences = (): Presences => {
  const known = new Map<string, Presence>()
  const get = (peer: string): Presence => known.get(peer) ?? stranger
  return {
    get,
    set(peer, presence) {
      if (presence !== stranger) known.set(peer, presence)
    },
    delete: (peer) => void known.delete(peer),
    shown(peer) {
      const { restarts, restartedAtMs } = get(peer)
      return { restarts, ...(restartedAtMs !== undefined && { restartedAtMs }) }
    },
    hearStraight({ peer, issuedAtMs }) {
      const presence = get(peer)
      known.set(peer, { ...presence, straightAtMs: Math.max(presence.straightAtMs, issuedAtMs) })
    },
    notOlder(record) {
      const { straightAtMs } = get(record.peer)
      return record.issuedAtMs >= straightAtMs ? record : { ...record, issuedAtMs: straightAtMs }
    },
  }
}
