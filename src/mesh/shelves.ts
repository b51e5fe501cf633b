/**
 * What is known of nodes outside the realm, and of what the own realm shares: a view per realm and one for pinned nodes, each
 * with the rules of the realm's own (records.ts), and none of them ever part of it. What comes in is checked here: signature,
 * schema, size, realm, certificate, and that author, subject of the certificate and `peer` are one.
 */
import type { Clock } from '../base/clock.ts'
import { decode } from '../base/codec.ts'
import { GodelError, hasCode } from '../base/errors.ts'
import type { Limits } from '../base/limits.ts'
import type { Log } from '../base/log.ts'
import type { Net } from '../net/net.ts'
import type { Certificates } from './certificates.ts'
import type { Foreign } from './foreign.ts'
import type { Member } from './membership.ts'
import type { ShareRecord } from './methods.ts'
import { asAdvertisement, parseShareAd, SHARE_DOMAIN, SHOWN_DOMAIN, type ShareAd } from './share-ad.ts'
import { createView, type MergeOutcome, type MeshView, type PeerView } from './view.ts'

export interface Shelves {
  /** What the nodes of the own realm share, to be handed to guests. */
  readonly own: MeshView
  /** The pinned nodes. */
  readonly pinned: MeshView
  of(realm: string): MeshView | undefined
  realms(): string[]
  /** Takes in what a node of a realm, this one or a named one, shares. INVALID_MESSAGE, TOO_LARGE, REALM_MISMATCH, CERTIFICATE_INVALID, QUEUE_FULL. */
  share(realm: string, record: ShareRecord): Promise<MergeOutcome>
  /** Takes in what a pinned node says of itself; INVALID_MESSAGE where it is of another. */
  shown(peer: string, record: ShareRecord): Promise<MergeOutcome>
  /** Forgets a realm, for which nothing is to be kept any more. */
  drop(realm: string): void
  /** Forgets who is no member of its realm any more, by what is known of that now. */
  judgeAnew(realm: string): Promise<void>
  sweep(): void
  /** Changes outside the realm: an entry, or undefined where it is known no longer. */
  onChange(fn: (realm: string | undefined, peer: string, entry: PeerView | undefined) => void): void
}

interface ShelvesDeps {
  net: Pick<Net, 'peer' | 'open'>
  member: Pick<Member, 'realm'>
  certificates: Certificates
  foreign: Foreign
  clock: Clock
  log: Log
  limits: Limits
}

export const createShelves = (deps: ShelvesDeps): Shelves => {
  const { net, member, certificates, foreign, clock, log, limits } = deps
  const make = () => createView({ clock, limits, log }, { peer: net.peer })
  const [own, pinned] = [make(), make()]
  const shelves = new Map<string, MeshView>()
  const listeners = new Set<(realm: string | undefined, peer: string, entry: PeerView | undefined) => void>()
  const tell = (realm: string | undefined, peer: string, entry: PeerView | undefined): void => {
    for (const listener of listeners) listener(realm, peer, entry)
  }
  pinned.onChange((entry) => tell(undefined, entry.peer, entry))

  const shelfOf = (realm: string): MeshView => {
    if (realm === member.realm().id) return own
    const there = shelves.get(realm)
    if (there) return there
    if (shelves.size >= limits.foreignRealmsMax)
      throw new GodelError({ code: 'QUEUE_FULL', what: 'the list of other realms', limit: limits.foreignRealmsMax })
    const shelf = make()
    shelf.onChange((entry) => tell(realm, entry.peer, entry))
    shelves.set(realm, shelf)
    return shelf
  }

  const open = async (domain: string, { envelope }: ShareRecord): Promise<ShareAd> => {
    const limitBytes = limits.advertisementBytesMax + limits.envelopeOverheadBytesMax
    if (envelope.byteLength > limitBytes)
      throw new GodelError({ code: 'TOO_LARGE', what: 'what a node shares', bytes: envelope.byteLength, limitBytes })
    const { peer, payload } = await net.open(domain, envelope)
    const ad = parseShareAd(decode(payload, 'what a node shares'))
    if (ad.peer !== peer) throw invalid('it is not signed by its peer')
    return ad
  }

  const verify = (realm: string, { certificate, peer }: Pick<ShareAd, 'certificate' | 'peer'>) =>
    realm === member.realm().id ? certificates.verify(certificate, peer) : foreign.verify(realm, certificate, peer)

  const merge = (shelf: MeshView, ad: ShareAd, { envelope, ageMs }: ShareRecord, arrivedAtMs: number): MergeOutcome =>
    shelf.merge({
      peer: ad.peer,
      ad: asAdvertisement(ad),
      envelope,
      issuedAtMs: arrivedAtMs - ageMs,
      accusations: [],
      accusedAtMs: undefined,
    })

  const forget = (realm: string, shelf: MeshView, peer: string): void => {
    shelf.forget(peer)
    if (shelf !== own) tell(realm, peer, undefined)
  }

  return {
    own,
    pinned,
    of: (realm) => shelves.get(realm),
    realms: () => [...shelves.keys()],
    async share(realm, record) {
      const arrivedAtMs = clock.monotonicMs()
      const ad = await open(SHARE_DOMAIN, record)
      if (ad.realm !== realm) throw new GodelError({ code: 'REALM_MISMATCH', expected: realm, actual: ad.realm })
      if (!ad.shareable) throw invalid('its node is not shareable')
      if (ad.peer === net.peer) return 'self'
      await verify(realm, ad)
      return merge(shelfOf(realm), ad, record, arrivedAtMs)
    },
    async shown(peer, record) {
      const arrivedAtMs = clock.monotonicMs()
      const ad = await open(SHOWN_DOMAIN, record)
      if (ad.peer !== peer) throw invalid('it is of another node than the one that showed it')
      return merge(pinned, ad, record, arrivedAtMs)
    },
    drop(realm) {
      const shelf = shelves.get(realm)
      if (!shelf) return
      shelves.delete(realm)
      for (const { peer } of shelf.entries()) tell(realm, peer, undefined)
    },
    async judgeAnew(realm) {
      const shelf = realm === member.realm().id ? own : shelves.get(realm)
      if (!shelf) return
      for (const { peer, ad } of [...shelf.entries()]) {
        try {
          await verify(realm, { certificate: ad.certificate, peer })
        } catch (error) {
          if (hasCode(error, 'CERTIFICATE_INVALID', 'REALM_MISMATCH', 'REALM_DOCUMENT_INVALID'))
            forget(realm, shelf, peer)
        }
      }
    },
    sweep() {
      for (const shelf of [own, pinned, ...shelves.values()]) shelf.sweep()
    },
    onChange: (fn) => void listeners.add(fn),
  }
}

const invalid = (reason: string) => new GodelError({ code: 'INVALID_MESSAGE', what: 'what a node shares', reason })
