/**
 * Room routing: where a piece of work goes. Pure decisions over what this node knows: no clock, no I/O, no chance.
 *
 *   route.ts       the decision, and the same decision with its reasons; a need in words
 *   eligible.ts    hard filters over the columns, the hierarchy of levels, ties, work that stays here
 *   demands.ts     the terms that a row bears and a need demands, and the words of a rejection
 *   strategies.ts  the strategies by name, and what "loaded" means
 *   candidates.ts  the candidates as columns, kept row by row, with this node's placements in flight
 *   postings.ts    which slots bear a term: lists for rare terms, bits for common ones
 *
 * A route is a hint, for it rests on advertisements: the target decides again. Levels are a hierarchy: the best candidate
 * of the first level that has an eligible one wins, so a full realm spills over to the next level.
 */
import { hash32 } from '../base/hash.ts'
import { limits as allLimits, type Limits } from '../base/limits.ts'
import type { Considered, Decision, Level, Need } from '../base/need.ts'
import type { Candidates, Columns } from './candidates.ts'
import { clip, demandsOf, isMomentary, isWellFormed, rejection, type Demand } from './demands.ts'
import { findEligible, levels, slotsOfLevel, staysHere, tieOf, type RoutePolicy } from './eligible.ts'
import { bears, maskHas } from './postings.ts'
import { strategies } from './strategies.ts'

export type { RoutePolicy } from './eligible.ts'

export interface RoutePlan {
  /** The peer that the work goes to, or null when nobody is eligible. */
  readonly pick: string | null
  readonly level: Level | null
  readonly rule: Decision['rule']
  /**
   * The peers whose only reasons for rejection are momentary (busy, full, draining) and may be out of date: whom to ask
   * again before a refusal. By level, then in the order of ties. Reads the candidates as they are when it is called.
   */
  staleRejects(): string[]
}

/**
 * Decides where a need goes. Total: whatever the need, there is a plan, and a need that is malformed has no pick.
 * Takes time in proportion to the eligible candidates, and leaves the candidates as they were.
 */
export const route = (need: Need, candidates: Candidates, policy: RoutePolicy): RoutePlan => {
  const { columns } = candidates
  const demands = demandsOf(need)
  const staleRejects = (): string[] => momentaryRejects(need, candidates, policy)
  const none: RoutePlan = { pick: null, level: null, rule: 'none', staleRejects }
  if (!findEligible(candidates, demands, policy, columns.eligible)) return none
  if (staysHere(need, columns, policy)) {
    const self = columns.rows[columns.self]!
    return { pick: self.peer, level: self.level, rule: 'local-below-threshold', staleRejects }
  }
  for (const level of levels) {
    const count = slotsOfLevel(columns, level)
    if (count === 0) continue
    const scores = strategies[policy.strategy].score(columns, columns.slots, count, need)
    const pick = columns.rows[bestOf(columns, scores, count, hash32(need.requestId))]!.peer
    return { pick, level, rule: need.node === undefined ? 'strategy' : 'named-node', staleRejects }
  }
  return none
}

/** The best of the first `count` slots: the highest score, then the node itself, then the tie. */
const bestOf = (columns: Columns, scores: Float64Array, count: number, requestHash: number): number => {
  const { slots, rows, peerHash, self } = columns
  let best = -1
  let bestScore = -Infinity
  let bestTie = 0
  for (let i = 0; i < count; i++) {
    const slot = slots[i]!
    const score = scores[slot]!
    if (score < bestScore) continue
    const tie = tieOf(peerHash[slot]!, requestHash)
    if (score === bestScore && (tie < bestTie || (tie === bestTie && rows[slot]!.peer > rows[best]!.peer))) continue
    best = slot
    bestScore = score
    bestTie = tie
  }
  const selfTakesPart = self >= 0 && maskHas(columns.mask, self)
  return selfTakesPart && scores[self] === bestScore ? self : best
}

const momentaryRejects = (need: Need, candidates: Candidates, policy: RoutePolicy): string[] => {
  const { columns } = candidates
  const demands = demandsOf(need)
  const hints = demands.filter(isMomentary).map(({ term }) => columns.postings.get(term))
  const lasting = demands.filter((demand) => !isMomentary(demand))
  if (!findEligible(candidates, lasting, policy, columns.eligible)) return []
  const requestHash = hash32(need.requestId)
  return levels.flatMap((level) => {
    const slots = [...columns.slots.subarray(0, slotsOfLevel(columns, level))]
    return slots
      .filter((slot) => hints.some((posting) => posting === undefined || !bears(posting, slot)))
      .map((slot) => ({ slot, peer: columns.rows[slot]!.peer, tie: tieOf(columns.peerHash[slot]!, requestHash) }))
      .toSorted((a, b) => b.tie - a.tie || (a.peer < b.peer ? -1 : 1))
      .map(({ peer }) => peer)
  })
}

export interface RouteExplanation {
  /** The pick first, then the other eligible candidates, best first, then the rejected ones by name. */
  considered: Considered[]
  /** Candidates beyond the bound, by count. */
  omitted: number
}

/** An eligible candidate on its way into the order of the record. */
interface Scored {
  slot: number
  peer: string
  first: boolean
  level: number
  score: number
  self: boolean
  tie: number
}

/**
 * Explains what `route` decides for the same need, candidates and policy: for each candidate its score or every reason for
 * its rejection. `nowMs` is on the clock of `issuedAtMs`. At most `decisionCandidatesMax` candidates, the rest by count.
 */
