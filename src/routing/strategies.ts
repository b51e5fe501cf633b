/**
 * Strategies: how the eligible candidates of one level are compared. A further strategy is one entry in the table.
 * Whatever the strategy, equal scores are broken by the request and the peer, never by the order of the candidates.
 */
import type { Need } from '../base/need.ts'
import type { CandidateAd, Columns } from './candidates.ts'

export interface Strategy {
  /**
   * Scores the first `count` of `slots`: gives a column in which each of them has a finite score, higher being better.
   * It is a column that is kept anyway, or `columns.scores`, filled by this call. Emptier never scores worse.
   */
  score(columns: Columns, slots: Int32Array, count: number, need: Need): Float64Array
}

export type StrategyName = 'least-loaded'

/** The strategies by name. */
export const strategies: Record<StrategyName, Strategy> = {
  'least-loaded': { score: (columns) => columns.freedom },
}

export const isStrategyName = (name: string): name is StrategyName => Object.hasOwn(strategies, name)

/** The part of its slots that is taken, 0..1, the placements in flight among them. A node without slots is full. */
const slotsTaken = (ad: CandidateAd, inFlight: number): number =>
  ad.maxConcurrent > 0 ? Math.min(1, (ad.running + inFlight) / ad.maxConcurrent) : 1

/** The load that it will have, 0..1: each placement in flight adds a slot's share. Unknown load counts a half. */
const loadExpected = (ad: CandidateAd, inFlight: number): number => {
  const load = Number.isFinite(ad.currentLoad) ? ad.currentLoad : 0.5
  return Math.min(1, ad.maxConcurrent > 0 ? load + inFlight / ad.maxConcurrent : 1)
}

/** How full a node is, 0 to 1: the fuller of its slots and its load. */
export const occupancyOf = (ad: CandidateAd, inFlight: number): number =>
  Math.max(slotsTaken(ad, inFlight), loadExpected(ad, inFlight))

/**
 * The score of `least-loaded`, 1 for idle to 0 for full: what is left of slots and load, the fuller of them counting
 * three times the other. The fuller one is what the node runs out of first; the other still tells two such nodes apart.
 */
export const freedomOf = (ad: CandidateAd, inFlight: number): number => {
  const slots = slotsTaken(ad, inFlight)
  const load = loadExpected(ad, inFlight)
  return 1 - (3 * Math.max(slots, load) + Math.min(slots, load)) / 4
}
