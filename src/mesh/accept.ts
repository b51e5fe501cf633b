/**
 * The one way into the view. Whatever brings a word about a peer (gossip, sync, a refusal, a heartbeat, a push), it is
 * opened and checked here: signature, schema, size, realm, the author's certificate, and that author, subject of the
 * certificate and `peer` are one. A word about the own node never enters: it is a reason to speak up,
 * and a word of its own that it never wrote is a double's.
 */
import { Type } from 'typebox'
import { PeerIdSchema, parseAdvertisement, type Advertisement } from '../base/advertisement.ts'
import type { Clock } from '../base/clock.ts'
import { decode, encode } from '../base/codec.ts'
import { GodelError } from '../base/errors.ts'
import type { Limits } from '../base/limits.ts'
import { limits as bounds } from '../base/limits.ts'
import { Count, OneOf, parser } from '../base/schema.ts'
import type { Membership } from '../identity/certificate.ts'
import type { Realm } from '../identity/realm-document.ts'
import type { Net } from '../net/net.ts'
import { createAccusers, createRates } from './accusers.ts'
import type { Certificates } from './certificates.ts'
import type { WireRecord } from './methods.ts'
import { evidenceWords } from './evidence.ts'
import { compareAds, type Evidence, type PeerRecord } from './records.ts'
import type { MergeOutcome, MeshView } from './view.ts'

export const AD_DOMAIN = 'godel-ad'
export const ACCUSATION_DOMAIN = 'godel-accusation'

const AccusationSchema = Type.Object({
  realm: Type.String({ pattern: '^[0-9a-f]{64}$' }),
  subject: PeerIdSchema,
  incarnation: Count(2 ** 40),
  certificate: Type.String({ maxLength: bounds.certificateBytesMax }),
  evidence: Type.Optional(OneOf(evidenceWords)),
})
const parseAccusation = parser('an accusation', AccusationSchema)

export interface Accept {
  /**
   * INVALID_MESSAGE, TOO_LARGE, REALM_MISMATCH, CERTIFICATE_INVALID, QUEUE_FULL; nothing is changed then. `from` is the peer
   * that gave it straight to this node: of its own word it alone says the age, and a word of its that is in the view already
   * needs no second check.
   */
  ad(envelope: Uint8Array, ageMs: number, from?: string): Promise<MergeOutcome>
  accusation(envelope: Uint8Array, ageMs: number): Promise<MergeOutcome>
  /** An advertisement with the accusations that stand against it. */
  record(record: WireRecord): Promise<MergeOutcome>
}

interface AcceptDeps {
  net: Pick<Net, 'open' | 'peer'>
  realm: () => Realm
  view: MeshView
  certificates: Certificates
  clock: Clock
  limits: Limits
  /** Somebody holds a word about this node that this node must answer with an incarnation above `incarnation`. */
  onSelfHeard: (incarnation: number) => void
  /** Somebody holds a word of this node that is above its own last one. */
  onDouble: (record: PeerRecord) => void
  /** A member has shown a certificate, perhaps a newer one. */
  onMembership: (certificate: string, membership: Membership) => void
}

