/** What peers ask of each other about the realm and the view: the rows, with their bounds and schemas. */
import { Type, type Static } from 'typebox'
import { PeerIdSchema } from '../base/advertisement.ts'
import { limits } from '../base/limits.ts'
import { Bytes, Count, OneOf, parser } from '../base/schema.ts'
import { unary } from '../net/method.ts'

const RealmIdSchema = Type.String({ pattern: '^[0-9a-f]{64}$' })
const CertificateSchema = Type.String({ minLength: 1, maxLength: limits.certificateBytesMax })
const ChainSchema = Type.Array(Type.String({ maxLength: 2 * limits.realmDocumentBytesMax }), {
  minItems: 1,
  maxItems: limits.realmDocumentChainMax,
})
const EnvelopeSchema = Bytes(limits.advertisementBytesMax + limits.envelopeOverheadBytesMax)
const IncarnationSchema = Count(2 ** 40)
/** Milliseconds since the author issued something, as every relay on the way has added it up. */
const AgeSchema = Count(2 ** 40)
const chainResponseBytesMax = limits.realmChainBytesMax + 8 * 1024

/** A newcomer shows its token to the issuer. TOKEN_INVALID, TOKEN_EXPIRED, TOKEN_USED_UP, FORBIDDEN. */
export const realmJoin = unary({
  name: 'realm.join',
  access: 'anyone',
  request: Type.Object({ token: Type.String({ minLength: 1, maxLength: limits.tokenBytesMax }) }),
  response: Type.Object({ certificate: CertificateSchema, chain: ChainSchema }),
  requestBytesMax: limits.tokenBytesMax + 1_024,
  responseBytesMax: chainResponseBytesMax,
})

const RealmHeadSchema = Type.Object({
  realm: RealmIdSchema,
  version: Count(limits.realmVersionMax),
  hash: RealmIdSchema,
  /** The hash of the revocations that the sender knows. */
  revocations: Type.Optional(RealmIdSchema),
  /** The sender is in no realm: this is only what its PeerId is in. */
  standalone: Type.Optional(Type.Boolean()),
})
export const parseRealmHead = parser('the head of a realm', RealmHeadSchema)
/** Which realm, and its newest document and revocations that the sender knows. */
export type RealmHead = Static<typeof RealmHeadSchema>

const HeadSchema = {
  head: RealmHeadSchema,
  /** The sender's own advertisement with its age, so that two that are connected know each other at once. */
  ad: Type.Optional(Type.Object({ envelope: EnvelopeSchema, ageMs: AgeSchema })),
}

/**
 * The one who dialled shows its certificate and is shown the other's. NOT_A_MEMBER, CERTIFICATE_INVALID, REALM_MISMATCH.
 */
export const realmPresent = unary({
  name: 'realm.present',
  access: 'anyone',
  request: Type.Object({ certificate: Type.Union([CertificateSchema, Type.Null()]), ...HeadSchema }),
  response: Type.Object({ certificate: CertificateSchema, ...HeadSchema }),
  requestBytesMax: 8 * 1024,
  responseBytesMax: 8 * 1024,
})
export type Presented = Static<typeof PresentedSchema>
const PresentedSchema = Type.Object({ certificate: CertificateSchema, ...HeadSchema })

/**
 * The chain of the realm's documents. Asked for before a certificate can be judged, hence open to anyone who knows the id of
 * the realm. REALM_MISMATCH.
 */
export const realmDocument = unary({
  name: 'realm.document',
  access: 'anyone',
  request: Type.Object({ realm: RealmIdSchema }),
  response: Type.Object({ chain: ChainSchema }),
  requestBytesMax: 1_024,
  responseBytesMax: chainResponseBytesMax,
})

/** The entries by which issuers put peers out, a page at a time; open as the document is. REALM_MISMATCH. */
export const realmRevocations = unary({
  name: 'realm.revocations',
  access: 'anyone',
  request: Type.Object({ realm: RealmIdSchema, after: Type.Optional(Type.String({ maxLength: 255 })) }),
  response: Type.Object({
    entries: Type.Array(Type.String({ maxLength: limits.revocationBytesMax }), { maxItems: limits.revocationsPerPage }),
    more: Type.Boolean(),
    /** What to go on after. */
    last: Type.Optional(Type.String({ maxLength: 255 })),
  }),
  requestBytesMax: 1_024,
})

