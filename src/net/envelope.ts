/**
 * Signed envelopes (libp2p RFC 0002): a payload with its author's key and signature, made for one domain. What is sealed
 * once can be passed on by anybody, unlike a gossip signature, which holds for one message alone.
 */
import { peerIdFromPublicKey } from '@libp2p/peer-id'
import { RecordEnvelope } from '@libp2p/peer-record'
import type { PrivateKey } from '@libp2p/interface'
import { GodelError } from '../base/errors.ts'

const codec = new TextEncoder().encode('/godel/1')

export const seal = async (privateKey: PrivateKey, domain: string, payload: Uint8Array): Promise<Uint8Array> => {
  const record = { domain, codec, marshal: () => payload, equals: () => false }
  return (await RecordEnvelope.seal(record, privateKey)).marshal()
}

/** The author and the payload; INVALID_MESSAGE if it is forged, altered, of another domain, or not by an Ed25519 key. */
export const open = async (domain: string, envelope: Uint8Array): Promise<{ peer: string; payload: Uint8Array }> => {
  const refused = (reason: string, cause?: unknown) =>
    new GodelError({ code: 'INVALID_MESSAGE', what: `an envelope of ${domain}`, reason }, { cause })
  try {
    const opened = RecordEnvelope.createFromProtobuf(envelope)
    // Checked first: a key of another type could make the check of its signature arbitrarily costly.
    if (opened.publicKey.type !== 'Ed25519') throw refused('its key is not Ed25519')
    if (!Buffer.from(opened.payloadType).equals(codec)) throw refused('it holds something else')
    // One author and payload have one form, so that bytes which differ are never the same message.
    if (!Buffer.from(opened.marshal()).equals(envelope)) throw refused('it is not in its canonical form')
    if (!(await opened.validate(domain))) throw refused('its signature does not hold')
    return { peer: peerIdFromPublicKey(opened.publicKey).toString(), payload: opened.payload }
  } catch (error) {
    throw error instanceof GodelError ? error : refused('it does not decode', error)
  }
}

/** What tells the authors of envelopes apart, without opening them: the public key that comes first. Says nothing of its truth. */
export const authorKey = (envelope: Uint8Array): string =>
  Buffer.from(envelope.subarray(2, 2 + (envelope[1] ?? 0))).toString('latin1')
