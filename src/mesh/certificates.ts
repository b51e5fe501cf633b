/**
 * Certificates whose signature was found good, kept by their text, so that the same one is not checked with every advertisement.
 * What the realm says of them by now is judged anew each time that it has changed.
 */
import type { Clock } from '../base/clock.ts'
import { GodelError } from '../base/errors.ts'
import type { Limits } from '../base/limits.ts'
import { membershipFault, verifyCertificate, type Membership } from '../identity/certificate.ts'
import type { Realm } from '../identity/realm-document.ts'

export interface Certificates {
  /** The membership that a certificate proves for `peer` now; CERTIFICATE_INVALID. */
  verify(certificate: string, peer: string): Promise<Membership>
  /** The same without a check of the signature, for a certificate that was found good before. */
  peek(certificate: string): Membership | undefined
  /** CERTIFICATE_INVALID where a certificate that was verified a moment ago does not hold by now. */
  mustHold(certificate: string, peer: string): void
}

export const createCertificates = (deps: {
  realm: () => Realm
  clock: Clock
  limits: Pick<Limits, 'certificatesCachedMax'>
}): Certificates => {
  const { realm, clock, limits } = deps
  const good = new Map<string, Membership>()
  let judgedBy = ''

  const judgeAnew = (): void => {
    judgedBy = realm().trustHash
    for (const [certificate, membership] of good)
      if (membershipFault(membership, { peer: membership.peer, realm: realm(), wallMs: clock.wallMs() }) !== undefined)
        good.delete(certificate)
  }

  const peek = (certificate: string): Membership | undefined => {
    if (judgedBy !== realm().trustHash) judgeAnew()
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
      const membership = await verifyCertificate(certificate, { peer, realm: realm(), wallMs: clock.wallMs() })
      // The realm may have changed while the signature was checked.
      const fault = membershipFault(membership, { peer, realm: realm(), wallMs: clock.wallMs() })
      if (fault !== undefined) throw invalid(peer, fault)
      peek(certificate)
      if (good.size >= limits.certificatesCachedMax) good.delete(good.keys().next().value!)
      good.set(certificate, membership)
      return membership
    },
    mustHold(certificate, peer) {
      if (!peek(certificate)) throw invalid(peer, 'it was taken back meanwhile')
    },
  }
}

const invalid = (peer: string, reason: string) => new GodelError({ code: 'CERTIFICATE_INVALID', peer, reason })
