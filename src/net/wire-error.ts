/** Errors over the wire: the code, its fields and the words of them. What does not fit becomes REMOTE_ERROR with what the peer said. */
import { decode, encode } from '../base/codec.ts'
import { errorFrom } from '../base/error-fields.ts'
import { errorWhat, GodelError, toGodelError } from '../base/errors.ts'

/** The payload of an ERROR frame; the code alone where the fields would go beyond `bytesMax`. */
export const encodeError = (error: unknown, bytesMax: number): Uint8Array => {
  const known = toGodelError(error)
  const payload = encode({ ...known.detail, message: errorWhat(known.detail) })
  if (payload.byteLength <= bytesMax) return payload
  return encode({ code: known.code, message: 'the details are too large to be sent' })
}

/** The error in the payload of an ERROR frame; whatever it holds, the result is an error of ours. */
export const decodeError = (payload: Uint8Array, peer: string): GodelError => {
  let fields: unknown
  try {
    fields = decode(payload, 'an error')
  } catch (error) {
    return toGodelError(error)
  }
  if (!isRecord(fields))
    return new GodelError({ code: 'INVALID_MESSAGE', what: 'an error', reason: 'it has no fields' })
  return errorFrom(fields) ?? remoteError(fields, peer)
}

const isRecord = (value: unknown): value is Record<string, unknown> => typeof value === 'object' && value !== null

const remoteError = (fields: Record<string, unknown>, peer: string): GodelError =>
  new GodelError({
    code: 'REMOTE_ERROR',
    peer,
    remoteCode: String(fields['code']).slice(0, 64),
    remoteMessage: String(fields['message']).slice(0, 1_024),
  })