/** A member asks an issuer for its next certificate, with the role that it has. FORBIDDEN where the callee is no issuer. */
export const realmRenew = unary({
  name: 'realm.renew',
  access: 'observer',
  request: Type.Object({}),
  response: Type.Object({ certificate: CertificateSchema }),
  requestBytesMax: 1_024,
  responseBytesMax: 4 * 1024,
})

/** One record of the view, as it is handed on. */
export const WireRecordSchema = Type.Object({
  envelope: EnvelopeSchema,
  ageMs: AgeSchema,
  accusations: Type.Array(Type.Object({ envelope: EnvelopeSchema, ageMs: AgeSchema }), {
    maxItems: limits.accusersKept,
  }),
})
export type WireRecord = Static<typeof WireRecordSchema>

/** What tells two versions of a record apart; `accusers` is a hash of who accuses. */
export const DigestSchema = Type.Object({
  peer: PeerIdSchema,
  incarnation: IncarnationSchema,
  sequence: IncarnationSchema,
  left: Type.Boolean(),
  accusers: Count(2 ** 32),
})
export type Digest = Static<typeof DigestSchema>

/** First step of a sync: the hashes of the buckets of the view, and which realm document is known. */
export const viewSync = unary({
  name: 'view.sync',
  access: 'observer',
  rate: 'sync',
  request: Type.Object({}),
  response: Type.Object({ buckets: Type.Array(Bytes(16), { maxItems: 4_096 }), head: RealmHeadSchema }),
  requestBytesMax: 1_024,
})

/** Second step: what is in some buckets, in the order of PeerIds, a page at a time. */
export const viewDigests = unary({
  name: 'view.digests',
  access: 'observer',
  rate: 'sync',
  request: Type.Object({
    buckets: Type.Array(Count(4_095), { maxItems: 4_096 }),
    after: Type.Optional(PeerIdSchema),
  }),
  response: Type.Object({
    digests: Type.Array(DigestSchema, { maxItems: limits.syncDigestsPerPage }),
    more: Type.Boolean(),
  }),
  requestBytesMax: 32 * 1024,
})

/** Third step: the records of some peers; as many of them, from the first on, as fit into a page. */
export const viewPull = unary({
  name: 'view.pull',
  access: 'observer',
  rate: 'sync',
  request: Type.Object({ peers: Type.Array(PeerIdSchema, { maxItems: limits.syncEntriesPerPage }) }),
  response: Type.Object({
    records: Type.Array(WireRecordSchema, { maxItems: limits.syncEntriesPerPage }),
    asked: Count(),
  }),
  requestBytesMax: 32 * 1024,
})

/** Hands records over: what the other lacks, a last word, or what is said of the other itself. RATE_LIMITED. */
export const viewPush = unary({
  name: 'view.push',
  access: 'observer',
  rate: 'sync',
  request: Type.Object({ records: Type.Array(WireRecordSchema, { maxItems: limits.syncEntriesPerPage }) }),
  response: Type.Object({ refused: Count() }),
  responseBytesMax: 1_024,
})

const SealedSchema = Type.Object({ envelope: EnvelopeSchema, ageMs: AgeSchema })

/**
 * Are you there? The answer is the callee's own advertisement, so that a probe tells how it is as well. One that is accused is
 * told so with the question: its answer may be lost on a way on which the question was not.
 */
export const nodeHeartbeat = unary({
  name: 'node.heartbeat',
  access: 'observer',
  request: Type.Object({ accusations: Type.Optional(Type.Array(SealedSchema, { maxItems: limits.accusersKept })) }),
  response: Type.Object({
    ...SealedSchema.properties,
    /** What the callee holds of the caller, so that a caller with a double hears of it. */
    yours: Type.Optional(Type.Object({ incarnation: IncarnationSchema, sequence: IncarnationSchema })),
  }),
  requestBytesMax: 8 * 1024,
  responseBytesMax: 4 * 1024,
})

