/** How two views are compared without sending them: every record belongs to a bucket by its peer, every bucket has a hash. Pure. */
import { createHash } from 'node:crypto'
import { hash32 } from '../base/hash.ts'
import type { Digest } from './methods.ts'
import { accusersOf, type PeerRecord } from './records.ts'

const bucketHashBytes = 8

export const digestOf = (record: PeerRecord): Digest => ({
  peer: record.peer,
  incarnation: record.ad.incarnation,
  sequence: record.ad.sequence,
  left: record.ad.left,
  accusers: record.accusations.length === 0 ? 0 : hash32(accusersOf(record)),
})

export const bucketOf = (peer: string, buckets: number): number => hash32(peer) % buckets

/** The digests of each bucket, by peer in order. */
export const intoBuckets = (records: Iterable<PeerRecord>, buckets: number): Digest[][] => {
  const result = Array.from({ length: buckets }, (): Digest[] => [])
  for (const record of records) result[bucketOf(record.peer, buckets)]!.push(digestOf(record))
  for (const bucket of result) bucket.sort((a, b) => (a.peer < b.peer ? -1 : 1))
  return result
}

export const hashBucket = (digests: readonly Digest[]): Uint8Array => {
  const sha = createHash('sha256')
  for (const { peer, incarnation, sequence, left, accusers } of digests)
    sha.update(`${peer} ${incarnation} ${sequence} ${left} ${accusers}\n`)
  return sha.digest().subarray(0, bucketHashBytes)
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
