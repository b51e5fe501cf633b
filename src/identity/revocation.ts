/**
 * Revocations: an issuer says that a peer is out, or is no longer, in an entry that it signs itself. One writer per record: the
 * key is (issuer, peer), the higher version stands, of equal ones the lower hash. Which peers are out is a pure function of
 * the realm document and the set of entries, so that any order of arrival gives the same answer: the document stands above
 * all, then its issuers in their order, then its feeds; whoever is out by one before it says nothing, and nobody says
 * anything against one before it. So a promoted issuer cannot put the founder out, and nobody lets itself in again.
 */
import { Type } from 'typebox'
import { PeerIdSchema } from '../base/advertisement.ts'
import { GodelError } from '../base/errors.ts'
import { sha256Hex } from '../base/hash.ts'
import { limits } from '../base/limits.ts'
import { Count, parser } from '../base/schema.ts'
import { openJws, signJws } from './jws.ts'
import { publicKeyOfPeer, type NodeKey } from './node-key.ts'

/** An entry whose signature is good. */
export interface Revocation {
  readonly issuer: string
  readonly realm: string
  readonly peer: string
  /** Grows with each entry of this issuer about this peer. */
  readonly version: number
  /** False where the issuer has taken it back. */
  readonly revoked: boolean
  /** Where the peer is an issuer: what it issued from then on is void. Unix milliseconds. */
  readonly sinceMs: number
  readonly jws: string
  /** SHA-256 in hex of the JWS. */
  readonly hash: string
}

/** A peer that is out. */
export interface StandingRevocation {
  readonly peer: string
  /** The first that says so: `root` where the document does, else a PeerId. */
  readonly by: string
  /** The earliest of what they say. */
  readonly sinceMs: number
  /** All that say so, in their order. */
  readonly sources: readonly string[]
}

/** What a realm document says about who may revoke and who is out. */
export interface RevocationRules {
  readonly issuers: readonly { readonly peer: string; readonly untilMs?: number }[]
  readonly revocationFeeds: readonly string[]
  readonly revocations: readonly { readonly peer: string; readonly sinceMs: number }[]
  readonly pardons?: readonly { readonly issuer: string; readonly peer: string; readonly version: number }[]
}

const typ = 'godel-revocation+jws'

const ClaimsSchema = Type.Object({
  realm: Type.String({ pattern: '^[0-9a-f]{64}$' }),
  sub: PeerIdSchema,
  version: Type.Integer({ minimum: 1, maximum: 2 ** 40 }),
  revoked: Type.Boolean(),
  sinceMs: Count(),
})
const parseClaims = parser('a revocation', ClaimsSchema)

/** An entry as a compact JWS; INVALID_ARGUMENT when `peer` is no PeerId. Whether the issuer may say so is for those to judge who read it. */
export const signRevocation = async (
  issuer: NodeKey,
  entry: { realm: string; peer: string; version: number; revoked: boolean; sinceMs: number },
): Promise<string> => {
  publicKeyOfPeer(entry.peer)
  const { realm, peer: sub, version, revoked, sinceMs } = entry
  const jws = await signJws(
    issuer.privateKey,
    { typ, kid: issuer.peer },
    parseClaims({ realm, sub, version, revoked, sinceMs }),
  )
  await readRevocation(jws, realm) // nothing is handed out that others would refuse
  return jws
}

/**
 * What an entry says, once its signature was found to be of the issuer that it names. INVALID_MESSAGE, REALM_MISMATCH; with
 * `by`, FORBIDDEN for one that is by nobody of these, whose signature is not looked at.
 */
export const readRevocation = async (jws: string, realm: string, by?: readonly string[]): Promise<Revocation> => {
  const { kid: issuer, payload } = await openJws(jws, {
    typ,
    bytesMax: limits.revocationBytesMax,
    parse: parseClaims,
    refuse: invalid,
    keyOf: (kid) => issuerKey(kid, by),
  })
  if (payload.realm !== realm) throw new GodelError({ code: 'REALM_MISMATCH', expected: realm, actual: payload.realm })
  const { sub: peer, version, revoked, sinceMs } = payload
  return { issuer, realm, peer, version, revoked, sinceMs, jws, hash: sha256Hex(jws) }
}

