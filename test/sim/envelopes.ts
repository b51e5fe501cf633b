/**
 * Envelopes without signatures: each is registered when it is sealed, and opening one looks it up, so that bytes that nobody has
 * sealed, or that were altered, or sealed for another domain, are refused as a bad signature would be. They are as long as real
 * ones. Sealing the same twice gives the same bytes, as Ed25519 does. All nodes share one copy of an envelope and of what was
 * read from it.
 */
import { hash } from 'node:crypto'
import type { Advertisement } from '../../src/base/advertisement.ts'
import { publicKeyOfPeer } from '../../src/identity/node-key.ts'
import { GodelError } from '../../src/base/errors.ts'

/** A real envelope (libp2p's RFC 0002) begins with its author's Ed25519 key, and so does one of these. */
const keyPrefix = Buffer.from('0a2408011220', 'hex')
const serialAt = keyPrefix.byteLength + 32
/** Key, codec, signature and the heads of their fields. */
const overheadBytes = serialAt + (2 + 8) + 3 + (2 + 64)

interface Sealed {
  readonly domain: string
  readonly peer: string
  readonly payload: Uint8Array
  readonly envelope: Uint8Array
  /** What the first reader read from it. */
  ad: Advertisement | undefined
}

export interface Envelopes {
  seal(domain: string, peer: string, payload: Uint8Array): Uint8Array
  /** INVALID_MESSAGE. */
  open(domain: string, envelope: Uint8Array): { peer: string; payload: Uint8Array }
  /** The shared copy of an envelope, or the bytes themselves where they are no envelope. */
  shared(envelope: Uint8Array): Uint8Array
  /** The shared copy of what an envelope says, which is `ad` where nobody has read it before. */
  sharedAd(envelope: Uint8Array, ad: Advertisement): Advertisement
  count(): number
}

export const createEnvelopes = (): Envelopes => {
  const bySerial = new Map<number, Sealed>()
  const byContent = new Map<string, Sealed>()

  const serialOf = (envelope: Uint8Array): number =>
    envelope.byteLength < overheadBytes
      ? -1
      : new DataView(envelope.buffer, envelope.byteOffset, envelope.byteLength).getUint32(serialAt)

  const find = (envelope: Uint8Array): Sealed | undefined => {
    const sealed = bySerial.get(serialOf(envelope))
    return sealed && Buffer.compare(sealed.envelope, envelope) === 0 ? sealed : undefined
  }

  return {
    seal(domain, peer, payload) {
      const content = hash('sha256', Buffer.concat([Buffer.from(`${domain}\0${peer}\0`), payload]), 'hex')
      const known = byContent.get(content)
      if (known) return known.envelope
      const envelope = Buffer.alloc(payload.byteLength + overheadBytes)
      envelope.set(keyPrefix)
      envelope.set(publicKeyOfPeer(peer), keyPrefix.byteLength)
      envelope.writeUInt32BE(bySerial.size + 1, serialAt)
      envelope.set(Buffer.from(content, 'hex'), serialAt + 4)
      envelope.set(payload, overheadBytes)
      const shared = envelope.subarray(overheadBytes)
      const sealed: Sealed = { domain, peer, payload: shared, envelope, ad: undefined }
      bySerial.set(bySerial.size + 1, sealed)
      byContent.set(content, sealed)
      return envelope
    },
    open(domain, envelope) {
      const sealed = find(envelope)
      if (sealed?.domain !== domain)
        throw new GodelError({
          code: 'INVALID_MESSAGE',
          what: `an envelope of ${domain}`,
          reason: 'its signature does not hold',
        })
      return sealed
    },
    shared: (envelope) => find(envelope)?.envelope ?? envelope,
    sharedAd(envelope, ad) {
      const sealed = find(envelope)
      return sealed ? (sealed.ad ??= ad) : ad
    },
    count: () => bySerial.size,
  }
}
