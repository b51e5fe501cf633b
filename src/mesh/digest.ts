/**
 * How two views are compared without sending them: every record belongs to a bucket by its peer, and the hash of a bucket is
 * the sum of its records' hashes, so that a record that changes costs as much in a large view as in a small one.
 */
import { hash32, sha256Hex } from '../base/hash.ts'
import type { Advertisement } from '../base/advertisement.ts'
import type { Digest } from './methods.ts'
import { accusersOf, type PeerRecord } from './records.ts'

const hashBytes = 8
const hashHexDigits = 12 // 48 bits, so that sums are exact
const hashes = 2 ** 48

export const digestOf = (record: PeerRecord): Digest => ({
  peer: record.peer,
  incarnation: record.ad.incarnation,
  sequence: record.ad.sequence,
  left: record.ad.left,
  accusers: record.accusations.length === 0 ? 0 : hash32(accusersOf(record)),
})

export const bucketOf = (peer: string, buckets: number): number => hash32(peer) % buckets

const hashOf = ({ peer, incarnation, sequence, left, accusers }: Digest): number =>
  Number.parseInt(sha256Hex(`${peer} ${incarnation} ${sequence} ${left} ${accusers}`).slice(0, hashHexDigits), 16)

/** An advertisement is hashed once, however many views of a process hold it. */
const unaccused = new WeakMap<Advertisement, number>()

const recordHash = (record: PeerRecord): number => {
  if (record.accusations.length > 0) return hashOf(digestOf(record))
  const known = unaccused.get(record.ad)
  if (known !== undefined) return known
  const made = hashOf(digestOf(record))
  unaccused.set(record.ad, made)
  return made
}

export interface Buckets {
  /** Puts one record in the place of another of the same peer; undefined: there was none, or there is none any more. */
  replace(before: PeerRecord | undefined, now: PeerRecord | undefined): void
  hashes(): Uint8Array[]
}

export const createBuckets = (count: number): Buckets => {
  const sums = new Float64Array(count)
  const add = (record: PeerRecord, sign: 1 | -1): void => {
    const at = bucketOf(record.peer, count)
    sums[at] = (sums[at]! + sign * recordHash(record) + hashes) % hashes
  }
  return {
    replace(before, now) {
      if (before) add(before, -1)
      if (now) add(now, 1)
    },
    hashes: () =>
      Array.from(sums, (sum) => {
        const bytes = new Uint8Array(hashBytes)
        new DataView(bytes.buffer).setBigUint64(0, BigInt(sum))
        return bytes
      }),
  }
}

/** The buckets in which two views differ. Views of different bucket counts cannot be compared: then it is all of theirs. */
export const differing = (mine: readonly Uint8Array[], theirs: readonly Uint8Array[]): number[] =>
  [...theirs.keys()].filter(
    (index) => mine.length !== theirs.length || Buffer.compare(mine[index]!, theirs[index]!) !== 0,
  )

/** What to ask of the other: theirs says more than mine, or may. */
export const wants = (mine: Digest | undefined, theirs: Digest): boolean => {
  if (!mine) return true
  if (mine.incarnation !== theirs.incarnation) return theirs.incarnation > mine.incarnation
  if (mine.left !== theirs.left) return theirs.left
  return theirs.sequence > mine.sequence || (theirs.accusers !== 0 && theirs.accusers !== mine.accusers)
}