/** Those who may revoke, the most senior first. A former issuer may not. */
export const revokers = ({ issuers, revocationFeeds }: RevocationRules): string[] => [
  ...new Set([...issuers.filter(({ untilMs }) => untilMs === undefined).map(({ peer }) => peer), ...revocationFeeds]),
]

/** Whether `a` stands against `b` of the same issuer and peer. */
export const supersedes = (a: Revocation, b: Revocation): boolean =>
  a.version === b.version ? a.hash < b.hash : a.version > b.version

/**
 * The set of entries that is kept of all that were heard: of each issuer and peer the one that stands, and of each issuer the
 * first `perIssuerMax` peers in order, so that nobody can fill the store. A join: the same for every order of hearing.
 */
export const keepRevocations = (entries: Iterable<Revocation>, perIssuerMax: number): Revocation[] => {
  const byKey = new Map<string, Revocation>()
  for (const entry of entries) {
    const known = byKey.get(keyOf(entry))
    if (!known || supersedes(entry, known)) byKey.set(keyOf(entry), entry)
  }
  const counts = new Map<string, number>()
  return [...byKey.values()]
    .toSorted((a, b) => (keyOf(a) < keyOf(b) ? -1 : 1))
    .filter(({ issuer }) => {
      const count = (counts.get(issuer) ?? 0) + 1
      counts.set(issuer, count)
      return count <= perIssuerMax
    })
}

/** Who is out, and who says so. Pure: the order of the entries is of no account, nor how often one comes. */
export const standingRevocations = (
  rules: RevocationRules,
  entries: Iterable<Revocation>,
): ReadonlyMap<string, StandingRevocation> => {
  const out = new Map<string, StandingRevocation>()
  for (const { peer, sinceMs } of rules.revocations) add(out, peer, 'root', sinceMs)
  const newest = keepRevocations(entries, Infinity)
  const seniors = new Set<string>()
  for (const issuer of revokers(rules)) {
    seniors.add(issuer)
    if (out.has(issuer)) continue
    for (const entry of newest) {
      const counts = entry.issuer === issuer && entry.revoked && !seniors.has(entry.peer) && !isPardoned(rules, entry)
      if (counts) add(out, entry.peer, issuer, entry.sinceMs)
    }
  }
  return out
}

const keyOf = ({ issuer, peer }: Revocation): string => `${issuer}/${peer}`

/** The root has overruled it; the issuer may say it again with a higher version. */
const isPardoned = ({ pardons = [] }: RevocationRules, entry: Revocation): boolean =>
  pardons.some(
    ({ issuer, peer, version }) => issuer === entry.issuer && peer === entry.peer && entry.version <= version,
  )

const add = (out: Map<string, StandingRevocation>, peer: string, source: string, sinceMs: number): void => {
  const known = out.get(peer)
  out.set(peer, {
    peer,
    by: known?.by ?? source,
    sinceMs: Math.min(sinceMs, known?.sinceMs ?? Infinity),
    sources: [...(known?.sources ?? []), source],
  })
}

const issuerKey = (kid: string, by: readonly string[] | undefined): Uint8Array => {
  if (by && !by.includes(kid))
    throw new GodelError({ code: 'FORBIDDEN', action: 'revoking a peer', reason: `${kid} is no issuer of the realm` })
  try {
    return publicKeyOfPeer(kid)
  } catch (error) {
    throw invalid('it names no issuer', error)
  }
}

const invalid = (reason: string, cause?: unknown) =>
  new GodelError({ code: 'INVALID_MESSAGE', what: 'a revocation', reason }, { cause })
