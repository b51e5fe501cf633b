/**
 * Compact JWS (RFC 7515) with everything pinned: the algorithm is EdDSA, the type is the one that the caller expects, the
 * header holds nothing but `alg`, `typ` and `kid`, each part is in its one base64url form, and the size is bounded before
 * anything is parsed. A payload is handed out only after its signature was checked.
 */
import { createPublicKey, type KeyObject } from 'node:crypto'
import { CompactSign, compactVerify } from 'jose'
import { hasCode, type GodelError } from '../base/errors.ts'
import type { Parse } from '../base/schema.ts'

/** What a caller expects of a JWS, and how it says no. */
export interface Expected<T> {
  /** The `typ` that the header must have: a certificate is never taken for a token. */
  typ: string
  bytesMax: number
  /** The 32-byte Ed25519 public key that `kid` stands for; may throw what `refuse` gives. */
  keyOf: (kid: string) => Uint8Array
  /** The check of the payload; its INVALID_MESSAGE is turned into a refusal. */
  parse: Parse<T>
  refuse: (reason: string, cause?: unknown) => GodelError
}

/** Signs `payload` as JSON with an Ed25519 key; `kid` tells the reader which key that is. */
export const signJws = (key: KeyObject, header: { typ: string; kid: string }, payload: object): Promise<string> =>
  new CompactSign(Buffer.from(JSON.stringify(payload)))
    .setProtectedHeader({ alg: 'EdDSA', typ: header.typ, kid: header.kid })
    .sign(key)

/** The payload of a JWS that is in every respect as expected; otherwise throws what `refuse` gives. */
export const openJws = async <T>(text: string, expected: Expected<T>): Promise<{ kid: string; payload: T }> => {
  const { refuse } = expected
  if (text.length > expected.bytesMax) throw refuse(`it is longer than ${expected.bytesMax} bytes`)
  const parts = text.split('.')
  if (parts.length !== 3) throw refuse('it does not have three parts; it may be cut off')
  const [header, payload] = parts.map((part) => decodePart(part, refuse)) as [Buffer, Buffer, Buffer]
  const kid = checkHeader(parseJson(header, 'header', refuse), expected)
  const body = parseJson(payload, 'content', refuse)
  const key = expected.keyOf(kid)
  try {
    await compactVerify(text, publicKeyObject(key), { algorithms: ['EdDSA'] })
  } catch (error) {
    throw refuse('its signature is wrong', error)
  }
  return { kid, payload: checkPayload(body, expected) }
}

/** A part has one form: no padding, no other alphabet, no stray bits in its last character. */
const decodePart = (part: string, refuse: (reason: string) => GodelError): Buffer => {
  const bytes = Buffer.from(part, 'base64url')
  if (part === '' || bytes.toString('base64url') !== part) throw refuse('it holds characters that do not belong there')
  return bytes
}

const parseJson = (
  bytes: Uint8Array,
  what: string,
  refuse: (reason: string, cause?: unknown) => GodelError,
): unknown => {
  try {
    return JSON.parse(new TextDecoder('utf-8', { fatal: true }).decode(bytes))
  } catch (error) {
    throw refuse(`its ${what} is not JSON`, error)
  }
}

const checkHeader = <T>(header: unknown, { typ, refuse }: Expected<T>): string => {
  if (typeof header !== 'object' || header === null || Array.isArray(header))
    throw refuse('its header is not an object')
  const fields = header as Record<string, unknown>
  if (fields['alg'] !== 'EdDSA') throw refuse('it is not signed with EdDSA')
  if (fields['typ'] !== typ) throw refuse('it is of another type')
  if (typeof fields['kid'] !== 'string') throw refuse('it does not say who signed it')
  const extra = Object.keys(fields).find((name) => !['alg', 'typ', 'kid'].includes(name))
  if (extra !== undefined) throw refuse('its header holds fields that are not taken')
  return fields['kid']
}

const checkPayload = <T>(value: unknown, { parse, refuse }: Expected<T>): T => {
  try {
    return parse(value)
  } catch (error) {
    throw hasCode(error, 'INVALID_MESSAGE') ? refuse(error.detail.reason, error) : error
  }
}

const publicKeyObject = (key: Uint8Array): KeyObject =>
  createPublicKey({ key: { kty: 'OKP', crv: 'Ed25519', x: Buffer.from(key).toString('base64url') }, format: 'jwk' })
