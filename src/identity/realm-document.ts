/**
 * The realm document: one versioned record that says what a realm is. Version 1 is the genesis, and its hash is the id of
 * the realm; each further version names the hash of the one before and is signed by a root of the one before, so that roots
 * can be exchanged and nobody else can. Of the versions those are kept that prove the newest (realm-chain.ts). Section 3 of the
 * design: the higher version stands; two documents of one version are an alarm, and the lower hash stands until a person looks.
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
import { compactLinks, contradict, goesAround, type Link } from './realm-chain.ts'
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
  minVersion: Type.Integer({ minimum: 1, maximum: limits.realmVersionMax }),
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
  version: Type.Integer({ minimum: 1, maximum: limits.realmVersionMax }),
  /** SHA-256 in hex of the JWS before; null in the genesis alone. */
  previous: Type.Union([Hash, Type.Null()]),
  /** SHA-256 in hex of the newest JWS before that changed the roots (the genesis, where none did); none in the genesis. */
  anchor: Type.Optional(Hash),
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
export type RealmChange = Partial<Omit<RealmDocument, 'v' | 'version' | 'previous' | 'anchor' | 'issuedAtMs'>>

/** A realm as its newest document describes it, with the chain that proves it. */
export interface Realm {
  /** SHA-256 in hex of the genesis JWS. */
  readonly id: string
  readonly name: string
  readonly document: RealmDocument
  /** Compact JWS, genesis first; versions that prove nothing are left out (realm-chain.ts). */
  readonly chain: readonly string[]
  /** The same, as far as its proof goes. */
  readonly links: readonly Link[]
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
  return extendChain(undefined, founding.rootKey, document)
}

/**
 * The next version of a realm, signed by a root of the present one. FORBIDDEN when `rootKey` is none,
 * INVALID_ARGUMENT when the change is not acceptable, REALM_FULL when the document or what proves it would outgrow its bounds.
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
  const { document, headHash } = realm
  if (document.version >= limits.realmVersionMax) throw full('versions', limits.realmVersionMax)
  return extendChain(realm, rootKey, {
    ...document,
    ...change,
    v: 1,
    version: document.version + 1,
    previous: headHash,
    anchor: anchorOf(realm.links)!.hash,
    issuedAtMs: wallMs,
  })
}

/**
 * The realm that a chain of documents proves, genesis first. What the chain has in common with that of `known` is not verified
 * again. REALM_DOCUMENT_INVALID when it proves none, REALM_MISMATCH when it is not `expectedId`.
 */
export const verifyChain = async (chain: readonly string[], expectedId?: string, known?: Realm): Promise<Realm> => {
  if (chain.length === 0) throw invalid('it has no versions')
  if (chain.length > limits.realmDocumentChainMax)
    throw invalid(`it shows more than ${limits.realmDocumentChainMax} versions`)
  if (bytesOf(chain) > limits.realmChainBytesMax)
    throw invalid(`its versions are more than ${limits.realmChainBytesMax} bytes together`)
  const id = sha256Hex(chain[0]!)
  if (expectedId !== undefined && id !== expectedId)
    throw new GodelError({ code: 'REALM_MISMATCH', expected: expectedId, actual: id })
  const parted = chain.slice(0, -1).findIndex((jws, index) => known?.chain[index] !== jws)
  const links = (known?.links ?? []).slice(0, parted < 0 ? chain.length - 1 : parted)
  let document: RealmDocument | undefined
  for (const jws of chain.slice(links.length)) {
    const verified = await verifyLink(jws, links)
    links.push(verified.link)
    document = verified.document
  }
  return realmOf(links, document!)
}

/**
 * Which of two documents of one realm stands: the higher version, and of one version the lower hash, so that all nodes
 * agree whatever they saw first. But one that passes over a change of roots that the other shows, by a root that this change
 * took away, never stands against it where it is known; of two such changes by one root each node keeps the one that it knew.
 * `alarm` says that the two are not of one history: a root signed twice, or is in strange hands. REALM_MISMATCH when they
 * are of different realms.
 */
export const newerRealm = (known: Realm, told: Realm): { stands: Realm; alarm: boolean } => {
  if (known.id !== told.id) throw new GodelError({ code: 'REALM_MISMATCH', expected: known.id, actual: told.id })
  const alarm = contradict(known.links, told.links)
  if (goesAround(told.links, known.links)) return { stands: known, alarm }
  const ahead = told.document.version - known.document.version
  const sameVersion = goesAround(known.links, told.links) || told.headHash < known.headHash
  return { stands: ahead > 0 || (ahead === 0 && sameVersion) ? told : known, alarm }
}

/** Whether a change leaves a document as it is; the order of what has none does not count. */
export const changesNothing = (document: RealmDocument, change: RealmChange): boolean =>
  contentOf({ ...document, ...change }) === contentOf(document)

