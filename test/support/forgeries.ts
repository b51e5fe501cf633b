/** Words about members that no honest node has said, each sealed as well as a forger can. */
import type { Advertisement } from '../../src/base/advertisement.ts'
import { encode } from '../../src/base/codec.ts'
import { issueCertificate } from '../../src/identity/certificate.ts'
import { createNodeKey, type NodeKey } from '../../src/identity/node-key.ts'
import { foundRealm } from '../../src/identity/realm-document.ts'
import { ACCUSATION_DOMAIN, AD_DOMAIN, encodeAccusation } from '../../src/mesh/accept.ts'
import { traitsOf } from './mesh.ts'
import type { RawPeer } from './raw-peer.ts'

const dayMs = 24 * 60 * 60_000

export interface Forgery {
  kind: 'ad' | 'accusation'
  envelope: Uint8Array
}

/** Everything that `forger`, a member, can make up against `victim` and in the realm; `stranger` has no certificate. */
export const forgeries = async (realm: {
  id: string
  founder: NodeKey
  forger: RawPeer
  stranger: RawPeer
  certificate: string
  victim: string
  victimCertificate: string
}): Promise<Record<string, Forgery>> => {
  const { id, founder, forger, stranger, certificate, victim, victimCertificate } = realm
  const wallMs = Date.now()
  const other = await foundRealm({ name: 'lab', rootKey: createNodeKey(), founder: founder.peer, wallMs })
  const certify = (issuer: NodeKey, inRealm: string, issuedAtMs = wallMs) =>
    issueCertificate({ issuer, realm: inRealm, peer: forger.peer, role: 'member', wallMs: issuedAtMs, ttlMs: dayMs })
  const ad = async (by: RawPeer, change: Partial<Advertisement>, domain = AD_DOMAIN): Promise<Forgery> => {
    const whole: Advertisement = {
      ...{ realm: id, peer: by.peer, ...traitsOf('forged'), status: 'available', currentLoad: 0, running: 0 },
      ...{ maxConcurrent: 9_999, ensembles: [], addresses: [], incarnation: 2 ** 30, sequence: 1, ttlMs: 900_000 },
      ...{ left: false, certificate },
      ...change,
    } as Advertisement
    return { kind: 'ad', envelope: await by.seal(domain, encode(whole)) }
  }
  const accuse = async (by: RawPeer, shown: string, subject = victim): Promise<Forgery> => {
    const words = encodeAccusation({ realm: id, subject, incarnation: 1, certificate: shown })
    return { kind: 'accusation', envelope: await by.seal(ACCUSATION_DOMAIN, words) }
  }
  const turned = (await ad(forger, {})).envelope.slice()
  turned[turned.length - 20]! ^= 1

  return {
    'in the name of another': await ad(forger, { peer: victim, certificate: victimCertificate }),
    'that another has left': await ad(forger, { peer: victim, certificate: victimCertificate, left: true }),
    'in the name of the node that hears it': await ad(forger, { peer: founder.peer }),
    'with the certificate of another': await ad(forger, { certificate: victimCertificate }),
    'with a stolen certificate': await ad(stranger, {}),
    'with a certificate of another realm': await ad(forger, { certificate: await certify(founder, other.id) }),
    'for another realm': await ad(forger, { realm: other.id }),
    'with a certificate that has expired': await ad(forger, {
      certificate: await certify(founder, id, wallMs - 2 * dayMs),
    }),
    'with a certificate of its own making': await ad(forger, { certificate: await certify(forger.key, id) }),
    'without a certificate': await ad(forger, { certificate: '' }),
    'with an incarnation of 2^53': await ad(forger, { incarnation: 2 ** 53 }),
    'with a load of minus one': await ad(forger, { currentLoad: -1 }),
    'sealed for another purpose': await ad(forger, {}, ACCUSATION_DOMAIN),
    'with a bit turned': { kind: 'ad', envelope: turned },
    'larger than any may be': await ad(forger, {
      labels: { a: 'x'.repeat(255), b: 'y'.repeat(255) },
      addresses: Array(8).fill('z'.repeat(255)),
    }),
    'an accusation by a stranger': await accuse(stranger, certificate),
    'an accusation with the certificate of another': await accuse(forger, victimCertificate),
    'an accusation of oneself': await accuse(forger, certificate, forger.peer),
    'an accusation that is an advertisement': { ...(await ad(forger, {})), kind: 'accusation' },
  }
}
