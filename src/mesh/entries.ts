/**
 * Where the view keeps its entries: by peer, in a few bytes each. A node of a large realm holds thousands that are all well,
 * so those are kept as columns: an open-addressed index of slots, the opened advertisement and its envelope, which are
 * shared with whoever else holds them, and two numbers. Whatever is not plainly alive is kept whole in a map beside them,
 * and so is the own entry. What is read is a copy made on the spot; writing goes through `set`.
 */
import type { Advertisement } from '../base/advertisement.ts'
import { hash32 } from '../base/hash.ts'
import type { PeerRecord, PeerState } from './records.ts'

export interface Held {
  readonly record: PeerRecord
  readonly state: PeerState
  /** Its life was over when time last took effect: it is not handed on any more, and is forgotten in the end. */
  readonly spent: boolean
  /** The slot of due.ts in which it waits to be looked at. */
  readonly slot: number
}

export interface Entries {
  get(peer: string): Held | undefined
  /** Only of a record whose `peer` is that of its advertisement, which `accept` sees to. */
  set(peer: string, held: Held): void
  delete(peer: string): void
  readonly size: number
  /** In no particular order, the own one first. Not to be read on after a `set` or `delete`. */
  values(): IterableIterator<Held>
  /** Those that are not plainly alive, and the own one. */
  rare(): Iterable<Held>
  /** The peer at that part (from 0 up to 1) of those that are plainly alive; undefined where there are none. */
  plainAt(part: number): string | undefined
}

const EMPTY = -1
const indexLengthMin = 16
const columnLengthMin = 8
const noAccusations: PeerRecord['accusations'] = []

export const createEntries = (self: string): Entries => {
  const whole = new Map<string, Held>()
  const ads: Advertisement[] = []
  const envelopes: Uint8Array[] = []
  let issuedAtMs = new Float64Array(columnLengthMin)
  let slots = new Uint32Array(columnLengthMin)
  let index = new Int32Array(indexLengthMin).fill(EMPTY)

  const homeOf = (peer: string): number => hash32(peer) & (index.length - 1)
  const after = (at: number): number => (at + 1) & (index.length - 1)
  const peerIn = (at: number): string => ads[index[at]!]!.peer

  /** Where the peer is in the index, or the empty place where it would be. */
  const find = (peer: string): number => {
    let at = homeOf(peer)
    while (index[at] !== EMPTY && peerIn(at) !== peer) at = after(at)
    return at
  }

  const growIndex = (): void => {
    index = new Int32Array(index.length * 2).fill(EMPTY)
    for (const [row, ad] of ads.entries()) index[find(ad.peer)] = row
  }

  const growColumns = (): void => {
    const length = Math.ceil(ads.length * 1.25) + columnLengthMin
    const [times, places] = [new Float64Array(length), new Uint32Array(length)]
    times.set(issuedAtMs)
    places.set(slots)
    issuedAtMs = times
    slots = places
  }

  const write = (row: number, { record, slot }: Held): void => {
    ads[row] = record.ad
    envelopes[row] = record.envelope
    issuedAtMs[row] = record.issuedAtMs
    slots[row] = slot
  }

  const add = (peer: string, held: Held): void => {
    // Beyond three quarters the runs of an open-addressed index grow long.
    if ((ads.length + 1) * 4 > index.length * 3) growIndex()
    const row = ads.length
    if (row === issuedAtMs.length) growColumns()
    index[find(peer)] = row
    write(row, held)
  }

  /** Takes a place out of the index and moves up what was pushed beyond it. */
  const vacate = (place: number): void => {
    let hole = place
    for (let at = after(hole); index[at] !== EMPTY; at = after(at)) {
      const [fromHome, fromHole] = [at - homeOf(peerIn(at)), at - hole].map((far) => far & (index.length - 1))
      if (fromHome! < fromHole!) continue
      index[hole] = index[at]!
      hole = at
    }
    index[hole] = EMPTY
  }

  /** The last row takes the place of the one that goes, so that the rows stay without gaps. */
  const remove = (peer: string): void => {
    const place = find(peer)
    if (index[place] === EMPTY) return
    const row = index[place]!
    const last = ads.length - 1
    if (row !== last) {
      index[find(ads[last]!.peer)] = row
      ads[row] = ads[last]!
      envelopes[row] = envelopes[last]!
      issuedAtMs[row] = issuedAtMs[last]!
      slots[row] = slots[last]!
    }
    vacate(place)
    ads.pop()
    envelopes.pop()
  }

  const read = (row: number): Held => {
    const ad = ads[row]!
    // Named in full, so that a further part of a record cannot be forgotten here.
    const record: { [Part in keyof Required<PeerRecord>]: PeerRecord[Part] } = {
      peer: ad.peer,
      ad,
      envelope: envelopes[row]!,
      issuedAtMs: issuedAtMs[row]!,
      accusations: noAccusations,
      accusedAtMs: undefined,
    }
    return { record, state: 'alive', spent: false, slot: slots[row]! }
  }

  const isPlain = ({ record, state, spent }: Held): boolean =>
    state === 'alive' && !spent && record.accusations.length === 0 && record.peer !== self

  return {
    get(peer) {
      const held = whole.get(peer)
      if (held) return held
      const row = index[find(peer)]!
      return row === EMPTY ? undefined : read(row)
    },
    set(peer, held) {
      if (!isPlain(held)) {
        remove(peer)
        whole.set(peer, held)
        return
      }
      whole.delete(peer)
      const row = index[find(peer)]!
      if (row === EMPTY) add(peer, held)
      else write(row, held)
    },
    delete(peer) {
      if (!whole.delete(peer)) remove(peer)
    },
    get size() {
      return whole.size + ads.length
    },
    *values() {
      yield* whole.values()
      for (let row = 0; row < ads.length; row++) yield read(row)
    },
    rare: () => whole.values(),
    plainAt: (part) => ads[Math.floor(part * ads.length)]?.peer,
  }
}
