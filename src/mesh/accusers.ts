/**
 * Whose accusations count, and how many of them. A member may lie about any peer: its word counts only where it may be a watcher
 * of that peer by the ring, a few times against each incarnation that one subject answers with, and at a rate against all
 * subjects together. Watchers that tell the truth stay far below: one accuses only after several misses in a row.
 */
import type { Clock } from '../base/clock.ts'
import type { Limits } from '../base/limits.ts'
import { createTokenBucket, type TokenBucket } from '../base/token-bucket.ts'
import { mayWatch } from './ring.ts'

export interface Accusers {
  /** Asked once for each accusation that would be news; `up` says how many peers are up. */
  mayCount(accuser: string, subject: string, up: number): boolean
}

type AccuserLimits = Pick<
  Limits,
  | 'watchersPerNode'
  | 'accuserReachFactor'
  | 'accusationsPerAccuserPerSecond'
  | 'accusationsPerAccuserBurst'
  | 'accusationRepeatMs'
  | 'accusationRepeatBurst'
  | 'accusersTrackedMax'
>

export const createAccusers = (clock: Pick<Clock, 'monotonicMs'>, limits: AccuserLimits): Accusers => {
  const within = limits.watchersPerNode * limits.accuserReachFactor
  const each = createRates(clock, limits.accusersTrackedMax, {
    perSecond: limits.accusationsPerAccuserPerSecond,
    burst: limits.accusationsPerAccuserBurst,
  })
  const pairs = createRates(clock, limits.accusersTrackedMax, {
    perSecond: 1_000 / limits.accusationRepeatMs,
    burst: limits.accusationRepeatBurst,
  })
  return {
    mayCount: (accuser, subject, up) =>
      mayWatch(accuser, subject, up, within) && each(accuser, 1) === 0 && pairs(`${accuser} ${subject}`, 1) === 0,
  }
}

/** A rate per key; of too many keys the one that was not used for longest is forgotten. Gives milliseconds to wait, or 0. */
export const createRates = (
  clock: Pick<Clock, 'monotonicMs'>,
  keysMax: number,
  rate: { perSecond: number; burst: number },
): ((key: string, count: number) => number) => {
  const buckets = new Map<string, TokenBucket>()
  return (key, count) => {
    const bucket = buckets.get(key) ?? createTokenBucket(clock, rate)
    buckets.delete(key)
    buckets.set(key, bucket)
    if (buckets.size > keysMax) buckets.delete(buckets.keys().next().value!)
    return bucket.take(count)
  }
}
