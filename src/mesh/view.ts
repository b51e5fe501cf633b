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
import { createDue } from './due.ts'
import { createEntries, type Held } from './entries.ts'
import { createPresences, presenceAfter, shownState, stranger } from './presence.ts'
import {
  accusersOf,
  compareAds,
  isDoubted,
  isExpired,
  isUp,
  mergeRecords,
  stateOf,
  withAccusation,
  type Accusation,
  type PeerRecord,
  type PeerState,
  type RecordState,
} from './records.ts'
import { createTombstones } from './tombstones.ts'
import { verdictOf, type PeerVerdict } from './verdict.ts'

export type { PeerState } from './records.ts'
export type { PeerVerdict } from './verdict.ts'

export interface PeerView {
  readonly peer: string
  readonly state: PeerState
  readonly ad: Advertisement
  /** Milliseconds since its author issued the advertisement; 0 for the own node, whose `ad` is its present state. */
  readonly ageMs: number
  readonly self: boolean
  readonly verdict?: PeerVerdict
  /** Suspect by the word of one other alone: it is used as if it were alive, since one liar could say that of anybody. */
  readonly doubted?: boolean
  /** How often the peer was seen to start anew, and when last on the local monotonic clock. */
  readonly restarts: number
  readonly restartedAtMs?: number
}

/** Whether a peer is used: it is alive, or only one other says that it is not. */
export const isUsable = ({ state, doubted }: Pick<PeerView, 'state' | 'doubted'>): boolean =>
  state === 'alive' || doubted === true

export interface View {
  self(): PeerView
  get(peer: string): PeerView | undefined
  /** The node of that name; of several, one that is alive, and then the one with the lowest PeerId. */
  byName(name: string): PeerView | undefined
  /** Everybody that is known, the own node included. A peer that went out of sight stays as `down` or `left` for a while. */
  entries(): Iterable<PeerView>
  /** Those that are used (`isUsable`), the own node included. */
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
   * Merges a verified record; QUEUE_FULL at limits.peersPerRealmMax, where no tombstone can give way. Never changes the own entry. A word that came `straight`
   * from its author has the age that its author says, whatever others say of it, before or afterwards.
   */
  merge(record: PeerRecord, options?: { straight: boolean }): MergeOutcome
  /** Adds a verified accusation; counts only against the incarnation that is known of its subject. */
  accuse(subject: string, incarnation: number, accusation: Accusation): MergeOutcome
  /** Takes out what is known of a peer, without a tombstone; listeners hear of one that was up that it is down. */
  forget(peer: string): void
  /** What a peer says of others counts no more. */
  disown(peer: string): void
  record(peer: string): PeerRecord | undefined
  stateOf(peer: string): PeerState | undefined
  /** The records that are handed on: whatever has not expired, the own included. */
  records(): PeerRecord[]
  /** The records against which something stands. */
  accused(): PeerRecord[]
  /** Everybody with state, the own node included, without what `entries` costs. */
  states(): Iterable<{ peer: string; state: PeerState }>
  /** One of those that are alive, the own node not among them; `part`, from 0 up to 1, says which. */
  someone(part: number): string | undefined
  /** How many are up, the own node included. */
  size(): number
  /**
   * Lets time take effect: suspects become down, expired entries go out of use, tombstones are dropped. Looks at what is
   * due, and all of it is judged by how many were up before.
   */
  sweep(): void
  /** Tells when a record that is handed on changes in more than its age, comes, or is handed on no more. */
  onRecord(fn: (before: PeerRecord | undefined, now: PeerRecord | undefined) => void): () => void
  /** Grows with each change that `onRecord` tells of. */
  version(): number
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
  const held = createEntries(self)
  const due = createDue(clock.monotonicMs())
  const presences = createPresences()
  const tombstones = createTombstones(limits)
  /** Those whose state changes with time before their life is over. */
  const unsettled = new Set<string>()
  const recordListeners = new Set<(before: PeerRecord | undefined, now: PeerRecord | undefined) => void>()
  const listeners = new Set<(entry: PeerView, previous?: PeerView) => void>()
  let present: (() => Advertisement) | undefined
  let version = 0
  let up = 1

