/**
 * The candidates of a node's placements, kept as columns: one slot per peer, numbers in typed arrays, everything else
 * that a need can ask for as terms with posting lists. An upsert touches only the terms that changed.
 */
import type { Advertisement } from '../base/advertisement.ts'
import { hash32 } from '../base/hash.ts'
import type { Level } from '../base/need.ts'
import { termsOf, hasRoom, roomTerm } from './demands.ts'
import { addSlot, createPosting, dropSlot, wordsFor, type Mask, type Posting } from './postings.ts'
import { freedomOf, occupancyOf } from './strategies.ts'

export type CandidateState = 'alive' | 'suspect' | 'down' | 'left' | 'recovering'

/** The fields of an advertisement that placement looks at. */
export type CandidateAd = Pick<
  Advertisement,
  | 'name'
  | 'status'
  | 'currentLoad'
  | 'running'
  | 'maxConcurrent'
  | 'capabilities'
  | 'runtimes'
  | 'gpu'
  | 'region'
  | 'labels'
  | 'isolation'
  | 'acceptUnsandboxed'
  | 'shareable'
  | 'cost'
  | 'coordinates'
>

/** What is known of one peer. Handed over by reference: whoever upserts it does not change it afterwards. */
export interface CandidateRow {
  readonly peer: string
  readonly level: Level
  readonly state: CandidateState
  /** Trust allows this peer to take work of this node. */
  readonly trusted: boolean
  /** The node itself. At most one row is. */
  readonly self: boolean
  readonly ad: CandidateAd
  /** When its author issued the advertisement, in milliseconds of this node's monotonic clock. */
  readonly issuedAtMs: number
  /** The advertisement has outlived its ttl. */
  readonly expired?: boolean
}

/** The columns, by slot. For the decisions and the strategies of this room, which read and never write them. */
export interface Columns {
  /** The row of each slot; a free slot has none. */
  rows: (CandidateRow | undefined)[]
  peerHash: Int32Array
  /** Placements of this node that no advertisement reflects yet. */
  inFlight: Int32Array
  /** How full the fuller of slots and load is: 0 idle, 1 full. */
  occupancy: Float64Array
  /** The score of `least-loaded`. */
  freedom: Float64Array
  /** The slot of this node itself, or -1. */
  self: number
  /** Which slots bear a term. */
  postings: Map<string, Posting>
  /** Working sets of a decision: decisions are synchronous, so one set of each is enough. */
  eligible: Mask
  mask: Mask
  scratch: Mask
  slots: Int32Array
  scores: Float64Array
}

export interface Candidates {
  /** Puts a peer's row in place of the one that it had. */
  upsert(row: CandidateRow): void
  /** Forgets a peer. Placements in flight stay counted, for the case that it comes back. */
  remove(peer: string): void
  get(peer: string): CandidateRow | undefined
  readonly size: number
  /** Counts one placement at a peer until `settled` is called, since no advertisement reflects it yet. */
  placed(peer: string): void
  /** Ends one placement in flight; without one, nothing happens. */
  settled(peer: string): void
  /** The placements in flight at a peer. */
  inFlight(peer: string): number
  /** The slot of a peer, or -1. */
  slotOf(peer: string): number
  readonly columns: Columns
}

