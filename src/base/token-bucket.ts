/** A rate with a burst, on the clock that it is handed: tokens come back evenly, and never more than the burst. */
import type { Clock } from './clock.ts'

export interface TokenBucket {
  /** 0 when the tokens were there, and are taken; else the milliseconds until they would be. */
  take(count?: number): number
  /** Takes them in any case; gives the milliseconds until the debt, if any, is paid off. */
  spend(count: number): number
}

export const createTokenBucket = (
  clock: Pick<Clock, 'monotonicMs'>,
  { perSecond, burst }: { perSecond: number; burst: number },
): TokenBucket => {
  let tokens = burst
  let filledAtMs = clock.monotonicMs()

  const fill = () => {
    const nowMs = clock.monotonicMs()
    tokens = Math.min(burst, tokens + ((nowMs - filledAtMs) * perSecond) / 1_000)
    filledAtMs = nowMs
  }
  const waitMs = (missing: number) => Math.max(1, Math.ceil((missing * 1_000) / perSecond))

  return {
    take(count = 1) {
      fill()
      if (tokens < count) return waitMs(count - tokens)
      tokens -= count
      return 0
    },
    spend(count) {
      fill()
      tokens -= count
      return tokens < 0 ? waitMs(-tokens) : 0
    },
  }
}
