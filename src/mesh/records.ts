/**
 * What is replicated about one peer, and how two copies of it become one. A record is the peer's newest sealed
 * advertisement and the accusations against that incarnation. `mergeRecords` is a join: commutative, associative and
 * idempotent, so that any order of gossip, sync and replay ends in the same record. Order: incarnation, then
 * alive < down < left, then sequence; `down` is not stored but follows from accusations and time (`stateOf`).
 */
import type { Advertisement } from '../base/advertisement.ts'
import type { Limits } from '../base/limits.ts'

/** What a record says of its peer. */
export type RecordState = 'alive' | 'suspect' | 'down' | 'left'
/** The same for those who read the view: who was down and is alive again is `recovering` for a while (presence.ts). */
export type PeerState = RecordState | 'recovering'

/**
 * What a watcher met: nothing listens there, the connection broke under the probe, there is no way or no address, or it is
 * merely silent.
 */
export type Evidence = 'refused' | 'reset' | 'unreachable' | 'no-answer'

/** A watcher's signed word that it cannot reach the subject. `sinceMs` is when it was made, on the local monotonic clock. */
export interface Accusation {
  readonly accuser: string
  /** What it met; undefined where it did not say. */
  readonly evidence?: Evidence | undefined
  readonly envelope: Uint8Array
  readonly sinceMs: number
}

export interface PeerRecord {
  readonly peer: string
  readonly ad: Advertisement
  /** The advertisement as its author signed it. */
  readonly envelope: Uint8Array
  /** When its author issued it, on the local monotonic clock. */
  readonly issuedAtMs: number
  /** Against `ad.incarnation`, by accuser in order, at most limits.accusersKept. */
  readonly accusations: readonly Accusation[]
  /** The first accusation against this incarnation, on the local monotonic clock. */
  readonly accusedAtMs: number | undefined
}

/** A positive number when `a` is the later word of its author, 0 when both are the same word. */
export const compareAds = (a: PeerRecord, b: PeerRecord): number =>
  a.ad.incarnation - b.ad.incarnation ||
  Number(a.ad.left) - Number(b.ad.left) ||
  a.ad.sequence - b.ad.sequence ||
  // Only an author who signs two contents under one number comes here; everybody picks the same.
  Buffer.compare(a.envelope, b.envelope)

/** The join of two records of one peer. The older of two estimates of an age stands: no relay can prolong a life. */
export const mergeRecords = (a: PeerRecord, b: PeerRecord, accusersKept: number): PeerRecord => {
  if (a.ad.incarnation !== b.ad.incarnation) return a.ad.incarnation > b.ad.incarnation ? a : b
  const order = compareAds(a, b)
  const later = order >= 0 ? a : b
  const issuedAtMs = order === 0 ? Math.min(a.issuedAtMs, b.issuedAtMs) : later.issuedAtMs
  const { peer, ad, envelope } = later
  return {
    peer,
    ad,
    envelope,
    issuedAtMs,
    accusations: mergeAccusations(a.accusations, b.accusations, accusersKept),
    accusedAtMs: earlier(a.accusedAtMs, b.accusedAtMs),
  }
}

/** The union by accuser, cut to the first few accusers in order, which is a join again. */
const mergeAccusations = (
  a: readonly Accusation[],
  b: readonly Accusation[],
  accusersKept: number,
): readonly Accusation[] => {
  if (b.length === 0) return a
  if (a.length === 0) return b
  const byAccuser = new Map<string, Accusation>()
  for (const next of [...a, ...b]) {
    const known = byAccuser.get(next.accuser)
    byAccuser.set(next.accuser, known ? sameAccuser(known, next) : next)
  }
  return [...byAccuser.values()].toSorted((x, y) => (x.accuser < y.accuser ? -1 : 1)).slice(0, accusersKept)
}

const sameAccuser = (a: Accusation, b: Accusation): Accusation => ({
  ...(Buffer.compare(a.envelope, b.envelope) <= 0 ? a : b),
  sinceMs: Math.min(a.sinceMs, b.sinceMs),
})

const earlier = (a: number | undefined, b: number | undefined): number | undefined =>
  a === undefined ? b : b === undefined ? a : Math.min(a, b)

/** A record with an accusation added, which must be against the record's own incarnation. */
export const withAccusation = (record: PeerRecord, accusation: Accusation, accusersKept: number): PeerRecord =>
  mergeRecords(record, { ...record, accusations: [accusation], accusedAtMs: accusation.sinceMs }, accusersKept)

/** What tells two copies of a record apart, beyond their ages: the accusers in one string. */
export const accusersOf = (record: PeerRecord): string => record.accusations.map((one) => one.accuser).join(' ')

export const isExpired = (record: PeerRecord, nowMs: number): boolean => nowMs >= record.issuedAtMs + record.ad.ttlMs

/** Whether a peer in that state still counts: it is watched, called, and makes the mesh larger. One that is not known does not. */
export const isUp = (state: PeerState | undefined): boolean =>
  state !== undefined && state !== 'down' && state !== 'left'

/**
 * Whether a peer is suspect by the word of one other alone, which may be a liar: it is shown so, and used all the same until a
 * second one, or this node itself, says so too.
 */
export const isDoubted = ({ accusations }: PeerRecord, state: PeerState, self: string): boolean =>
  state === 'suspect' && accusations.length === 1 && accusations[0]!.accuser !== self

/** How long accusations must stand before a peer is down: longer in a larger mesh, where refutations take longer (Lifeguard). */
export const downWaitMs = (
  peers: number,
  accusers: number,
  limits: Pick<Limits, 'downWaitMs' | 'downWaitMsMin' | 'downWaitAloneFactor' | 'downAccusers'>,
): number => {
  const wait = Math.max(limits.downWaitMsMin, limits.downWaitMs * Math.log10(Math.max(1, peers)))
  return accusers >= limits.downAccusers ? wait : wait * limits.downWaitAloneFactor
}

/**
 * What a record means here and now. `peers` counts those that are up. One accuser makes a peer suspect; two make it down
 * for everybody after a while; one alone makes it down after longer, and for the accuser only. A record whose life is over
 * is down too, which is no word of anybody's and is not handed on.
 */
export const stateOf = (
  record: PeerRecord,
  at: { nowMs: number; peers: number; self: string },
  limits: Pick<Limits, 'downWaitMs' | 'downWaitMsMin' | 'downWaitAloneFactor' | 'downAccusers'>,
): RecordState => {
  if (record.ad.left) return 'left'
  if (isExpired(record, at.nowMs)) return 'down'
  const { accusations, accusedAtMs } = record
  if (accusations.length === 0 || accusedAtMs === undefined) return 'alive'
  const counts = accusations.length >= limits.downAccusers || accusations[0]!.accuser === at.self
  const over = at.nowMs >= accusedAtMs + downWaitMs(at.peers, accusations.length, limits)
  return counts && over ? 'down' : 'suspect'
}