export const explainRoute = (
  need: Need,
  candidates: Candidates,
  policy: RoutePolicy,
  nowMs: number,
  limits: Pick<Limits, 'decisionCandidatesMax'> = allLimits,
): RouteExplanation => {
  const { columns } = candidates
  const demands = demandsOf(need)
  const eligible = scoredOf(need, candidates, policy, demands)
  const atMost = limits.decisionCandidatesMax
  const considered: Considered[] = firstOf(eligible, atMost, byRank).map(({ slot, score }) => ({
    ...outlineOf(candidates, slot, nowMs),
    score,
  }))
  const rejected: Named[] = []
  if (considered.length < atMost) {
    columns.rows.forEach((row, slot) => {
      if (row === undefined || maskHas(columns.eligible, slot)) return
      rejected.push({ slot, name: row.ad.name, peer: row.peer })
    })
  }
  for (const { slot } of firstOf(rejected, atMost - considered.length, byName)) {
    const reasons = reasonsAgainst(candidates, slot, demands, policy)
    considered.push({ ...outlineOf(candidates, slot, nowMs), rejected: reasons })
  }
  return { considered, omitted: candidates.size - considered.length }
}

/** The eligible candidates of all levels with their scores; leaves them marked in `columns.eligible`. */
const scoredOf = (need: Need, candidates: Candidates, policy: RoutePolicy, demands: readonly Demand[]): Scored[] => {
  const { columns } = candidates
  if (!findEligible(candidates, demands, policy, columns.eligible)) return []
  const here = staysHere(need, columns, policy) ? columns.self : -1
  const requestHash = hash32(need.requestId)
  return levels.flatMap((name, level) => {
    const count = slotsOfLevel(columns, name)
    const scores = strategies[policy.strategy].score(columns, columns.slots, count, need)
    return Array.from(columns.slots.subarray(0, count), (slot) => ({
      slot,
      peer: columns.rows[slot]!.peer,
      first: slot === here,
      level,
      score: scores[slot]!,
      self: slot === columns.self,
      tie: tieOf(columns.peerHash[slot]!, requestHash),
    }))
  })
}

const byRank = (a: Scored, b: Scored): number =>
  Number(b.first) - Number(a.first) ||
  a.level - b.level ||
  b.score - a.score ||
  Number(b.self) - Number(a.self) ||
  b.tie - a.tie ||
  (a.peer < b.peer ? -1 : 1)

interface Named {
  slot: number
  name: string
  peer: string
}

const byName = (a: Named, b: Named): number => (a.name < b.name ? -1 : a.name > b.name ? 1 : a.peer < b.peer ? -1 : 1)

const outlineOf = ({ columns }: Candidates, slot: number, nowMs: number): Considered => {
  const row = columns.rows[slot]!
  const adAgeMs = Math.max(0, Math.round(nowMs - row.issuedAtMs))
  return { peer: row.peer, node: row.ad.name, level: row.level, adAgeMs }
}

const reasonsAgainst = (
  { columns }: Candidates,
  slot: number,
  demands: readonly Demand[],
  policy: RoutePolicy,
): string[] => {
  const row = columns.rows[slot]!
  const reasons = policy.exclude?.has(row.peer) === true ? ['already tried'] : []
  for (const demand of demands) {
    const posting = columns.postings.get(demand.term)
    if (posting !== undefined && bears(posting, slot)) continue
    reasons.push(rejection(row, demand, columns.inFlight[slot]!))
  }
  return reasons
}

/** The first `count` of the items in order. A record keeps few of many, so sorting them all would be a waste. */
const firstOf = <T>(items: readonly T[], count: number, compare: (a: T, b: T) => number): T[] => {
  let kept: T[] = []
  let bar: T | undefined
  for (const item of items) {
    if (bar !== undefined && compare(item, bar) > 0) continue
    kept.push(item)
    if (kept.length <= count * 2) continue
    kept = kept.toSorted(compare).slice(0, count)
    bar = kept.at(-1)
  }
  return kept.toSorted(compare).slice(0, count)
}

/**
 * A need in words, for messages: `an agent (process) with a GPU of type a100 in eu-west`. Bounded, and total like the
 * rest: a malformed need is called one.
 */
export const describeNeed = (need: Need): string => {
  if (!isWellFormed(need)) return 'a malformed need'
  const having: string[] = []
  if (need.gpuType !== undefined) having.push(`a GPU of type ${need.gpuType}`)
  else if (need.gpu) having.push('a GPU')
  if (need.capabilities.length > 0)
    having.push(`${plural('capability', need.capabilities)} ${need.capabilities.join(', ')}`)
  const labels = Object.entries(need.nodeLabels).map(([key, value]) => `${key}=${value}`)
  if (labels.length > 0) having.push(`${plural('label', labels)} ${labels.join(', ')}`)
  const parts = [`an agent (${need.runtime})`]
  if (having.length > 0) parts.push(`with ${having.join(' and ')}`)
  if (need.isolation !== undefined) parts.push(`at isolation ${need.isolation}`)
  if (need.region !== undefined) parts.push(`in ${need.region}`)
  if (need.node !== undefined) parts.push(`on node ${need.node}`)
  return clip(parts.join(' '), allLimits.needWordsLengthMax)
}

const plural = (word: string, of: readonly string[]): string =>
  of.length === 1 ? word : `${word.replace(/y$/, 'ie')}s`
