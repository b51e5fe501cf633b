/**
 * Ids. Agents, requests, reservations and execs carry a prefix and a UUIDv7 (RFC 9562), so that ids sort by time.
 * The caller of a spawn mints the agent's id, which makes a retry the same request.
 */
import { randomBytes } from 'node:crypto'

export type IdPrefix = 'ag' | 'rq' | 'rs' | 'ex' | 'tk' | 'up'

const hex = (bytes: Uint8Array): string => Buffer.from(bytes).toString('hex')

/** A UUIDv7 for the given time in Unix milliseconds. */
export const uuidv7 = (wallMs: number): string => {
  const bytes = randomBytes(16)
  bytes.writeUIntBE(wallMs, 0, 6)
  bytes[6] = 0x70 | (bytes[6]! & 0x0f)
  bytes[8] = 0x80 | (bytes[8]! & 0x3f)
  const text = hex(bytes)
  return `${text.slice(0, 8)}-${text.slice(8, 12)}-${text.slice(12, 16)}-${text.slice(16, 20)}-${text.slice(20)}`
}

/** A fresh id such as `ag_0192…`. */
export const mintId = (prefix: IdPrefix, wallMs: number): string => `${prefix}_${uuidv7(wallMs)}`

/** The pattern of the ids of one kind, for schemas. */
export const idPattern = (prefix: IdPrefix): string =>
  `^${prefix}_[0-9a-f]{8}-[0-9a-f]{4}-7[0-9a-f]{3}-[89ab][0-9a-f]{3}-[0-9a-f]{12}$`

/** The pattern of an Ed25519 PeerId in its usual text form (base58btc of an identity multihash). */
export const peerIdPattern = '^12D3KooW[1-9A-HJ-NP-Za-km-z]{44}$'
const peerId = new RegExp(peerIdPattern)

export const isPeerId = (text: string): boolean => peerId.test(text)

/** A PeerId in a form short enough for a table: its last eight characters. */
export const shortPeer = (peer: string): string => peer.slice(-8)