/**
 * Does that member answer you? Asked by a watcher that it does not answer. `unknown` where the callee could not try. NOT_FOUND,
 * RATE_LIMITED.
 */
export const nodeProbe = unary({
  name: 'node.probe',
  access: 'observer',
  request: Type.Object({ peer: PeerIdSchema }),
  response: Type.Object({
    outcome: OneOf(['yes', 'no', 'unknown']),
    rttMs: Type.Optional(Count(2 ** 32)),
    ad: Type.Optional(SealedSchema),
  }),
  requestBytesMax: 1_024,
  responseBytesMax: 4 * 1024,
})

/** The caller's last word, straight from it, since gossip may lose it. */
export const nodeLeft = unary({
  name: 'node.left',
  access: 'observer',
  request: Type.Object({ envelope: EnvelopeSchema }),
  response: Type.Object({}),
  requestBytesMax: 4 * 1024,
  responseBytesMax: 1_024,
})

/** What a node shares, as it is handed on among the nodes of its realm and to guests; see share-ad.ts. */
export const ShareRecordSchema = Type.Object({ envelope: EnvelopeSchema, ageMs: AgeSchema })
export type ShareRecord = Static<typeof ShareRecordSchema>

/** The sender's realm has a newer document or newer revocations: guests hear of it from those that they are connected to. */
export const realmNews = unary({
  name: 'realm.news',
  access: 'observer',
  guests: 'any',
  request: Type.Object({ head: RealmHeadSchema }),
  response: Type.Object({}),
  requestBytesMax: 1_024,
  responseBytesMax: 1_024,
})

const ShareDigestSchema = Type.Object({
  peer: PeerIdSchema,
  incarnation: IncarnationSchema,
  sequence: IncarnationSchema,
  left: Type.Boolean(),
})
export type ShareDigest = Static<typeof ShareDigestSchema>

/** What the callee knows of the shared nodes of its own realm, in the order of PeerIds, a page at a time. */
export const shareDigests = unary({
  name: 'share.digests',
  access: 'observer',
  guests: 'capacity',
  request: Type.Object({ after: Type.Optional(PeerIdSchema) }),
  response: Type.Object({
    digests: Type.Array(ShareDigestSchema, { maxItems: limits.syncDigestsPerPage }),
    more: Type.Boolean(),
  }),
  requestBytesMax: 1_024,
})

/** What some nodes of the callee's realm share, each as its author sealed it; those that fit into a page, from the first on. */
export const sharePull = unary({
  name: 'share.pull',
  access: 'observer',
  guests: 'capacity',
  request: Type.Object({ peers: Type.Array(PeerIdSchema, { maxItems: limits.sharePullEntriesMax }) }),
  response: Type.Object({
    records: Type.Array(ShareRecordSchema, { maxItems: limits.sharePullEntriesMax }),
    asked: Count(),
  }),
  requestBytesMax: 16 * 1024,
})

/** The caller's last word to those outside its realm, since gossip may lose it. */
export const shareLeft = unary({
  name: 'share.left',
  access: 'observer',
  guests: 'any',
  request: Type.Object({ envelope: EnvelopeSchema }),
  response: Type.Object({}),
  requestBytesMax: 4 * 1024,
  responseBytesMax: 1_024,
})

/** How the callee is, for a node that it has pinned and that has pinned it. FORBIDDEN for everybody else. */
export const nodeShown = unary({
  name: 'node.shown',
  access: 'observer',
  guests: 'any',
  request: Type.Object({}),
  response: ShareRecordSchema,
  requestBytesMax: 1_024,
  responseBytesMax: 4 * 1024,
})

/**
 * Dial me back: whether the callee reaches the caller. It tries addresses that the caller advertises, and of those only the
 * ones at the IP from which it is connected, so that nobody else is ever dialled. RATE_LIMITED.
 */
export const nodeDialback = unary({
  name: 'node.dialback',
  access: 'observer',
  request: Type.Object({}),
  response: Type.Object({ reached: Type.Boolean() }),
  requestBytesMax: 1_024,
  responseBytesMax: 1_024,
})
