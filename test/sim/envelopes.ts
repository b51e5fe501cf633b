/**
 * Envelopes without signatures: each is registered when it is sealed, and opening one looks it up, so that bytes that nobody has
 * sealed, or that were altered, or sealed for another domain, are refused as a bad signature would be. They are as long as real
 * ones. Sealing the same twice gives the same bytes, as Ed25519 does. All nodes share one copy of an envelope and of what was
 * read from it.
 */
import { hash } from 'node:crypto'
import type { Advertisement } from '../../src/base/advertisement.ts'
import { GodelError } from '../../src/base/errors.ts'

/** What key, domain and signature add to a payload: libp2p's RFC 0002 with an Ed25519 key and our codec. */
const overheadBytes = 36 + 8 + 64 + 8

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
      : new DataView(envelope.buffer, envelope.byteOffset, envelope.byteLength).getUint32(0)

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
      envelope.writeUInt32BE(bySerial.size + 1)
      // In place of the signature: what the order of envelopes is decided by must not be the order of sealing.
      envelope.set(Buffer.from(content, 'hex'), 4)
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
