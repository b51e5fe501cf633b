/**
 * The replicated view of the realm: one record per peer, merged by records.ts, read by everybody, written by `mesh` alone.
 * What a peer says of itself only that peer writes: `merge` never touches the own entry. A record outlives its expiry as a
 * tombstone, so that an expired (incarnation, sequence) is refused from then on.
 */
import type { Advertisement } from '../base/advertisement.ts'
import type { Clock } from '../base/clock.ts'
import { GodelError, reasonOf } from '../base/errors.ts'
import type { Limits } from '../base/limits.ts'
import type { Log } from '../base/log.ts'
import {
  accusersOf,
  compareAds,
  isExpired,
  mergeRecords,
  stateOf,
  withAccusation,
  type Accusation,
  type PeerRecord,
  type PeerState,
} from './records.ts'

export type { PeerState } from './records.ts'

/** Why a peer counts as suspect or down: who says so, or nobody, where its advertisement has expired. */
export interface PeerVerdict {
  readonly reason: 'accused' | 'expired'
  readonly accusers: readonly string[]
  /** Milliseconds since the first accusation, or since the expiry. */
  readonly sinceMs: number
}

export interface PeerView {
  readonly peer: string
  readonly state: PeerState
  readonly ad: Advertisement
  /** Milliseconds since its author issued the advertisement; 0 for the own node, whose `ad` is its present state. */
  readonly ageMs: number
  readonly self: boolean
  readonly verdict?: PeerVerdict
}

export interface View {
  self(): PeerView
  get(peer: string): PeerView | undefined
  /** The node of that name; of several, one that is alive, and then the one with the lowest PeerId. */
  byName(name: string): PeerView | undefined
  /** Everybody that is known, the own node included. A peer that went out of sight stays as `down` or `left` for a while. */
  entries(): Iterable<PeerView>
  /** Those in state `alive`, the own node included. */
  alive(): PeerView[]
  /** Tells of every new peer, new advertisement and new state. The entry is as of now; listeners must not throw. */
  onChange(fn: (entry: PeerView, previous?: PeerView) => void): () => void
}

/** What became of a record that was handed in. */
export type MergeOutcome = 'news' | 'known' | 'stale' | 'self'

/** The writing side, for the parts of this room. */
export interface MeshView extends View {
  /** The own entry. `record` is the last word that was sealed, `present` the state of now. */
  setSelf(record: PeerRecord, present: () => Advertisement): void
  /** Merges a verified record; QUEUE_FULL at limits.peersPerRealmMax. Never changes the own entry. */
  merge(record: PeerRecord): MergeOutcome
  /** Adds a verified accusation; counts only against the incarnation that is known of its subject. */
  accuse(subject: string, incarnation: number, accusation: Accusation): MergeOutcome
  /** Takes out a peer that belongs to the realm no longer: told of as left, and what it says of others counts no more. */
  remove(peer: string): void
  record(peer: string): PeerRecord | undefined
  /** The records that are handed on: whatever has not expired, the own included. */
  records(): PeerRecord[]
  /** How many are up, the own node included. */
  size(): number
  /** Lets time take effect: suspects become down, expired entries go out of use, tombstones are dropped. */
  sweep(): void
  /** Grows at least with every change of what `records` gives. */
  version(): number
}

interface Held {
  record: PeerRecord
  state: PeerState
}

type ViewLimits = Pick<
  Limits,
  | 'peersPerRealmMax'
  | 'tombstoneMs'
  | 'accusersKept'
  | 'downWaitMs'
  | 'downWaitMsMin'
  | 'downWaitAloneFactor'
  | 'downAccusers'
>

