/** What a view sync hands out, as bounded pages, and how a page is taken in. */
import type { Clock } from '../base/clock.ts'
import { encode } from '../base/codec.ts'
import type { Limits } from '../base/limits.ts'
import type { Refusals } from '../base/refusals.ts'
import type { Accept } from './accept.ts'
import { digestOf, hashBucket, intoBuckets } from './digest.ts'
import type { Digest, WireRecord } from './methods.ts'
import type { PeerRecord } from './records.ts'
import type { MeshView } from './view.ts'

export interface Pages {
  hashes(): Uint8Array[]
  digestsIn(buckets: readonly number[]): Digest[]
  digestFor(peer: string): Digest | undefined
  /** The digests of some buckets that come after a peer, in order. */
  digestPage(buckets: readonly number[], after: string | undefined): { digests: Digest[]; more: boolean }
  /** The records of the first of `peers`, as many as fit, and how many of `peers` that answers. */
  recordPage(peers: readonly string[]): { records: WireRecord[]; asked: number }
}

type PageLimits = Pick<Limits, 'syncBuckets' | 'syncEntriesPerPage' | 'syncDigestsPerPage' | 'syncBytesPerPage'>

/** The buckets are computed once per version of the view. */
export const createPages = ({ view, clock, limits }: { view: MeshView; clock: Clock; limits: PageLimits }): Pages => {
  let madeFor = -1
  let buckets: Digest[][] = []
  let hashes: Uint8Array[] = []

  const refreshed = (): Digest[][] => {
    if (madeFor === view.version()) return buckets
    madeFor = view.version()
    buckets = intoBuckets(view.records(), limits.syncBuckets)
    hashes = buckets.map(hashBucket)
    return buckets
  }
  const digestsIn = (wanted: readonly number[]): Digest[] => wanted.flatMap((index) => refreshed()[index] ?? [])

  return {
    digestsIn,
    digestFor(peer) {
      const record = view.record(peer)
      return record && digestOf(record)
    },
    hashes() {
      refreshed()
      return hashes
    },
    digestPage(wanted, after) {
      const all = digestsIn([...new Set(wanted)]).sort((a, b) => (a.peer < b.peer ? -1 : 1))
      const from = after === undefined ? 0 : all.findIndex((digest) => digest.peer > after)
      if (from < 0) return { digests: [], more: false }
      const digests = all.slice(from, from + limits.syncDigestsPerPage)
      return { digests, more: from + digests.length < all.length }
    },
    recordPage(peers) {
      const records: WireRecord[] = []
      let bytes = 0
      let asked = 0
      for (const peer of peers.slice(0, limits.syncEntriesPerPage)) {
        const record = view.record(peer)
        const next = record && wireRecord(record, clock.monotonicMs())
        bytes += next ? encode(next).byteLength : 0
        if (bytes > limits.syncBytesPerPage && records.length > 0) break
        asked++
        if (next) records.push(next)
      }
      return { records, asked }
    },
  }
}

/** A record as it is handed on: what was heard some time ago is that much older now. */
const wireRecord = (record: PeerRecord, nowMs: number): WireRecord => {
  const age = (sinceMs: number) => Math.max(0, Math.round(nowMs - sinceMs))
  const accusations = record.accusations.map(({ envelope, sinceMs }) => ({ envelope, ageMs: age(sinceMs) }))
  return { envelope: record.envelope, ageMs: age(record.issuedAtMs), accusations }
}

/** Takes a page of records in, one by one: a bad one harms no other. Gives how many were refused. */
export const takeInPage = async (
  { accept, refusals }: { accept: Pick<Accept, 'record'>; refusals: Refusals },
  from: string,
  records: readonly WireRecord[],
): Promise<number> => {
  let refused = 0
  for (const record of records) {
    try {
      await accept.record(record)
    } catch (error) {
      refused++
      refusals.note('refused a record of the view', from, error)
    }
  }
  return refused
}
