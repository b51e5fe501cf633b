/** Who is eligible: the common ground of a decision and of its explanation, over the working sets of the columns. */
import { avalanche32 } from '../base/hash.ts'
import type { Level, Need } from '../base/need.ts'
import type { Candidates, Columns } from './candidates.ts'
import type { Demand } from './demands.ts'
import { intersect, maskDrop, maskHas, slotsOf, type Mask } from './postings.ts'
import type { StrategyName } from './strategies.ts'

export interface RoutePolicy {
  readonly strategy: StrategyName
  /** The request itself named the strategy, so work does not stay here merely because there is room. */
  readonly strategyNamed?: boolean
  /** Below this part of its own capacity, 0..1, a node keeps work that it can do. */
  readonly offloadThreshold: number
  /** Peers that were tried already. */
  readonly exclude?: ReadonlySet<string>
}

/** The hierarchy, first level first. */
export const levels = ['realm', 'unregistered', 'cross-realm'] as const satisfies readonly Level[]

/** Writes the slots that meet every demand and were not tried yet to `into`, and says whether there may be any. */
export const findEligible = (
  candidates: Candidates,
  demands: readonly Demand[],
  policy: RoutePolicy,
  into: Mask,
): boolean => {
  const { postings, scratch } = candidates.columns
  into.fill(-1)
  for (const { term } of demands) {
    const posting = postings.get(term)
    if (posting === undefined) {
      into.fill(0)
      return false
    }
    intersect(into, posting, scratch)
  }
  for (const peer of policy.exclude ?? []) {
    const slot = candidates.slotOf(peer)
    if (slot >= 0) maskDrop(into, slot)
  }
  return true
}

/** Writes the eligible slots of a level to `columns.slots` and gives their count. */
export const slotsOfLevel = (columns: Columns, level: Level): number => {
  const posting = columns.postings.get(`level:${level}`)
  if (posting === undefined) return 0
  columns.mask.set(columns.eligible)
  intersect(columns.mask, posting, columns.scratch)
  return slotsOf(columns.mask, columns.slots)
}

/** Breaks ties between equal peers by the request, so that equals share the work. Higher goes first. */
export const tieOf = (peerHash: number, requestHash: number): number => avalanche32(peerHash ^ requestHash)

/** An idle node keeps work that it can do, unless the request says where it is to go or how that is chosen. */
export const staysHere = (need: Need, columns: Columns, policy: RoutePolicy): boolean =>
  columns.self >= 0 &&
  maskHas(columns.eligible, columns.self) &&
  columns.occupancy[columns.self]! < policy.offloadThreshold &&
  need.node === undefined &&
  need.region === undefined &&
  policy.strategyNamed !== true