export const createView = (
  { clock, limits, log }: { clock: Clock; limits: ViewLimits; log: Log },
  { peer: self }: { peer: string },
): MeshView => {
  const held = new Map<string, Held>()
  const listeners = new Set<(entry: PeerView, previous?: PeerView) => void>()
  let present: (() => Advertisement) | undefined
  let version = 0
  let up = 1

  const isUp = (state: PeerState) => state === 'alive' || state === 'suspect'

  const show = (entry: Held): PeerView => {
    const { record, state } = entry
    const nowMs = clock.monotonicMs()
    const own = record.peer === self
    const verdict = own ? undefined : verdictOf(record, state, nowMs)
    return {
      peer: record.peer,
      state,
      ad: own && present ? present() : record.ad,
      ageMs: own ? 0 : Math.max(0, Math.round(nowMs - record.issuedAtMs)),
      self: own,
      ...(verdict && { verdict }),
    }
  }

  const tell = (entry: Held, previous: Held | undefined): void => {
    if (listeners.size === 0) return
    const now = show(entry)
    const before = previous && show(previous)
    for (const listener of listeners) {
      try {
        listener(now, before)
      } catch (error) {
        log.error('a listener of the view failed', { error: reasonOf(error) })
      }
    }
  }

  const stateNow = (record: PeerRecord, previous: Held | undefined): PeerState => {
    const state = stateOf(record, { nowMs: clock.monotonicMs(), peers: up, self }, limits)
    // A growing mesh lengthens the wait; what was down stays so until its subject speaks with a higher incarnation.
    const wasDown = previous?.state === 'down' && previous.record.ad.incarnation === record.ad.incarnation
    return state === 'suspect' && wasDown ? 'down' : state
  }

  /** Puts a record in place and tells of it if anything that others can see has changed. */
  const put = (record: PeerRecord): void => {
    const previous = held.get(record.peer)
    const entry = {
      record,
      state: record.peer === self && !record.ad.left ? 'alive' : stateNow(record, previous),
    } as Held
    held.set(record.peer, entry)
    if (record.peer !== self) up += Number(isUp(entry.state)) - Number(previous !== undefined && isUp(previous.state))
    const sameWord = previous !== undefined && compareAds(previous.record, record) === 0
    version++
    if (!sameWord || previous.state !== entry.state) tell(entry, previous)
  }

  const get = (peer: string): PeerView | undefined => {
    const entry = held.get(peer)
    return entry && show(entry)
  }

  const sweep = (): void => {
    version++ // what has expired meanwhile is not handed on any more
    const nowMs = clock.monotonicMs()
    for (const [peer, entry] of held) {
      if (peer === self) continue
      const { record } = entry
      if (nowMs >= record.issuedAtMs + record.ad.ttlMs + limits.tombstoneMs) {
        held.delete(peer)
      } else if (stateNow(record, entry) !== entry.state) put(record)
    }
  }

  return {
    self() {
      const own = get(self)
      if (!own)
        throw new GodelError({ code: 'INTERNAL', reason: 'the view was read before the node wrote its own entry' })
      return own
    },
    get,
    byName(name) {
      let best: Held | undefined
      for (const entry of held.values()) {
        if (entry.record.ad.name !== name) continue
        const better =
          best === undefined ||
          Number(entry.state === 'alive') > Number(best.state === 'alive') ||
          (entry.state === best.state && entry.record.peer < best.record.peer)
        if (better) best = entry
      }
      return best && show(best)
    },
    entries: () => [...held.values()].map(show),
    alive: () => [...held.values()].filter((entry) => entry.state === 'alive').map(show),
    onChange(fn) {
      listeners.add(fn)
      return () => void listeners.delete(fn)
    },
    setSelf(record, now) {
      present = now
      put(record)
    },
    merge(record) {
      if (record.peer === self) return 'self'
      const known = held.get(record.peer)
      if (!known) {
        if (isExpired(record, clock.monotonicMs())) return 'stale'
        if (held.size >= limits.peersPerRealmMax)
          throw new GodelError({ code: 'QUEUE_FULL', what: 'the view', limit: limits.peersPerRealmMax })
        put(record)
        return 'news'
      }
      const merged = mergeRecords(known.record, record, limits.accusersKept)
      put(merged)
      if (compareAds(merged, known.record) !== 0 || accusersOf(merged) !== accusersOf(known.record)) return 'news'
      return compareAds(record, known.record) < 0 ? 'stale' : 'known'
    },
    accuse(subject, incarnation, accusation) {
      if (subject === self) return 'self'
      const known = held.get(subject)
      if (!known || known.record.ad.incarnation !== incarnation || known.record.ad.left) return 'stale'
      if (known.record.accusations.some((one) => one.accuser === accusation.accuser)) return 'known'
      put(withAccusation(known.record, accusation, limits.accusersKept))
      return 'news'
    },
    remove(peer) {
      const entry = held.get(peer)
      if (peer === self) return
      if (entry) {
        held.delete(peer)
        up -= Number(isUp(entry.state))
        version++
        tell({ ...entry, state: 'left' }, entry)
      }
      for (const { record } of [...held.values()]) {
        const accusations = record.accusations.filter(({ accuser }) => accuser !== peer)
        if (accusations.length === record.accusations.length) continue
        put({ ...record, accusations, accusedAtMs: accusations.length === 0 ? undefined : record.accusedAtMs })
      }
    },
    record: (peer) => held.get(peer)?.record,
    records() {
      const nowMs = clock.monotonicMs()
      return [...held.values()]
        .map((entry) => entry.record)
        .filter((record) => record.peer === self || !isExpired(record, nowMs))
    },
    size: () => up,
    sweep,
    version: () => version,
  }
}

const verdictOf = (record: PeerRecord, state: PeerState, nowMs: number): PeerVerdict | undefined => {
  if (state === 'alive' || state === 'left') return undefined
  const { accusations, accusedAtMs, issuedAtMs, ad } = record
  if (accusations.length > 0 && accusedAtMs !== undefined)
    return {
      reason: 'accused',
      accusers: accusations.map((one) => one.accuser),
      sinceMs: Math.round(nowMs - accusedAtMs),
    }
  return { reason: 'expired', accusers: [], sinceMs: Math.round(nowMs - issuedAtMs - ad.ttlMs) }
}