  /** One that was down for good reason is used again only once it has recovered, whoever doubts it meanwhile. */
  const isUsed = ({ record, state }: Pick<Held, 'record' | 'state'>): boolean =>
    state === 'alive' || (isDoubted(record, state, self) && presences.get(record.peer).backAtMs === undefined)

  const show = (entry: Pick<Held, 'record' | 'state'>): PeerView => {
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
      ...(isUsed(entry) && state !== 'alive' && { doubted: true }),
      ...presences.shown(record.peer),
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

  const stateNow = (record: PeerRecord, previous: Held | undefined, peers: number): RecordState => {
    const state = stateOf(record, { nowMs: clock.monotonicMs(), peers, self }, limits)
    // A growing mesh lengthens the wait; what was down stays so until its subject speaks with a higher incarnation.
    const wasDown = previous?.state === 'down' && previous.record.ad.incarnation === record.ad.incarnation
    return state === 'suspect' && wasDown ? 'down' : state
  }

  /** When an entry is to be looked at: at the end of its life, and then when it is to be forgotten. */
  const dueMsOf = (record: PeerRecord, spent: boolean): number =>
    record.issuedAtMs + record.ad.ttlMs + (spent ? limits.tombstoneMs : 0)

  const tellRecord = (before: PeerRecord | undefined, now: PeerRecord | undefined): void => {
    if (!before && !now) return
    version++
    for (const listener of recordListeners) listener(before, now)
  }

  /** Where an entry waits: one that waits already, and is due no earlier, stays there until it is met. */
  const filed = (peer: string, dueMs: number, before: number | undefined): number => {
    const slot = due.slotOf(dueMs)
    if (before !== undefined && before <= slot) return before
    due.file(peer, slot)
    return slot
  }

  /** What a record means here and now, with what this node alone knows of the peer. */
  const judged = (record: PeerRecord, previous: Held | undefined, peers: number) => {
    const { peer } = record
    const state = stateNow(record, previous, peers)
    const before = previous && {
      ...{ ...previous, presence: presences.get(peer) },
      doubted: isDoubted(previous.record, previous.state, self),
    }
    const at = { nowMs: clock.monotonicMs(), recoveryTimeMs: recoveryTimeMs() }
    const presence = presenceAfter(before, { record, state, doubted: isDoubted(record, state, self) }, at)
    return { state: shownState(state, presence), presence }
  }

  /** Puts a record in place and tells of it if anything that others can see has changed. */
  const put = (record: PeerRecord, { peers = up, waits = true } = {}): void => {
    const { peer } = record
    const own = peer === self
    const previous = held.get(peer)
    const { state, presence } = own ? ownJudged(record) : judged(record, previous, peers)
    const wasUsed = previous !== undefined && isUsed(previous)
    const spent = !own && isExpired(record, clock.monotonicMs())
    const slot = own ? 0 : filed(peer, dueMsOf(record, spent), waits ? previous?.slot : undefined)
    const entry: Held = { record, state, spent, slot }
    held.set(peer, entry)
    presences.set(peer, presence)
    tombstones.note(peer, !own && (spent || state === 'left'))
    if (own || isSettled(state)) unsettled.delete(peer)
    else unsettled.add(peer)
    if (!own) up += Number(isUp(state)) - Number(previous !== undefined && isUp(previous.state))
    const sameWord = previous !== undefined && compareAds(previous.record, record) === 0
    const before = previous?.spent === false ? previous.record : undefined
    const now = spent ? undefined : record
    if (!sameWord || (before === undefined) !== spent || accusersOf(previous.record) !== accusersOf(record))
      tellRecord(before, now)
    if (!sameWord || previous.state !== state || wasUsed !== isUsed(entry)) tell(entry, previous)
  }

  const get = (peer: string): PeerView | undefined => {
    const entry = held.get(peer)
    return entry && show(entry)
  }

  /** The end of a life, or of a tombstone; a word that came meanwhile has put both off. */
  const lookAt = (peer: string, slot: number, nowMs: number, peers: number): void => {
    const entry = held.get(peer)
    if (!entry || entry.slot !== slot) return
    const { record, spent } = entry
    if (nowMs < dueMsOf(record, spent))
      held.set(peer, { ...entry, slot: filed(peer, dueMsOf(record, spent), undefined) })
    else if (!spent) put(record, { peers, waits: false })
    if (nowMs < dueMsOf(record, true)) return
    tombstones.note(peer, false)
    held.delete(peer)
    presences.delete(peer)
  }

  const forget = (peer: string): void => {
    const entry = held.get(peer)
    if (!entry || peer === self) return
    held.delete(peer)
    tombstones.note(peer, false)
    presences.delete(peer)
    unsettled.delete(peer)
    if (!entry.spent) tellRecord(entry.record, undefined)
    if (!isUp(entry.state)) return
    up--
    tell({ ...entry, state: 'down' }, entry)
  }

  const makeRoom = (): void => {
    const oldest = tombstones.oldest()
    const entry = oldest === undefined ? undefined : held.get(oldest)
    if (!entry) return
    tombstones.evicted(entry.record)
    forget(entry.record.peer)
  }

  const sweep = (): void => {
    const nowMs = clock.monotonicMs()
    const peers = up
    for (const { key, slot } of due.take(nowMs)) lookAt(key, slot, nowMs, peers)
    for (const peer of unsettled) {
      const entry = held.get(peer)
      if (!entry) continue
      const { state, presence } = judged(entry.record, entry, peers)
      if (state !== entry.state || presence !== presences.get(peer)) put(entry.record, { peers })
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
    alive: () => [...held.values()].filter(isUsed).map(show),
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
        const nowMs = clock.monotonicMs()
        if (isExpired(record, nowMs) || tombstones.isReplay(record, nowMs)) return 'stale'
        if (held.size >= limits.peersPerRealmMax && !record.ad.left) makeRoom()
        if (held.size >= limits.peersPerRealmMax)
          throw new GodelError({ code: 'QUEUE_FULL', what: 'the view', limit: limits.peersPerRealmMax })
        put(record)
        if (straight) presences.hearStraight(record)
        return 'news'
      }
      if (straight) presences.hearStraight(record)
      const merged = presences.notOlder(mergeRecords(known.record, record, limits.accusersKept))
      if (!isSame(merged, known.record)) put(merged)
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
    forget,
    disown(peer) {
      for (const { record } of [...held.rare()]) {
        const accusations = record.accusations.filter(({ accuser }) => accuser !== peer)
        if (accusations.length === record.accusations.length) continue
        put({ ...record, accusations, accusedAtMs: accusations.length === 0 ? undefined : record.accusedAtMs })
      }
    },
    record: (peer) => held.get(peer)?.record,
    stateOf: (peer) => held.get(peer)?.state,
    accused: () => [...held.rare()].map(({ record }) => record).filter(({ accusations }) => accusations.length > 0),
    *states() {
      for (const { record, state } of held.values()) yield { peer: record.peer, state }
    },
    someone: (part) => held.plainAt(part),
    records() {
      const nowMs = clock.monotonicMs()
      return [...held.values()]
        .map((entry) => entry.record)
        .filter((record) => record.peer === self || !isExpired(record, nowMs))
    },
    size: () => up,
    sweep,
    onRecord(fn) {
      recordListeners.add(fn)
      return () => void recordListeners.delete(fn)
    },
    version: () => version,
  }
}

const ownJudged = ({ ad }: PeerRecord) => ({ state: ad.left ? 'left' : 'alive', presence: stranger }) as const

/** Nothing changes but by a word, or at the end of its life. */
const isSettled = (state: PeerState): boolean => state === 'alive' || state === 'down' || state === 'left'

/** Nothing has come of a merge. */
const isSame = (merged: PeerRecord, known: PeerRecord): boolean =>
  merged.ad === known.ad &&
  merged.envelope === known.envelope &&
  merged.issuedAtMs === known.issuedAtMs &&
  merged.accusedAtMs === known.accusedAtMs &&
  merged.accusations === known.accusations