export const createAccept = (deps: AcceptDeps): Accept => {
  const { net, realm, view, certificates, clock, limits, onSelfHeard, onDouble, onMembership } = deps
  const accusers = createAccusers(clock, limits)
  const refutedFor = createRefutedFor(clock, limits)

  const open = async (
    domain: string,
    what: string,
    envelope: Uint8Array,
  ): Promise<{ peer: string; value: unknown }> => {
    const limitBytes = limits.advertisementBytesMax + limits.envelopeOverheadBytesMax
    if (envelope.byteLength > limitBytes)
      throw new GodelError({ code: 'TOO_LARGE', what, bytes: envelope.byteLength, limitBytes })
    const { peer, payload } = await net.open(domain, envelope)
    if (payload.byteLength > limits.advertisementBytesMax)
      throw new GodelError({
        code: 'TOO_LARGE',
        what,
        bytes: payload.byteLength,
        limitBytes: limits.advertisementBytesMax,
      })
    return { peer, value: decode(payload, what) }
  }

  const checkRealm = (id: string): void => {
    if (id !== realm().id) throw new GodelError({ code: 'REALM_MISMATCH', expected: realm().id, actual: id })
  }

  const openAd = async (envelope: Uint8Array): Promise<Advertisement> => {
    const { peer, value } = await open(AD_DOMAIN, 'an advertisement', envelope)
    const ad = parseAdvertisement(value)
    if (ad.peer !== peer)
      throw new GodelError({
        code: 'INVALID_MESSAGE',
        what: 'an advertisement',
        reason: 'it is not signed by its peer',
      })
    checkRealm(ad.realm)
    onMembership(ad.certificate, await certificates.verify(ad.certificate, peer))
    return ad
  }

  /** The record that this very envelope has made already; checked then, and still by a member. */
  const known = (envelope: Uint8Array, hint: string | undefined): PeerRecord | undefined => {
    const record = hint === undefined ? undefined : view.record(hint)
    if (!record || Buffer.compare(record.envelope, envelope) !== 0) return undefined
    return certificates.peek(record.ad.certificate) ? record : undefined
  }

  const merge = (record: PeerRecord, straight: boolean): MergeOutcome => {
    if (record.peer !== net.peer) {
      certificates.mustHold(record.ad.certificate, record.peer)
      return view.merge(record, { straight })
    }
    const own = view.record(net.peer)
    if (own && compareAds(record, own) > 0) onDouble(record)
    return 'self'
  }

  const ad = async (envelope: Uint8Array, ageMs: number, from?: string): Promise<MergeOutcome> => {
    const issuedAtMs = clock.monotonicMs() - ageMs
    const opened = known(envelope, from)?.ad ?? (await openAd(envelope))
    const record = { peer: opened.peer, ad: opened, envelope, issuedAtMs, accusations: [], accusedAtMs: undefined }
    return merge(record, from === opened.peer)
  }

  const accusation = async (envelope: Uint8Array, ageMs: number): Promise<MergeOutcome> => {
    // Who hands on two accusations could otherwise say that the time to answer them is over.
    const sinceMs = clock.monotonicMs() - Math.min(ageMs, limits.accusationAgeMsMax)
    const { peer: accuser, value } = await open(ACCUSATION_DOMAIN, 'an accusation', envelope)
    const { realm: id, subject, incarnation, certificate, evidence } = parseAccusation(value)
    checkRealm(id)
    if (accuser === subject)
      throw new GodelError({ code: 'INVALID_MESSAGE', what: 'an accusation', reason: 'it is against its own author' })
    onMembership(certificate, await certificates.verify(certificate, accuser))
    if (subject === net.peer) {
      if (incarnation === view.record(net.peer)?.ad.incarnation && refutedFor(accuser, incarnation))
        onSelfHeard(incarnation)
      return 'self'
    }
    certificates.mustHold(certificate, accuser)
    const record = view.record(subject)
    const isNew =
      record?.ad.incarnation === incarnation && !record.accusations.some((known) => known.accuser === accuser)
    if (isNew && accuser !== net.peer && !accusers.mayCount(accuser, subject, view.size())) return 'stale'
    return view.accuse(subject, incarnation, { accuser, envelope, sinceMs, evidence })
  }

  return {
    ad,
    accusation,
    async record(record) {
      let outcome = await ad(record.envelope, record.ageMs)
      for (const one of record.accusations) if ((await accusation(one.envelope, one.ageMs)) === 'news') outcome = 'news'
      return outcome
    },
  }
}

/**
 * Whether this node answers an accuser. One that accuses each new incarnation is answered once in a while: alone it changes what
 * nobody else does. As soon as another accuses the same incarnation both are answered, since two bring a node down.
 */
const createRefutedFor = (
  clock: Clock,
  limits: Pick<Limits, 'refuteAgainMs' | 'accusersTrackedMax' | 'downAccusers'>,
): ((accuser: string, incarnation: number) => boolean) => {
  const rate = createRates(clock, limits.accusersTrackedMax, { perSecond: 1_000 / limits.refuteAgainMs, burst: 1 })
  let against = { incarnation: -1, accusers: new Set<string>() }
  return (accuser, incarnation) => {
    if (against.incarnation !== incarnation) against = { incarnation, accusers: new Set() }
    if (against.accusers.size < limits.downAccusers) against.accusers.add(accuser)
    return rate(accuser, 1) === 0 || against.accusers.size >= limits.downAccusers
  }
}

/** An accusation to be sealed under ACCUSATION_DOMAIN. */
export const encodeAccusation = (accusation: {
  realm: string
  subject: string
  incarnation: number
  certificate: string
  evidence?: Evidence
}): Uint8Array => encode(accusation)
