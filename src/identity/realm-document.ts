/**
 * The realm document: one versioned record that says what a realm is. Version 1 is the genesis, and its hash is the id of
 * the realm; each further version names the hash of the one before and is signed by a root of the one before, so that roots
 * can be exchanged and nobody else can. Sections 3 of the design: the higher version stands; two documents of one version
 * are an alarm, and the lower hash stands until a person looks.
 */
import { Type, type Static } from 'typebox'
import { NameSchema, PeerIdSchema } from '../base/advertisement.ts'
import { GodelError, hasCode } from '../base/errors.ts'
import { sha256Hex } from '../base/hash.ts'
import { limits } from '../base/limits.ts'
import { Count, parser } from '../base/schema.ts'
import { RoleSchema, ScopesSchema, type Role } from '../base/standing.ts'
import { openJws, signJws } from './jws.ts'
import type { NodeKey } from './node-key.ts'
import { standingRevocations, type Revocation, type StandingRevocation } from './revocation.ts'

const Hash = Type.String({ pattern: '^[0-9a-f]{64}$' })
/** An Ed25519 public key in base64url; the last character carries four bits. */
const RootKey = Type.String({ pattern: '^[A-Za-z0-9_-]{42}[AEIMQUYcgkosw048]$' })
const Addresses = Type.Array(Type.String({ minLength: 1, maxLength: 255 }), { maxItems: 8 })

export const SeedSchema = Type.Object({ peer: PeerIdSchema, addresses: Addresses })
export type Seed = Static<typeof SeedSchema>

/** Another realm, as this one names it. */
const NamedRealmSchema = Type.Object({
  id: Hash,
  name: NameSchema,
  /** Its roots when it was named. */
  roots: Type.Array(RootKey, { maxItems: 16 }),
  /** A document of it below this version is an old one, and is not to be believed. */
  minVersion: Type.Integer({ minimum: 1, maximum: limits.realmDocumentChainMax }),
  /** Where its nodes are found. */
  seeds: Type.Array(SeedSchema, { maxItems: limits.cardSeedsMax }),
  /** Agents of this realm may go there. */
  out: Type.Boolean(),
})
export type NamedRealm = Static<typeof NamedRealmSchema>

/** A peer that is out until lifted. Where it is an issuer, what it issued from `sinceMs` on is void as well. */
const RevocationSchema = Type.Object({ peer: PeerIdSchema, sinceMs: Count(), issuer: PeerIdSchema })

const RealmDocumentSchema = Type.Object({
  v: Type.Literal(1),
  version: Type.Integer({ minimum: 1, maximum: limits.realmDocumentChainMax }),
  /** SHA-256 in hex of the JWS before; null in the genesis alone. */
  previous: Type.Union([Hash, Type.Null()]),
  name: NameSchema,
  namespace: NameSchema,
  federation: Type.Union([NameSchema, Type.Null()]),
  roots: Type.Array(RootKey, { minItems: 1, maxItems: 16, uniqueItems: true }),
  /** In the order of their seniority. `untilMs`: it is one no longer, and what it issued before then holds. */
  issuers: Type.Array(
    Type.Object({
      peer: PeerIdSchema,
      roles: Type.Array(RoleSchema, { maxItems: 3, uniqueItems: true }),
      untilMs: Type.Optional(Count()),
    }),
    { maxItems: 256 },
  ),
  /** The other realms of the federation. */
  realms: Type.Array(NamedRealmSchema, { maxItems: limits.foreignRealmsMax }),
  seeds: Type.Array(SeedSchema, { maxItems: 64 }),
  revocations: Type.Array(RevocationSchema, { maxItems: 1_024 }),
  /** Entries of issuers (revocation.ts) that the root overrules, up to a version. */
  pardons: Type.Optional(
    Type.Array(Type.Object({ issuer: PeerIdSchema, peer: PeerIdSchema, version: Count(2 ** 40) }), { maxItems: 1_024 }),
  ),
  /** Peers that publish revocations between two versions. */
  revocationFeeds: Type.Array(PeerIdSchema, { maxItems: 64 }),
  /** What other realms may do here. */
  grants: Type.Array(
    Type.Object({
      realm: Hash,
      scopes: ScopesSchema,
      agentsPerNode: Count(limits.capacityMax),
    }),
    { maxItems: limits.foreignRealmsMax },
  ),
  settings: Type.Record(Type.String({ maxLength: 63 }), Type.Unknown(), { maxProperties: 256 }),
  issuedAtMs: Count(),
})
export type RealmDocument = Static<typeof RealmDocumentSchema>
const parseRealmDocument = parser('a realm document', RealmDocumentSchema)

