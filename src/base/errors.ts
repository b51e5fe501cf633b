/**
 * Room base: the vocabulary that every room speaks. No I/O, no clock of its own, no other room.
 *
 * errors.ts         one error class over a union of codes (this file)
 * error-words.ts    the table: what each code carries, its words and its status
 * error-fields.ts   errors that come from outside; problem.ts errors as problem documents (RFC 9457)
 * limits.ts         every limit and interval, named with its unit
 * clock.ts log.ts meter.ts   the ports that `node` fills: time, logs, metrics; refusals.ts tells of each refusal once
 * ids.ts hash.ts    ids that the caller mints; hashes, ties and rendezvous
 * codec.ts          msgpack, bounded before it is built; schema.ts one description gives type, check and OpenAPI
 * advertisement.ts agent.ts need.ts report.ts   what nodes, agents, placements and reports are
 * standing.ts       who a peer is here and what that lets it do; federation.ts other realms and pins; failover.ts the detector's settings; audit.ts the port of the audit log
 * git.ts            the line of git's that tells why it failed; token-bucket.ts holds what repeats to a rate
 *
 * An error's code is stable; its message may change.
 */

import { errorTable, type ErrorCode, type ErrorDetail, type ErrorEntry } from './error-words.ts'

export type { ErrorCode, ErrorDetail, ErrorFields, RejectedCandidate } from './error-words.ts'

/** The one error of the project. `detail.code` is stable; `message` says what happened, why, and what to do next. */
export class GodelError extends Error {
  override readonly name = 'GodelError'
  readonly detail: ErrorDetail

  constructor(detail: ErrorDetail, options?: { cause?: unknown }) {
    super(`${errorWhat(detail)}. ${errorNext(detail)}`, options)
    this.detail = detail
  }

  get code(): ErrorCode {
    return this.detail.code
  }
}

const entryOf = (detail: ErrorDetail): ErrorEntry<unknown> => errorTable[detail.code] as ErrorEntry<unknown>

/** One sentence without its full stop: what happened and why. */
export const errorWhat = (detail: ErrorDetail): string => entryOf(detail).what(detail)

/** What the person who reads it can do next. */
export const errorNext = (detail: ErrorDetail): string => {
  const { next } = entryOf(detail)
  return typeof next === 'string' ? next : next(detail)
}

/** The HTTP status of a code. */
export const errorStatus = (code: ErrorCode): number => errorTable[code].http

/** Every code that there is. */
export const errorCodes = Object.keys(errorTable) as ErrorCode[]

export const isErrorCode = (value: unknown): value is ErrorCode =>
  typeof value === 'string' && Object.hasOwn(errorTable, value)

/** True for a GodelError of one of the given codes. */
export const hasCode = <C extends ErrorCode>(
  error: unknown,
  ...codes: C[]
): error is GodelError & { detail: Extract<ErrorDetail, { code: C }> } =>
  error instanceof GodelError && (codes as string[]).includes(error.code)

/** Any thrown value as a GodelError; what is unknown becomes INTERNAL with the original as its cause. */
export const toGodelError = (error: unknown): GodelError =>
  error instanceof GodelError
    ? error
    : new GodelError(
        { code: 'INTERNAL', reason: error instanceof Error ? error.message : String(error) },
        { cause: error },
      )

/** The words of any thrown value. */
export const reasonOf = (error: unknown): string => (error instanceof Error ? error.message : String(error))