/** An empty set of candidates. It grows with its rows and reuses the slots of removed ones. */
export const createCandidates = (): Candidates => {
  const columns = createColumns()
  const slotByPeer = new Map<string, number>()
  const freeSlots: number[] = []
  const inFlightByPeer = new Map<string, number>()
  const termsBySlot: Set<Posting>[] = []

  const postingOf = (term: string): Posting => {
    let posting = columns.postings.get(term)
    if (posting === undefined) columns.postings.set(term, (posting = createPosting(term)))
    return posting
  }

  const give = (slot: number, posting: Posting): void => addSlot(posting, slot, columns.mask.length)

  const take = (slot: number, posting: Posting): void => {
    dropSlot(posting, slot)
    if (posting.count === 0) columns.postings.delete(posting.term)
  }

  const setTerms = (slot: number, terms: readonly string[]): void => {
    const before = termsBySlot[slot]!
    const after = new Set<Posting>()
    for (const term of terms) after.add(postingOf(term))
    for (const posting of after) if (!before.has(posting)) give(slot, posting)
    for (const posting of before) if (!after.has(posting)) take(slot, posting)
    termsBySlot[slot] = after
  }

  const setNumbers = (slot: number, row: CandidateRow, inFlight: number): void => {
    columns.inFlight[slot] = inFlight
    columns.occupancy[slot] = occupancyOf(row.ad, inFlight)
    columns.freedom[slot] = freedomOf(row.ad, inFlight)
  }

  const setRoom = (slot: number, row: CandidateRow, inFlight: number): void => {
    const posting = postingOf(roomTerm)
    const terms = termsBySlot[slot]!
    const room = hasRoom(row.ad, inFlight)
    if (room === terms.has(posting)) return
    if (room) {
      terms.add(posting)
      give(slot, posting)
    } else {
      terms.delete(posting)
      take(slot, posting)
    }
  }

  const countInFlight = (peer: string, change: number): void => {
    const inFlight = Math.max(0, (inFlightByPeer.get(peer) ?? 0) + change)
    if (inFlight === 0) inFlightByPeer.delete(peer)
    else inFlightByPeer.set(peer, inFlight)
    const slot = slotByPeer.get(peer)
    if (slot === undefined) return
    const row = columns.rows[slot]!
    setNumbers(slot, row, inFlight)
    setRoom(slot, row, inFlight)
  }

  const newSlot = (): number => {
    const slot = freeSlots.pop() ?? columns.rows.length
    if (slot === columns.peerHash.length) grow(columns, slot * 2)
    termsBySlot[slot] = new Set()
    return slot
  }

  return {
    columns,
    get size() {
      return slotByPeer.size
    },
    get: (peer) => columns.rows[slotByPeer.get(peer) ?? -1],
    slotOf: (peer) => slotByPeer.get(peer) ?? -1,
    inFlight: (peer) => inFlightByPeer.get(peer) ?? 0,
    placed: (peer) => countInFlight(peer, 1),
    settled: (peer) => countInFlight(peer, -1),
    upsert(row) {
      let slot = slotByPeer.get(row.peer)
      if (slot === undefined) {
        slotByPeer.set(row.peer, (slot = newSlot()))
        columns.peerHash[slot] = hash32(row.peer)
      }
      const inFlight = inFlightByPeer.get(row.peer) ?? 0
      columns.rows[slot] = row
      setNumbers(slot, row, inFlight)
      setTerms(slot, termsOf(row, inFlight))
      if (row.self) columns.self = slot
      else if (columns.self === slot) columns.self = -1
    },
    remove(peer) {
      const slot = slotByPeer.get(peer)
      if (slot === undefined) return
      setTerms(slot, [])
      slotByPeer.delete(peer)
      columns.rows[slot] = undefined
      freeSlots.push(slot)
      if (columns.self === slot) columns.self = -1
    },
  }
}

/** How many slots there are room for at first; the room doubles when it is used up. */
const firstSlots = 64

const createColumns = (): Columns => ({
  rows: [],
  self: -1,
  postings: new Map(),
  peerHash: new Int32Array(firstSlots),
  inFlight: new Int32Array(firstSlots),
  occupancy: new Float64Array(firstSlots),
  freedom: new Float64Array(firstSlots),
  ...workingSets(firstSlots),
})

const workingSets = (slots: number): Pick<Columns, 'eligible' | 'mask' | 'scratch' | 'slots' | 'scores'> => ({
  eligible: new Int32Array(wordsFor(slots)),
  mask: new Int32Array(wordsFor(slots)),
  scratch: new Int32Array(wordsFor(slots)),
  slots: new Int32Array(slots),
  scores: new Float64Array(slots),
})

/** Lengthens every column. Posting lists lengthen by themselves when a slot beyond their end is added. */
const grow = (columns: Columns, slots: number): void => {
  columns.peerHash = longer(columns.peerHash, new Int32Array(slots))
  columns.inFlight = longer(columns.inFlight, new Int32Array(slots))
  columns.occupancy = longer(columns.occupancy, new Float64Array(slots))
  columns.freedom = longer(columns.freedom, new Float64Array(slots))
  Object.assign(columns, workingSets(slots))
}

const longer = <T extends Int32Array | Float64Array>(column: T, into: T): T => {
  into.set(column)
  return into
}
