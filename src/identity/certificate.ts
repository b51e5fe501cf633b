/**
 * Membership certificates: an issuer of the realm says that a peer is a member, in which role, and until when. Checked
 * offline against the realm document; it travels in every advertisement, so it is kept near 480 bytes.
 */
import { Type } from 'typebox'
import { PeerIdSchema } from '../base/advertisement.ts'
import { GodelError } from '../base/errors.ts'
import { limits } from '../base/limits.ts'
import { Count, parser } from '../base/schema.ts'
import { openJws, signJws } from './jws.ts'
import { publicKeyOfPeer, type NodeKey } from './node-key.ts'
import type { Realm } from './realm-document.ts'
import { RoleSchema, type Role } from '../base/standing.ts'

/** What a certificate grants. Times are Unix milliseconds on the issuer's clock. */
export interface Membership {
  readonly peer: string
  readonly realm: string
  readonly role: Role
  readonly issuer: string
  readonly issuedAtMs: number
  readonly expiresAtMs: number
}

const typ = 'godel-cert+jwt'

/** The claims. The issuer is the `kid` of the header; the times are not JWT's `iat` and `exp`, which count seconds. */
const ClaimsSchema = Type.Object({
  sub: PeerIdSchema,
  realm: Type.String({ pattern: '^[0-9a-f]{64}$' }),
  role: RoleSchema,
  iatMs: Count(),
  expMs: Count(),
})
const parseClaims = parser('a certificate', ClaimsSchema)

/**
 * A certificate as a compact JWS. INVALID_ARGUMENT when the peer, realm or lifetime is not acceptable. Whether the issuer
 * may grant the role is for those to judge who verify it.
 */
export const issueCertificate = async (grant: {
  issuer: NodeKey
  realm: string
  peer: string
  role: Role
  wallMs: number
  ttlMs: number
}): Promise<string> => {
  publicKeyOfPeer(grant.peer)
  if (!Number.isSafeInteger(grant.ttlMs) || grant.ttlMs < 1 || grant.ttlMs > limits.certificateTtlMsMax)
    throw badArgument('ttlMs', `must be from 1 to ${limits.certificateTtlMsMax}`)
  if (!/^[0-9a-f]{64}$/.test(grant.realm)) throw badArgument('realm', 'must be the id of a realm')
  const claims = {
    sub: grant.peer,
    realm: grant.realm,
    role: grant.role,
    iatMs: grant.wallMs,
    expMs: grant.wallMs + grant.ttlMs,
  }
  return signJws(grant.issuer.privateKey, { typ, kid: grant.issuer.peer }, claims)
}

/**
 * The membership that a certificate proves for `peer` in `realm` at the time `wallMs`; CERTIFICATE_INVALID with a reason
 * when it proves none. An expiry counts to the millisecond, a date of issue may lie ahead by `limits.clockSkewMs`.
 */
export const verifyCertificate = async (
  jws: string,
  { peer, realm, wallMs }: { peer: string; realm: Realm; wallMs: number },
): Promise<Membership> => {
  const refuse = (reason: string, cause?: unknown) =>
    new GodelError({ code: 'CERTIFICATE_INVALID', peer, reason }, { cause })
  const { kid: issuer, payload } = await openJws(jws, {
    typ,
    bytesMax: limits.certificateBytesMax,
    parse: parseClaims,
    refuse,
    keyOf: (kid) => {
      if (!realm.document.issuers.some((known) => known.peer === kid))
        throw refuse('its issuer is not one of the realm')
      return publicKeyOfPeer(kid)
    },
  })
  const membership: Membership = {
    peer: payload.sub,
    realm: payload.realm,
    role: payload.role,
    issuer,
    issuedAtMs: payload.iatMs,
    expiresAtMs: payload.expMs,
  }
  const fault = membershipFault(membership, { peer, realm, wallMs })
  if (fault !== undefined) throw refuse(fault)
  return membership
}

/** Why a membership whose signature is good still does not hold, in words that follow "does not hold:"; undefined where it does. */
export const membershipFault = (
  membership: Membership,
  { peer, realm, wallMs }: { peer: string; realm: Realm; wallMs: number },
): string | undefined => {
  const { issuer, issuedAtMs, expiresAtMs, role } = membership
  if (membership.realm !== realm.id) return 'it is for another realm'
  if (membership.peer !== peer) return 'it is for another peer'
  const known = realm.document.issuers.find((one) => one.peer === issuer)
  if (known === undefined) return 'its issuer is not one of the realm'
  if (!known.roles.includes(role)) return `its issuer may not grant the role ${role}`
  if (known.untilMs !== undefined && issuedAtMs >= known.untilMs) return 'its issuer was one no longer'
  if (issuedAtMs > wallMs + limits.clockSkewMs) return 'it was issued in the future; check the clocks'
  if (expiresAtMs <= wallMs) return 'it has expired'
  // Bounds for how long a revoked issuer can profit from certificates that it dates back.
  if (expiresAtMs - issuedAtMs > limits.certificateTtlMsMax) return 'it lives longer than a certificate may'
  const revocation = realm.revoked.get(peer)
  if (revocation) return `the peer has been revoked (by ${revocation.by})`
  if (issuedAtMs >= (realm.revoked.get(issuer)?.sinceMs ?? Infinity)) return 'its issuer has been revoked'
  return undefined
}

const badArgument = (field: string, reason: string) => new GodelError({ code: 'INVALID_ARGUMENT', field, reason })
