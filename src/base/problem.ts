/**
 * Problem documents (RFC 9457): an error as HTTP carries it, and back. The fields of the code stand beside the members of
 * the standard; a field whose name the standard takes is renamed, here and nowhere else.
 */
import { errorFrom } from './error-fields.ts'
import {
  errorNext,
  errorStatus,
  errorWhat,
  GodelError,
  toGodelError,
  type ErrorCode,
  type ErrorFields,
} from './errors.ts'

export interface Problem {
  /** `urn:godel:error:CODE`. */
  type: string
  title: string
  /** The HTTP status. */
  status: number
  /** What happened and why. */
  detail: string
  code: string
  /** What to do about it. */
  next: string
  [field: string]: unknown
}

type Standard = 'type' | 'title' | 'status' | 'detail' | 'instance' | 'next'
const renamed = { status: 'agentStatus' } as const

/** Does not compile when a new code brings a field that the standard takes and that is not renamed above. */
type Taken = { [C in ErrorCode]: Extract<keyof ErrorFields[C], Exclude<Standard, keyof typeof renamed>> }[ErrorCode]
const nothingTaken: [Taken] extends [never] ? true : never = true
void nothingTaken

const original = Object.fromEntries(Object.entries(renamed).map(([field, member]) => [member, field]))
const standard: ReadonlySet<string> = new Set<Standard>(['type', 'title', 'status', 'detail', 'instance', 'next'])

const titleOf = (code: ErrorCode): string => {
  const words = code.toLowerCase().replaceAll('_', ' ')
  return words[0]!.toUpperCase() + words.slice(1)
}

/** Any thrown value as a problem document. */
export const toProblem = (error: unknown): Problem => {
  const { detail } = toGodelError(error)
  const { code, ...fields } = detail
  const members = Object.entries(fields).map(([field, value]) => [
    renamed[field as keyof typeof renamed] ?? field,
    value,
  ])
  return {
    type: `urn:godel:error:${code}`,
    title: titleOf(code),
    status: errorStatus(code),
    detail: errorWhat(detail),
    code,
    next: errorNext(detail),
    ...Object.fromEntries(members),
  }
}

/** The error that a problem document of `url` describes: the same code and fields, or REMOTE_ERROR where this version does not know it. */
export const fromProblem = (value: unknown, url: string): GodelError => {
  const problem = (typeof value === 'object' && value !== null ? value : {}) as Record<string, unknown>
  const { code } = problem
  const members = Object.entries(problem).filter(([member]) => !standard.has(member))
  const known = errorFrom(Object.fromEntries(members.map(([member, field]) => [original[member] ?? member, field])))
  if (known) return known
  return new GodelError({
    code: 'REMOTE_ERROR',
    peer: url,
    remoteCode: String(code ?? 'no code').slice(0, 64),
    remoteMessage: String(problem['detail'] ?? 'no reason given').slice(0, 1_024),
  })
}
