/** What is shown of why a peer is not alive. */
import type { Evidence, PeerRecord, PeerState } from './records.ts'

/** Why a peer counts as suspect or down: who says so, or nobody, where its advertisement has expired. */
export interface PeerVerdict {
  readonly reason: 'accused' | 'expired'
  readonly accusers: readonly string[]
  /** What each accuser met, where it said so. */
  readonly evidence: Readonly<Record<string, Evidence>>
  /** Milliseconds since the first accusation, or since the expiry. */
  readonly sinceMs: number
}

export const verdictOf = (record: PeerRecord, state: PeerState, nowMs: number): PeerVerdict | undefined => {
  if (state !== 'suspect' && state !== 'down') return undefined
  const { accusations, accusedAtMs, issuedAtMs, ad } = record
  if (accusations.length > 0 && accusedAtMs !== undefined)
    return {
      reason: 'accused',
      accusers: accusations.map((one) => one.accuser),
      evidence: Object.fromEntries(
        accusations.flatMap(({ accuser, evidence }) => (evidence === undefined ? [] : [[accuser, evidence]])),
      ),
      sinceMs: Math.round(nowMs - accusedAtMs),
    }
  return { reason: 'expired', accusers: [], evidence: {}, sinceMs: Math.round(nowMs - issuedAtMs - ad.ttlMs) }
}