const contentOf = ({ roots, issuers, grants, revocations, pardons = [], ...rest }: RealmDocument): string =>
  canonical({
    ...rest,
    roots: roots.toSorted(),
    issuers: issuers.map((issuer) => ({ ...issuer, roles: issuer.roles.toSorted() })),
    grants: grants.map((grant) => canonical({ ...grant, scopes: grant.scopes.toSorted() })).toSorted(),
    revocations: revocations.map(canonical).toSorted(),
    pardons: pardons.map(canonical).toSorted(),
  })

/** JSON with the fields of each object in order. */
const canonical = (value: unknown): string =>
  JSON.stringify(value, (_name, inner: unknown) =>
    typeof inner === 'object' && inner !== null && !Array.isArray(inner)
      ? Object.fromEntries(Object.entries(inner).toSorted(([a], [b]) => (a < b ? -1 : 1)))
      : inner,
  )

const bytesOf = (chain: readonly string[]): number => chain.reduce((bytes, jws) => bytes + jws.length, 0)

const anchorOf = (links: readonly Link[]) => links.findLast(({ changesRoots }) => changesRoots)

const sameRoots = (a: readonly string[], b: readonly string[]) => a.toSorted().join() === b.toSorted().join()

const realmOf = (links: readonly Link[], document: RealmDocument): Realm => {
  const kept = compactLinks(links)
  const headHash = kept.at(-1)!.hash
  const chain = kept.map(({ jws }) => jws)
  const revoked = standingRevocations(document, [])
  return {
    id: kept[0]!.hash,
    name: document.name,
    document,
    chain,
    links: kept,
    headHash,
    revoked,
    trustHash: headHash,
  }
}

/** One link: signed by a root of the version before (the genesis by one of its own), higher, tied by hash. */
const verifyLink = async (jws: string, links: readonly Link[]): Promise<{ link: Link; document: RealmDocument }> => {
  const before = links.at(-1)
  const { kid, payload } = await openJws(jws, {
    typ,
    bytesMax: limits.realmDocumentBytesMax,
    parse: parseRealmDocument,
    refuse: invalid,
    keyOf: (root) => rootKeyBytes(root, before?.roots),
  })
  const { version, previous, anchor, roots } = payload
  const follows = version === (before?.version ?? 0) + 1
  const mayLeaveOut = anchor !== undefined && before !== undefined && version > before.version
  if (!follows && !mayLeaveOut) throw invalid(`version ${version} is out of its order`)
  if (follows && previous !== (before?.hash ?? null))
    throw invalid(`version ${version} does not follow the one before it`)
  if (anchor !== undefined && anchor !== anchorOf(links)?.hash)
    throw invalid(`version ${version} does not follow the change of roots before it`)
  if (before === undefined && !roots.includes(kid)) throw invalid('its first version is not signed by its root')
  const changesRoots = before === undefined || !sameRoots(roots, before.roots)
  const proof = { version, previous, anchored: anchor !== undefined, signer: kid, roots, changesRoots }
  return { link: { jws, hash: sha256Hex(jws), ...proof }, document: payload }
}

/** Adds a version to a realm and verifies it, so that nothing is handed out that others would refuse. */
const extendChain = async (realm: Realm | undefined, rootKey: NodeKey, document: RealmDocument): Promise<Realm> => {
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
  if (jws.length > limits.realmDocumentBytesMax) throw full('bytes of its document', limits.realmDocumentBytesMax)
  const links = realm?.links ?? []
  const verified = await verifyLink(jws, links)
  const next = realmOf([...links, verified.link], verified.document)
  checkRoom(next)
  return next
}

/** Room for one more document of any size stays, so that a change of roots never stands in the way of other changes. */
const checkRoom = ({ chain, links }: Realm): void => {
  const head = links.at(-1)!
  if (chain.length > limits.realmDocumentChainMax) throw full('versions that prove it', limits.realmDocumentChainMax)
  const reserved = head.changesRoots ? limits.realmDocumentBytesMax : 0
  if (bytesOf(chain) + reserved > limits.realmChainBytesMax)
    throw full('bytes of versions that prove it', limits.realmChainBytesMax)
  if (head.changesRoots && rootChangesOf(links) > limits.realmRootChangesMax)
    throw full('changes of its roots', limits.realmRootChangesMax)
}

const rootChangesOf = (links: readonly Link[]) => links.filter(({ changesRoots }) => changesRoots).length - 1

/** How much of what a realm can hold is used up, as a part of one; at one there are changes that it refuses. */
export const fillOf = ({ links, chain }: Realm): number => {
  const proving = bytesOf(links.flatMap(({ jws, changesRoots }) => (changesRoots ? [jws] : [])))
  return Math.max(
    rootChangesOf(links) / limits.realmRootChangesMax,
    proving / (limits.realmChainBytesMax - limits.realmDocumentBytesMax),
    chain.at(-1)!.length / limits.realmDocumentBytesMax,
  )
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

const full = (what: string, limit: number) => new GodelError({ code: 'REALM_FULL', what, limit })
