/** Realms, members and their sealed words, made with real keys, for tests that need no network. */
import { createHash } from 'node:crypto'
import { privateKeyFromRaw } from '@libp2p/crypto/keys'
import type { Advertisement } from '../../../src/base/advertisement.ts'
import { encode } from '../../../src/base/codec.ts'
import { issueCertificate } from '../../../src/identity/certificate.ts'
import { nodeKeyFromSeed, type NodeKey } from '../../../src/identity/node-key.ts'
import { foundRealm, type Realm } from '../../../src/identity/realm-document.ts'
import { ACCUSATION_DOMAIN, AD_DOMAIN, encodeAccusation } from '../../../src/mesh/accept.ts'
import type { Evidence, PeerRecord } from '../../../src/mesh/records.ts'
import { seal } from '../../../src/net/envelope.ts'
import { traitsOf } from '../../support/mesh.ts'

export const wallMs = 1_800_000_000_000
export const dayMs = 24 * 60 * 60_000

/** A key that depends on its name alone, so that a failing run can be repeated. */
export const keyOf = (name: string): NodeKey => nodeKeyFromSeed(createHash('sha256').update(name).digest())

export const sealBy = (key: NodeKey, domain: string, payload: Uint8Array): Promise<Uint8Array> =>
  seal(privateKeyFromRaw(Buffer.concat([key.seed, key.publicKey])), domain, payload)

export const realmOf = (founder: NodeKey, name = 'lab'): Promise<Realm> =>
  foundRealm({ name, rootKey: keyOf(`root of ${name}`), founder: founder.peer, wallMs })

export const certify = (issuer: NodeKey, realm: Realm, peer: string, ttlMs = dayMs): Promise<string> =>
  issueCertificate({ issuer, realm: realm.id, peer, role: 'member', wallMs, ttlMs })

export const adOf = (
  peer: string,
  realm: string,
  certificate: string,
  change: Partial<Advertisement> = {},
): Advertisement => ({
  realm,
  peer,
  ...traitsOf('node'),
  status: 'available',
  currentLoad: 0,
  running: 0,
  maxConcurrent: 8,
  ensembles: [],
  addresses: [],
  incarnation: 1,
  sequence: 1,
  ttlMs: 45_000,
  left: false,
  certificate,
  ...change,
})

export const sealAd = (key: NodeKey, ad: Advertisement): Promise<Uint8Array> => sealBy(key, AD_DOMAIN, encode(ad))

export const sealAccusation = (
  accuser: NodeKey,
  accusation: { realm: string; subject: string; incarnation: number; certificate: string },
): Promise<Uint8Array> => sealBy(accuser, ACCUSATION_DOMAIN, encodeAccusation(accusation))

/** A record without real signatures, for what only merges and counts. */
export const recordOf = (
  peer: string,
  change: Partial<Advertisement> = {},
  rest: Partial<PeerRecord> = {},
): PeerRecord => {
  const ad = adOf(peer, '0'.repeat(64), 'certificate', change)
  return {
    peer,
    ad,
    envelope: encode([ad.incarnation, ad.sequence, ad.left, ad.currentLoad]),
    issuedAtMs: 1_000,
    accusations: [],
    accusedAtMs: undefined,
    ...rest,
  }
}

export const accusationBy = (accuser: string, sinceMs: number, evidence?: Evidence) => ({
  accuser,
  envelope: encode(evidence === undefined ? accuser : [accuser, evidence]),
  sinceMs,
  evidence,
})
