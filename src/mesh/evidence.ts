/** What a probe met, told from the error that it ended with. Pure. */
import { hasCode } from '../base/errors.ts'
import type { Evidence } from './records.ts'

export const evidenceWords = ['refused', 'reset', 'unreachable', 'no-answer'] as const satisfies readonly Evidence[]

/** How deep errors are looked into: a dial fails for several addresses, each for a reason with a cause. */
const depthMax = 5

/** The codes of the operating system in an error and in what it was caused by. */
const systemCodes = (error: unknown, depth = 0): string[] => {
  if (!(error instanceof Error) || depth > depthMax) return []
  const { code, cause, errors } = error as Error & { code?: unknown; errors?: unknown }
  const below = [cause, ...(Array.isArray(errors) ? errors.slice(0, 16) : [])]
  return [...(typeof code === 'string' ? [code] : []), ...below.flatMap((one) => systemCodes(one, depth + 1))]
}

/**
 * `undefined` for an error that is an answer all the same: a peer that refuses is there. Something that listens no more on one
 * address says more than silence on the others.
 */
export const evidenceOf = (error: unknown): Evidence | undefined => {
  if (!hasCode(error, 'PEER_UNREACHABLE', 'STREAM_LOST', 'DEADLINE_EXCEEDED', 'CANCELLED')) return undefined
  const codes = systemCodes(error)
  if (codes.includes('ECONNREFUSED')) return 'refused'
  if (codes.includes('ECONNRESET') || codes.includes('EPIPE') || hasCode(error, 'STREAM_LOST')) return 'reset'
  if (codes.some((code) => code === 'EHOSTUNREACH' || code === 'ENETUNREACH')) return 'unreachable'
  return 'no-answer'
}
