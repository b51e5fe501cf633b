/** Makes what an honest program would not: a JWS with any header and payload, rightly signed. */
import { sign } from 'node:crypto'
import type { NodeKey } from '../../../src/identity/node-key.ts'

export const part = (value: unknown): string =>
  Buffer.from(typeof value === 'string' ? value : JSON.stringify(value)).toString('base64url')

export const forge = (key: NodeKey, header: unknown, payload: unknown): string => {
  const input = `${part(header)}.${part(payload)}`
  return `${input}.${sign(null, Buffer.from(input), key.privateKey).toString('base64url')}`
}

/** The header and payload of a JWS, to be changed and forged anew. */
export const openUnchecked = (jws: string): { header: Record<string, unknown>; payload: Record<string, unknown> } => {
  const [header, payload] = jws.split('.').map((text) => Buffer.from(text, 'base64url').toString())
  return { header: JSON.parse(header!), payload: JSON.parse(payload!) }
}

const alphabet = 'ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789-_.= +/'

/** The text with the character at `at` (modulo its length) replaced by another one. */
export const mutate = (text: string, at: number, pick: number): string => {
  const index = at % text.length
  const others = [...alphabet].filter((character) => character !== text[index])
  return text.slice(0, index) + others[pick % others.length]! + text.slice(index + 1)
}
