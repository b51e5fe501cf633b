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
import { presenceAfter, shownState, stranger, type Presence } from './presence.ts'
import {
  accusersOf,
  compareAds,
  isExpired,
  mergeRecords,
  stateOf,
  withAccusation,
  type Accusation,
  type Evidence,
  type PeerRecord,
  type PeerState,
  type RecordState,
} from './records.ts'

export type { PeerState } from './records.ts'

/** Why a peer counts as suspect or down: who says so, or nobody, where its advertisement has expired. */
export interface PeerVerdict {
  readonly reason: 'accused' | 'expired'
  readonly accusers: readonly string[]
  /** What each accuser met, where it said so. */
  readonly evidence: Readonly<Record<string, Evidence>>
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
  /** How often the peer was seen to start anew, and when last on the local monotonic clock. */
  readonly restarts: number
  readonly restartedAtMs?: number
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
  /**
   * Merges a verified record; QUEUE_FULL at limits.peersPerRealmMax. Never changes the own entry. A word that came `straight`
   * from its author has the age that its author says, whatever others say of it, before or afterwards.
   */
  merge(record: PeerRecord, options?: { straight: boolean }): MergeOutcome
  /** Adds a verified accusation; counts only against the incarnation that is known of its subject. */
  accuse(subject: string, incarnation: number, accusation: Accusation): MergeOutcome
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
  presence: Presence
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
  | 'recoveryTimeMs'
>

export const createView = (
  { clock, limits, log }: { clock: Clock; limits: ViewLimits; log: Log },
  { peer: self, recoveryTimeMs = () => limits.recoveryTimeMs }: { peer: string; recoveryTimeMs?: () => number },
): MeshView => {
  const held = new Map<string, Held>()
  const listeners = new Set<(entry: PeerView, previous?: PeerView) => void>()
  let present: (() => Advertisement) | undefined
  let version = 0
  let up = 1

  const isUp = (state: PeerState) => state !== 'down' && state !== 'left'

  const show = (entry: Held): PeerView => {
    const { record, state, presence } = entry
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
      restarts: presence.restarts,
      ...(presence.restartedAtMs !== undefined && { restartedAtMs: presence.restartedAtMs }),
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

  const stateNow = (record: PeerRecord, previous: Held | undefined): RecordState => {
    const state = stateOf(record, { nowMs: clock.monotonicMs(), peers: up, self }, limits)
    // A growing mesh lengthens the wait; what was down stays so until its subject speaks with a higher incarnation.
    const wasDown = previous?.state === 'down' && previous.record.ad.incarnation === record.ad.incarnation
    return state === 'suspect' && wasDown ? 'down' : state
  }

  /** The entry that a record makes here and now. */
  const judged = (record: PeerRecord, previous: Held | undefined): Held => {
    if (record.peer === self) return { record, state: record.ad.left ? 'left' : 'alive', presence: stranger }
    const state = stateNow(record, previous)
    const at = { nowMs: clock.monotonicMs(), recoveryTimeMs: recoveryTimeMs() }
    const presence = presenceAfter(previous, { record, state }, at)
    return { record, state: shownState(state, presence), presence }
  }

  /** Puts a record in place and tells of it if anything that others can see has changed. */
  const put = (record: PeerRecord): void => {
    const previous = held.get(record.peer)
    const entry = judged(record, previous)
    held.set(record.peer, entry)
    if (record.peer !== self) up += Number(isUp(entry.state)) - Number(previous !== undefined && isUp(previous.state))
    const sameWord = previous !== undefined && compareAds(previous.record, record) === 0
    version++
    if (!sameWord || previous.state !== entry.state) tell(entry, previous)
  }

  /** The record is the latest word of its author or an earlier one, so that what stands is no older than it. */
  const hearStraight = ({ peer, issuedAtMs }: PeerRecord): void => {
    const entry = held.get(peer)!
    const straightAtMs = Math.max(entry.presence.straightAtMs, issuedAtMs)
    held.set(peer, { ...entry, presence: { ...entry.presence, straightAtMs } })
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
      } else if (judged(record, entry).state !== entry.state) put(record)
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
    merge(record, { straight } = { straight: false }) {
      if (record.peer === self) return 'self'
      const known = held.get(record.peer)
      if (!known) {
        if (isExpired(record, clock.monotonicMs())) return 'stale'
        if (held.size >= limits.peersPerRealmMax)
          throw new GodelError({ code: 'QUEUE_FULL', what: 'the view', limit: limits.peersPerRealmMax })
        put(record)
        if (straight) hearStraight(record)
        return 'news'
      }
      const joined = mergeRecords(known.record, record, limits.accusersKept)
      if (straight) hearStraight(record)
      const merged = notOlder(joined, held.get(record.peer)!.presence)
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

/** Outside the merge, which knows only what everybody says: here is what this node knows better. */
const notOlder = (record: PeerRecord, { straightAtMs }: Presence): PeerRecord =>
  record.issuedAtMs >= straightAtMs ? record : { ...record, issuedAtMs: straightAtMs }

const verdictOf = (record: PeerRecord, state: PeerState, nowMs: number): PeerVerdict | undefined => {
  if (state !== 'suspect' && state !== 'down') return undefined
  const { accusations, accusedAtMs, issuedAtMs, ad } = record
  if (accusations.length > 0 && accusedAtMs !== undefined)
    return {
      reason: 'accused',
      accusers: accusations.map((one) => one.accuser),
      evidence: Object.fromEntries(
        accusations.flatMap(({ accuser, evidence }) => (evidence === undefined ? [] : [[accuser, evidence]])),
      ),
      sinceMs: Math.round(nowMs - accusedAtMs),
    }
  return { reason: 'expired', accusers: [], evidence: {}, sinceMs: Math.round(nowMs - issuedAtMs - ad.ttlMs) }
}
