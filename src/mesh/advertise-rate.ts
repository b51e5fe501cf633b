/**
 * When a node tells its capacity: a pure step function. Refresh R = clamp(min, N / 6 s, max), a little early by jitter; at
 * once on a change that matters, behind a token bucket; where the bucket is empty a trailing send tells the latest state.
 *
 *   event \ state      tokens left            bucket empty
 *   matters            send, take a token     wake at the next token
 *   does not matter    wake at the refresh    wake at the refresh
 *   refresh is due     send                   send
 */
import type { Capacity } from '../base/advertisement.ts'
import type { Limits } from '../base/limits.ts'

type RateLimits = Pick<
  Limits,
  | 'advertiseIntervalMsMin'
  | 'advertiseIntervalMsMax'
  | 'advertisePeersPerSecond'
  | 'advertiseTokenEveryMs'
  | 'advertiseBurst'
  | 'advertisementLoadChange'
>

export interface RateState {
  readonly tokens: number
  readonly refilledAtMs: number
  /** What was told last. */
  readonly told: Capacity | undefined
  readonly refreshAtMs: number
}

export const initialRate = (nowMs: number, limits: Pick<Limits, 'advertiseBurst'>): RateState => ({
  tokens: limits.advertiseBurst,
  refilledAtMs: nowMs,
  told: undefined,
  refreshAtMs: nowMs,
})

/** Milliseconds between two advertisements of a node that does not change, in a realm of `peers` nodes. */
export const refreshIntervalMs = (peers: number, limits: RateLimits): number =>
  Math.min(
    limits.advertiseIntervalMsMax,
    Math.max(limits.advertiseIntervalMsMin, Math.round((peers / limits.advertisePeersPerSecond) * 1_000)),
  )

/** Whether others route differently for it: a tenth of the load, the status, the last free slot, the number of slots. */
export const matters = (told: Capacity | undefined, now: Capacity, loadChange: number): boolean =>
  told === undefined ||
  told.status !== now.status ||
  told.maxConcurrent !== now.maxConcurrent ||
  told.running >= told.maxConcurrent !== now.running >= now.maxConcurrent ||
  // A tenth from 0.7 to 0.8 is not quite 0.1 in binary.
  Math.abs(told.currentLoad - now.currentLoad) >= loadChange - 1e-9

/** What to do now, and when to look again. `random` is from 0 up to 1. */
export const stepRate = (
  state: RateState,
  event: { nowMs: number; capacity: Capacity; peers: number; random: number },
  limits: RateLimits,
): { state: RateState; send: boolean; wakeAtMs: number } => {
  const { nowMs, capacity, peers, random } = event
  const every = limits.advertiseTokenEveryMs
  const earned = Math.floor((nowMs - state.refilledAtMs) / every)
  const tokens = Math.min(limits.advertiseBurst, state.tokens + earned)
  // A full bucket earns nothing, so its next token counts from when it is used.
  const refilledAtMs = tokens === limits.advertiseBurst ? nowMs : state.refilledAtMs + earned * every

  const changed = matters(state.told, capacity, limits.advertisementLoadChange)
  const due = nowMs >= state.refreshAtMs
  if (!due && !(changed && tokens > 0)) {
    const wakeAtMs = changed ? Math.min(refilledAtMs + every, state.refreshAtMs) : state.refreshAtMs
    return { state: { ...state, tokens, refilledAtMs }, send: false, wakeAtMs }
  }
  const refreshAtMs = nowMs + refreshIntervalMs(peers, limits) * (0.8 + 0.2 * random)
  const left = changed ? Math.max(0, tokens - 1) : tokens
  return { state: { tokens: left, refilledAtMs, told: capacity, refreshAtMs }, send: true, wakeAtMs: refreshAtMs }
}
