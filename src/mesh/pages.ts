/** What a view sync hands out, as bounded pages, and how a page is taken in. */
import type { Clock } from '../base/clock.ts'
import { encode } from '../base/codec.ts'
import { GodelError } from '../base/errors.ts'
import type { Limits } from '../base/limits.ts'
import type { Refusals } from '../base/refusals.ts'
import type { Accept } from './accept.ts'
import { createRates } from './accusers.ts'
import { bucketOf, createBuckets, digestOf } from './digest.ts'
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

/** The hashes follow the view record by record. What is in a bucket is looked up when views differ. */
export const createPages = ({ view, clock, limits }: { view: MeshView; clock: Clock; limits: PageLimits }): Pages => {
  const buckets = createBuckets(limits.syncBuckets)
  for (const record of view.records()) buckets.replace(undefined, record)
  view.onRecord(buckets.replace)
  let listing: { version: number; wanted: string; digests: Digest[] } | undefined

  const digestsIn = (wanted: readonly number[]): Digest[] => {
    const isWanted = new Set(wanted)
    return view
      .records()
      .filter(({ peer }) => isWanted.has(bucketOf(peer, limits.syncBuckets)))
      .map(digestOf)
  }

  /** The pages of one listing are asked for one after the other, often by several at once: it is kept until the last. */
  const listingOf = (asked: readonly number[]): Digest[] => {
    const wanted = [...new Set(asked)].join()
    const version = view.version()
    if (listing?.version !== version || listing.wanted !== wanted)
      listing = { version, wanted, digests: digestsIn(asked).sort((a, b) => (a.peer < b.peer ? -1 : 1)) }
    return listing.digests
  }

  return {
    digestsIn,
    digestFor(peer) {
      const record = view.record(peer)
      return record && digestOf(record)
    },
    hashes: buckets.hashes,
    digestPage(wanted, after) {
      const all = listingOf(wanted)
      const from = after === undefined ? 0 : all.findIndex((digest) => digest.peer > after)
      const digests = from < 0 ? [] : all.slice(from, from + limits.syncDigestsPerPage)
      const more = digests.length > 0 && from + digests.length < all.length
      if (!more) listing = undefined
      return { digests, more }
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
  pause: (record: WireRecord) => Promise<void> = async () => {},
): Promise<number> => {
  let refused = 0
  for (const record of records) {
    await pause(record)
    try {
      await accept.record(record)
    } catch (error) {
      refused++
      refusals.note('refused a record of the view', from, error)
    }
  }
  return refused
}

const checksOf = ({ accusations }: Pick<WireRecord, 'accusations'>): number => 1 + accusations.length

/**
 * Takes in what others push: at a rate of signatures per pusher, page after page, and while pages wait the loop gets its turn
 * between a few records, so that whoever floods this node does not make it look dead. RATE_LIMITED.
 */
export const createIntake = (deps: {
  accept: Pick<Accept, 'record'>
  refusals: Refusals
  clock: Clock
  limits: Pick<Limits, 'syncPushChecksPerSecond' | 'syncPushChecksBurst' | 'syncPushChecksPerTurn' | 'connectionsMax'>
}): ((from: string, records: readonly WireRecord[]) => Promise<number>) => {
  const { clock, limits } = deps
  const rate = createRates(clock, limits.connectionsMax, {
    perSecond: limits.syncPushChecksPerSecond,
    burst: limits.syncPushChecksBurst,
  })
  const turn = () => new Promise<void>((resolve) => void clock.after(0, resolve))
  let last: Promise<unknown> = Promise.resolve()
  let pages = 0
  let checks = 0

  const pause = async (record: WireRecord): Promise<void> => {
    checks += checksOf(record)
    if (pages === 1 || checks < limits.syncPushChecksPerTurn) return
    checks = 0
    await turn()
  }

  return async (from, records) => {
    const retryAfterMs = rate(
      from,
      records.map(checksOf).reduce((sum, count) => sum + count, 0),
    )
    if (retryAfterMs > 0) throw new GodelError({ code: 'RATE_LIMITED', what: 'records that are pushed', retryAfterMs })
    pages++
    const taken = last.then(() => takeInPage(deps, from, records, pause)).finally(() => pages--)
    last = taken.catch(() => {})
    return taken
  }
}
