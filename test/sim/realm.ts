/**
 * The realm of a simulation: keys from the seed, and real certificates, each issued and verified once before time begins. Nodes look
 * them up afterwards; one that was not issued here is refused, as a bad signature would be.
 */
import { hash } from 'node:crypto'
import { GodelError } from '../../src/base/errors.ts'
import { limits as defaults } from '../../src/base/limits.ts'
import { silentLog } from '../../src/base/log.ts'
import { issueCertificate, verifyCertificate, type Membership } from '../../src/identity/certificate.ts'
import { nodeKeyFromSeed, type NodeKey } from '../../src/identity/node-key.ts'
import type { Certificates } from '../../src/mesh/certificates.ts'
import { openMember, type Member } from '../../src/mesh/membership.ts'
import { openSimStore } from './sim-store.ts'

export const startWallMs = 1_800_000_000_000

export interface SimRealm {
  readonly keys: readonly NodeKey[]
  /** What the node of an index says of its membership. The first has founded the realm and is its issuer. */
  memberOf(index: number): Member
  readonly certificates: Certificates
}

const keyOf = (seed: string, name: string): NodeKey =>
  nodeKeyFromSeed(Uint8Array.from(hash('sha256', `${seed}/${name}`, 'buffer')))

export const createSimRealm = async (seed: string, count: number): Promise<SimRealm> => {
  const keys = Array.from({ length: count }, (_, index) => keyOf(seed, `node ${index}`))
  const founder = await openMember(
    {
      store: openSimStore(),
      key: keys[0]!,
      clock: { wallMs: () => startWallMs, monotonicMs: () => 0, after: () => ({ cancel() {} }) },
      log: silentLog,
      limits: defaults,
      rootKey: () => Promise.resolve(keyOf(seed, 'root')),
      join: () => Promise.reject(new GodelError({ code: 'INTERNAL', reason: 'the founder joins nobody' })),
    },
    { realm: 'sim', token: undefined, bootstrap: [] },
  )
  const realm = founder.realm()
  const shown = new Map<string, Membership>([[founder.certificate(), founder.membership()]])
  const certificateOf = [founder.certificate()]
  for (const { peer } of keys.slice(1)) {
    const grant = { issuer: keys[0]!, realm: realm.id, peer, role: 'member' } as const
    const certificate = await issueCertificate({ ...grant, wallMs: startWallMs, ttlMs: defaults.certificateTtlMs })
    shown.set(certificate, await verifyCertificate(certificate, { peer, realm, wallMs: startWallMs }))
    certificateOf.push(certificate)
  }
  const verified = (certificate: string, peer: string): Membership => {
    const membership = shown.get(certificate)
    if (membership?.peer === peer) return membership
    throw new GodelError({ code: 'CERTIFICATE_INVALID', peer, reason: 'it was not issued here' })
  }
  const certificates = {
    peek: (certificate: string) => shown.get(certificate),
    verify: async (certificate: string, peer: string) => verified(certificate, peer),
    mustHold: (certificate: string, peer: string) => void verified(certificate, peer),
  }
  return {
    keys,
    memberOf(index) {
      if (index === 0) return founder
      const certificate = certificateOf[index]!
      return {
        ...founder,
        certificate: () => certificate,
        membership: () => shown.get(certificate)!,
        grants: () => [],
      }
    },
    certificates,
  }
}
