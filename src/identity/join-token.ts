/**
 * Join tokens: `GDL1.` and a JWS by an issuer. A newcomer reads from it which realm it is, whom to dial and which PeerId it
 * must find there; the issuer, who alone redeems it, checks its own signature and counts the uses (token-uses.ts).
 */
import { Type } from 'typebox'
import { NameSchema } from '../base/advertisement.ts'
import { GodelError } from '../base/errors.ts'
import { idPattern, mintId } from '../base/ids.ts'
import { limits } from '../base/limits.ts'
import { Count, parser } from '../base/schema.ts'
import { openJws, signJws } from './jws.ts'
import { publicKeyOfPeer, type NodeKey } from './node-key.ts'
import { SeedSchema, issuersOf, type Realm, type Seed } from './realm-document.ts'
import { RoleSchema, type Role } from '../base/standing.ts'

export interface JoinToken {
  readonly tokenId: string
  readonly realm: string
  readonly realmName: string
  readonly issuer: string
  readonly role: Role
  readonly seeds: readonly Seed[]
  readonly uses: number
  /** Unix milliseconds on the issuer's clock. */
  readonly expiresAtMs: number
  /** A realm document below this version is an old one, and is not to be believed. */
  readonly minVersion: number
}

const prefix = 'GDL1.'
const typ = 'godel-join+jwt'

const ClaimsSchema = Type.Object({
  jti: Type.String({ pattern: idPattern('tk') }),
  realm: Type.String({ pattern: '^[0-9a-f]{64}$' }),
  name: NameSchema,
  role: RoleSchema,
  seeds: Type.Array(SeedSchema, { minItems: 1, maxItems: limits.tokenSeedsMax }),
  uses: Type.Integer({ minimum: 1, maximum: limits.tokenUsesMax }),
  expMs: Count(),
  minVersion: Type.Integer({ minimum: 1, maximum: limits.realmVersionMax }),
})
const parseClaims = parser('a join token', ClaimsSchema)

/**
 * A new token for `realm`. INVALID_ARGUMENT when uses, lifetime or seeds are out of bounds, FORBIDDEN when the realm does
 * not let this issuer grant the role.
 */
export const issueJoinToken = async (invitation: {
  issuer: NodeKey
  realm: Realm
  role: Role
  seeds: Seed[]
  uses: number
  ttlMs: number
  wallMs: number
}): Promise<string> => {
  const { issuer, realm, role, seeds, uses, ttlMs, wallMs } = invitation
  checkRange('uses', uses, limits.tokenUsesMax)
  checkRange('ttlMs', ttlMs, limits.tokenTtlMsMax)
  checkRange('the number of seeds', seeds.length, limits.tokenSeedsMax)
  if (!issuersOf(realm, role).includes(issuer.peer))
    throw new GodelError({
      code: 'FORBIDDEN',
      action: `inviting with the role ${role}`,
      reason: 'this node is no issuer of the realm for that role',
    })
  const claims = {
    jti: mintId('tk', wallMs),
    realm: realm.id,
    name: realm.name,
    role,
    seeds,
    uses,
    expMs: wallMs + ttlMs,
    minVersion: realm.document.version,
  }
  const text = prefix + (await signJws(issuer.privateKey, { typ, kid: issuer.peer }, claims))
  await readJoinToken(text) // nothing is handed out that a newcomer would refuse
  return text
}

/**
 * What a token says, once its signature was found to be of the issuer that it names. White space around it is cut off.
 * TOKEN_INVALID with a reason that names the fault and never the token.
 */
export const readJoinToken = async (text: string): Promise<JoinToken> => {
  if (text.length > 2 * limits.tokenBytesMax) throw invalid(`it is longer than ${limits.tokenBytesMax} bytes`)
  const token = text.trim()
  const fault = faultOfText(token)
  if (fault !== undefined) throw invalid(fault)
  const { kid: issuer, payload } = await openJws(token.slice(prefix.length), {
    typ,
    bytesMax: limits.tokenBytesMax - prefix.length,
    parse: parseClaims,
    refuse: invalid,
    keyOf: issuerKey,
  })
  const { jti: tokenId, realm, name: realmName, role, seeds, uses, expMs: expiresAtMs, minVersion } = payload
  return { tokenId, realm, realmName, issuer, role, seeds, uses, expiresAtMs, minVersion }
}

/** TOKEN_EXPIRED when the life of the token is over at `wallMs`. */
export const checkJoinToken = (token: JoinToken, wallMs: number): void => {
  if (wallMs >= token.expiresAtMs) throw new GodelError({ code: 'TOKEN_EXPIRED', expiredAt: token.expiresAtMs })
}

/** The mistakes of copying and pasting, told apart so that a person can mend them. */
const faultOfText = (token: string): string | undefined => {
  if (token === '') return 'it is empty'
  if (!token.startsWith(prefix))
    return /^GDL\d+\./.test(token) ? 'it is of another version' : `it does not begin with ${prefix}`
  if (/\s/.test(token)) return 'it has spaces or line breaks inside'
  return undefined
}

const issuerKey = (kid: string): Uint8Array => {
  try {
    return publicKeyOfPeer(kid)
  } catch (error) {
    throw invalid('it names no issuer', error)
  }
}

const checkRange = (field: string, value: number, max: number): void => {
  if (Number.isSafeInteger(value) && value >= 1 && value <= max) return
  throw new GodelError({ code: 'INVALID_ARGUMENT', field, reason: `must be from 1 to ${max}` })
}

const invalid = (reason: string, cause?: unknown) => new GodelError({ code: 'TOKEN_INVALID', reason }, { cause })