/** What a new version may change: all but what ties it into the chain. */
export type RealmChange = Partial<Omit<RealmDocument, 'v' | 'version' | 'previous' | 'issuedAtMs'>>

/** A realm as its newest document describes it, with the chain that proves it. */
export interface Realm {
  /** SHA-256 in hex of the genesis JWS. */
  readonly id: string
  readonly name: string
  readonly document: RealmDocument
  /** Compact JWS, genesis first. */
  readonly chain: readonly string[]
  /** SHA-256 in hex of the newest JWS. */
  readonly headHash: string
  /** Who is out, by the document and by the entries of issuers that came with it (revocation.ts). */
  readonly revoked: ReadonlyMap<string, StandingRevocation>
  /** Differs where `document` or `revoked` does: what was judged by another is to be judged again. */
  readonly trustHash: string
}

/** The issuers of a realm for a role (for any, unless told), the most senior first; neither former ones nor those that are out. */
export const issuersOf = ({ document, revoked }: Realm, role?: Role): string[] =>
  document.issuers
    .filter(
      ({ peer, roles, untilMs }) =>
        untilMs === undefined && !revoked.has(peer) && roles.some((one) => one === (role ?? one)),
    )
    .map(({ peer }) => peer)

/** The realm with what some entries of its issuers say. */
export const withRevocations = (realm: Realm, entries: readonly Revocation[]): Realm => {
  const kept = entries.map(({ hash }) => hash).toSorted()
  return {
    ...realm,
    revoked: standingRevocations(realm.document, entries),
    trustHash: kept.length === 0 ? realm.headHash : sha256Hex([realm.headHash, ...kept].join(' ')),
  }
}

export interface Founding {
  name: string
  rootKey: NodeKey
  /** The first issuer, for every role. */
  founder: string
  wallMs: number
  namespace?: string
  federation?: string
  seeds?: Seed[]
  settings?: Record<string, unknown>
}

const typ = 'godel-realm+jws'

/** A new realm with one root and one issuer; INVALID_ARGUMENT when the name or another field is not acceptable. */
export const foundRealm = async (founding: Founding): Promise<Realm> => {
  const document: RealmDocument = {
    v: 1,
    version: 1,
    previous: null,
    name: founding.name,
    namespace: founding.namespace ?? 'default',
    federation: founding.federation ?? null,
    roots: [rootName(founding.rootKey)],
    issuers: [{ peer: founding.founder, roles: ['admin', 'member', 'observer'] }],
    realms: [],
    seeds: founding.seeds ?? [],
    revocations: [],
    revocationFeeds: [],
    grants: [],
    settings: founding.settings ?? {},
    issuedAtMs: founding.wallMs,
  }
  return extendChain([], founding.rootKey, document)
}

/**
 * The next version of a realm, signed by a root of the present one. FORBIDDEN when `rootKey` is none,
 * INVALID_ARGUMENT when the change is not acceptable, REALM_DOCUMENT_INVALID when the chain would outgrow its bounds.
 */
export const amendRealm = async (
  realm: Realm,
  rootKey: NodeKey,
  change: RealmChange,
  wallMs: number,
): Promise<Realm> => {
  if (!realm.document.roots.includes(rootName(rootKey)))
    throw new GodelError({
      code: 'FORBIDDEN',
      action: 'changing the realm',
      reason: 'this node holds no root key of it',
    })
  if (realm.chain.length >= limits.realmDocumentChainMax) throw tooManyVersions()
  const { document, headHash } = realm
  return extendChain(realm.chain, rootKey, {
    ...document,
    ...change,
    v: 1,
    version: document.version + 1,
    previous: headHash,
    issuedAtMs: wallMs,
  })
}

/**
 * The realm that a chain of documents proves, genesis first. REALM_DOCUMENT_INVALID when it proves none,
 * REALM_MISMATCH when it is not `expectedId`.
 */
