/**
 * The fields of errors that come from outside, checked one by one, since callers act on them. `net` and the SDK both take
 * errors in here; a code that this version does not know, or fields that do not fit, give nothing.
 */
import { GodelError, type ErrorCode, type ErrorDetail, type ErrorFields, type RejectedCandidate } from './errors.ts'

type FieldKind<T> = T extends string
  ? 'string'
  : T extends number
    ? 'number'
    : T extends string[]
      ? 'strings'
      : 'candidates'
type FieldKinds = { [C in ErrorCode]: { [F in keyof ErrorFields[C]]: FieldKind<ErrorFields[C][F]> } }

const string = 'string'
const number = 'number'

/** The kinds of every code's fields. */
const kinds: FieldKinds = {
  INVALID_ARGUMENT: { field: string, reason: string },
  INVALID_MESSAGE: { what: string, reason: string },
  TOO_LARGE: { what: string, bytes: number, limitBytes: number },
  UNSUPPORTED: { what: string, reason: string },
  NOT_FOUND: { what: string, id: string },
  CONFLICT: { what: string, reason: string },
  CANCELLED: { what: string },
  DEADLINE_EXCEEDED: { what: string, afterMs: number },
  QUEUE_FULL: { what: string, limit: number },
  PEER_UNREACHABLE: { peer: string, reason: string },
  STREAM_LOST: { peer: string, reason: string },
  METHOD_UNKNOWN: { method: string, peer: string },
  REMOTE_ERROR: { peer: string, remoteCode: string, remoteMessage: string },
  NODE_STOPPING: { node: string },
  NODE_UNREACHABLE: { url: string, reason: string },
  UNAUTHENTICATED: { reason: string },
  FORBIDDEN: { action: string, reason: string },
  NOT_A_MEMBER: { peer: string, reason: string },
  DUPLICATE_IDENTITY: { peer: string, incarnation: number },
  REALM_REQUIRED: { action: string },
  QUOTA_EXCEEDED: { what: string, limit: number },
  RATE_LIMITED: { what: string, retryAfterMs: number },
  DRAINING: { node: string },
  CERTIFICATE_INVALID: { peer: string, reason: string },
  TOKEN_INVALID: { reason: string },
  TOKEN_EXPIRED: { expiredAt: number },
  TOKEN_USED_UP: { uses: number },
  JOIN_REQUIRED: { seed: string },
  REALM_MISMATCH: { expected: string, actual: string },
  REALM_DOCUMENT_INVALID: { reason: string },
  REALM_FULL: { what: string, limit: number },
  SEED_UNREACHABLE: { seeds: 'strings', reason: string },
  KEY_FILE_INSECURE: { path: string, mode: string },
  STORE_CORRUPT: { path: string, reason: string },
  STORE_TOO_NEW: { path: string, version: number, supported: number },
  STORE_FAILED: { path: string, reason: string },
  DATA_DIR_LOCKED: { path: string, pid: number },
  NO_CANDIDATE: { need: string, considered: 'candidates', attempts: number },
  AT_CAPACITY: { node: string, running: number, capacity: number },
  RESERVATION_EXPIRED: { reservation: string },
  AGENT_NOT_FOUND: { agent: string },
  AGENT_NOT_RUNNING: { agent: string, status: string },
  AGENT_LOST: { agent: string, host: string },
  STALE_EPOCH: { agent: string, epoch: number, current: number },
  WORKSPACE_FAILED: { reason: string },
  EXEC_NOT_FOUND: { exec: string },
  EXEC_FAILED: { command: string, reason: string },
  SANDBOX_FAILED: { reason: string },
  INTERNAL: { reason: string },
  MEDIA_TYPE_REFUSED: { mediaType: string, accepted: string },
  HOST_REFUSED: { header: string, expected: string },
  PORT_IN_USE: { port: number },
  KEY_FILE_INVALID: { path: string, reason: string },
  SPAWN_IN_DOUBT: { agent: string, node: string },
  UNFIT: { node: string, reasons: 'strings' },
}

const isStrings = (value: unknown): value is string[] =>
  Array.isArray(value) && value.every((v) => typeof v === 'string')

const isCandidate = (value: unknown): value is RejectedCandidate => {
  if (typeof value !== 'object' || value === null) return false
  const { node, peer, reasons } = value as Record<string, unknown>
  return typeof node === 'string' && typeof peer === 'string' && isStrings(reasons)
}

const fits: Record<FieldKind<unknown> | 'string' | 'number' | 'strings', (value: unknown) => boolean> = {
  string: (value) => typeof value === 'string',
  number: (value) => typeof value === 'number' && Number.isFinite(value),
  strings: isStrings,
  candidates: (value) => Array.isArray(value) && value.every(isCandidate),
}

/** The error of a code and its fields; undefined where they are not one of ours. Further fields are left out. */
export const errorFrom = (fields: Record<string, unknown>): GodelError | undefined => {
  const { code } = fields
  const expected = typeof code === 'string' && Object.hasOwn(kinds, code) ? kinds[code as ErrorCode] : undefined
  if (expected === undefined) return undefined
  const detail: Record<string, unknown> = { code }
  for (const [name, kind] of Object.entries(expected)) {
    if (!fits[kind as keyof typeof fits](fields[name])) return undefined
    detail[name] = fields[name]
  }
  try {
    return new GodelError(detail as unknown as ErrorDetail)
  } catch {
    return undefined // such as a date beyond what a Date can hold
  }
}
