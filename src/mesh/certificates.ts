/** Certificates that were found good, kept by their text, so that the same one is not checked with every advertisement. */
import type { Clock } from '../base/clock.ts'
import type { Limits } from '../base/limits.ts'
import { verifyCertificate, type Membership } from '../identity/certificate.ts'
import type { Realm } from '../identity/realm-document.ts'

export interface Certificates {
  /** The membership that a certificate proves for `peer` now; CERTIFICATE_INVALID. */
  verify(certificate: string, peer: string): Promise<Membership>
  /** The same without a check of the signature, for a certificate that was found good before. */
  peek(certificate: string): Membership | undefined
}

export const createCertificates = (deps: {
  realm: () => Realm
  clock: Clock
  limits: Pick<Limits, 'certificatesCachedMax'>
}): Certificates => {
  const { realm, clock, limits } = deps
  const good = new Map<string, Membership>()
  let checkedAgainst = ''

  const peek = (certificate: string): Membership | undefined => {
    // A new document may revoke a peer or an issuer: everything is judged again.
    if (checkedAgainst !== realm().headHash) {
      good.clear()
      checkedAgainst = realm().headHash
    }
    const membership = good.get(certificate)
    return membership && membership.expiresAtMs > clock.wallMs() ? membership : undefined
  }

  return {
    peek,
    async verify(certificate, peer) {
      const known = peek(certificate)
      if (known?.peer === peer) {
        good.delete(certificate)
        good.set(certificate, known)
        return known
      }
      const against = realm()
      const membership = await verifyCertificate(certificate, { peer, realm: against, wallMs: clock.wallMs() })
      if (against.headHash !== checkedAgainst) return membership
      if (good.size >= limits.certificatesCachedMax) good.delete(good.keys().next().value!)
      good.set(certificate, membership)
      return membership
    },
  }
}