export const verifyChain = async (chain: readonly string[], expectedId?: string): Promise<Realm> => {
  if (chain.length === 0) throw invalid('it has no versions')
  if (chain.length > limits.realmDocumentChainMax) throw tooManyVersions()
  if (chain.reduce((bytes, jws) => bytes + jws.length, 0) > limits.realmChainBytesMax)
    throw invalid(`its versions are more than ${limits.realmChainBytesMax} bytes together`)
  const hashes = chain.map((jws) => sha256Hex(jws))
  const id = hashes[0]!
  if (expectedId !== undefined && id !== expectedId)
    throw new GodelError({ code: 'REALM_MISMATCH', expected: expectedId, actual: id })
  let document: RealmDocument | undefined
  for (const [index, jws] of chain.entries()) document = await verifyLink(jws, document, hashes[index - 1] ?? null)
  const headHash = hashes.at(-1)!
  const revoked = standingRevocations(document!, [])
  return { id, name: document!.name, document: document!, chain: [...chain], headHash, revoked, trustHash: headHash }
}

/**
 * Which of two documents of one realm stands: the higher version, and of one version the lower hash, so that all nodes
 * agree whatever they saw first. `alarm` says that the realm has two documents of one version: a root signed twice, or
 * is in strange hands. REALM_MISMATCH when they are of different realms.
 */
export const newerRealm = (a: Realm, b: Realm): { stands: Realm; alarm: boolean } => {
  if (a.id !== b.id) throw new GodelError({ code: 'REALM_MISMATCH', expected: a.id, actual: b.id })
  const shared = Math.min(a.chain.length, b.chain.length)
  const alarm = a.chain[shared - 1] !== b.chain[shared - 1]
  const aStands =
    a.document.version === b.document.version ? a.headHash <= b.headHash : a.document.version > b.document.version
  return { stands: aStands ? a : b, alarm }
}

/** One link: signed by a root of the version before (the genesis by one of its own), one higher, tied by hash. */
const verifyLink = async (
  jws: string,
  before: RealmDocument | undefined,
  previousHash: string | null,
): Promise<RealmDocument> => {
  const { kid, payload } = await openJws(jws, {
    typ,
    bytesMax: limits.realmDocumentBytesMax,
    parse: parseRealmDocument,
    refuse: invalid,
    keyOf: (root) => rootKeyBytes(root, before?.roots),
  })
  if (payload.version !== (before?.version ?? 0) + 1) throw invalid(`version ${payload.version} is out of its order`)
  if (payload.previous !== previousHash) throw invalid(`version ${payload.version} does not follow the one before it`)
  if (before === undefined && !payload.roots.includes(kid)) throw invalid('its first version is not signed by its root')
  return payload
}

/** Extends a chain and verifies the whole, so that nothing is handed out that others would refuse. */
const extendChain = async (chain: readonly string[], rootKey: NodeKey, document: RealmDocument): Promise<Realm> => {
  try {
    parseRealmDocument(document)
  } catch (error) {
    if (!hasCode(error, 'INVALID_MESSAGE')) throw error
    throw new GodelError(
      { code: 'INVALID_ARGUMENT', field: 'the realm', reason: error.detail.reason },
      { cause: error },
    )
  }
  const jws = await signJws(rootKey.privateKey, { typ, kid: rootName(rootKey) }, document)
  return verifyChain([...chain, jws])
}

const rootKeyBytes = (root: string, allowed: readonly string[] | undefined): Uint8Array => {
  const bytes = Buffer.from(root, 'base64url')
  if (bytes.byteLength !== 32 || bytes.toString('base64url') !== root)
    throw invalid('it is signed by something that is no key')
  if (allowed !== undefined && !allowed.includes(root))
    throw invalid('it is not signed by a root of the version before it')
  return bytes
}

/** A root key as documents name it: its public half in base64url. */
export const rootName = (key: NodeKey): string => Buffer.from(key.publicKey).toString('base64url')

const invalid = (reason: string, cause?: unknown) =>
  new GodelError({ code: 'REALM_DOCUMENT_INVALID', reason }, { cause })

const tooManyVersions = () => invalid(`it has more than ${limits.realmDocumentChainMax} versions`)
