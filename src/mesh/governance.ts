/** What an operator changes about the realm. Changes of the document take a root key; a revocation takes an issuer. */
import type { Clock } from '../base/clock.ts'
import { GodelError, reasonOf } from '../base/errors.ts'
import type { ForeignRealm, RevocationReport } from '../base/federation.ts'
import type { Limits } from '../base/limits.ts'
import type { Log } from '../base/log.ts'
import type { Role, Scope } from '../base/standing.ts'
import { publicKeyOfPeer, type NodeKey } from '../identity/node-key.ts'
import { issuersOf, rootName, type RealmDocument } from '../identity/realm-document.ts'
import { revokers, signRevocation } from '../identity/revocation.ts'
import type { RootKeys } from '../identity/root-keys.ts'
import type { Amendments } from './amendments.ts'
import type { Member } from './membership.ts'
import type { View } from './view.ts'

export interface Governance {
  /** Makes a member an issuer for some roles. FORBIDDEN without a root key, NOT_FOUND for a peer that is not known. */
  promote(peer: string, roles: readonly Role[]): Promise<void>
  /** Ends that a peer is an issuer; what it issued holds. FORBIDDEN, NOT_FOUND, CONFLICT for the last one for the role `admin`. */
  demote(peer: string): Promise<void>
  /** Puts a peer out, at once and until lifted. FORBIDDEN where this node is no issuer, CONFLICT for itself. */
  revoke(peer: string, options?: { sinceMs?: number }): Promise<void>
  /** Takes a revocation back. NOT_FOUND without one, FORBIDDEN where it was another issuer's and no root key is here. */
  lift(peer: string): Promise<void>
  revocations(): RevocationReport[]
  /** Puts a new root key in the place of this node's. The roots from then on, in base64url. */
  rotateRoot(): Promise<{ roots: string[] }>
  /** `GDR1.…`: the chain of this realm and addresses of it, for the operator of another realm. */
  card(): Promise<string>
  /** Names another realm in the document by its card, so that its nodes may show themselves; `out` lets agents of this realm go there. */
  trust(card: string, options: { out: boolean }): Promise<ForeignRealm>
  /** Grants a named realm (id or name) scopes here. NOT_FOUND. */
  share(realm: string, grant: { scopes: readonly Scope[]; agentsPerNode: number }): Promise<ForeignRealm>
  /** Ends everything with a realm (id or name): its grant and its name. NOT_FOUND. */
  withdraw(realm: string): Promise<void>
  foreignRealms(): ForeignRealm[]
}

/** What concerns this realm alone. */
export type OwnGovernance = Pick<Governance, 'promote' | 'demote' | 'revoke' | 'lift' | 'revocations' | 'rotateRoot'>

export interface GovernanceDeps {
  key: NodeKey
  member: Member
  amendments: Amendments
  roots: RootKeys | undefined
  view: Pick<View, 'get'>
  clock: Clock
  log: Log
  limits: Pick<Limits, 'revocationsPerIssuerMax'>
  /** Hands an entry to the realm. */
  tell: (revocation: string) => Promise<void>
}

export const createGovernance = (deps: GovernanceDeps): OwnGovernance => {
  const { key, member, amendments, roots, view, clock } = deps
  const { amend } = amendments
  const entries = createEntries(deps)
  let rotating: Promise<unknown> = Promise.resolve()

  /** The new key is on disk before the document names it, and takes the old one's place after that (root-keys.ts). */
  const rotate = async (): Promise<{ roots: string[] }> => {
    const old = await roots?.held(member.realm().document.roots)
    const next = old && (await roots?.prepare())
    const realm = await amend('rotating the root key', (document) => ({
      roots: document.roots.map((name) => (old && next && name === rootName(old) ? rootName(next) : name)),
    }))
    await roots?.adopt()
    return { roots: [...realm.document.roots] }
  }

  return {
    async promote(peer, roles) {
      publicKeyOfPeer(peer)
      if (roles.length === 0)
        throw new GodelError({ code: 'INVALID_ARGUMENT', field: 'roles', reason: 'must name one at least' })
      await amend('promoting an issuer', ({ issuers }) => {
        if (member.realm().revoked.has(peer)) throw conflict(peer, 'it has been revoked; lift that first')
        const known = issuers.find((one) => one.peer === peer && one.untilMs === undefined)
        if (!known && !view.get(peer)) throw new GodelError({ code: 'NOT_FOUND', what: 'peer', id: peer })
        const granted = { peer, roles: [...new Set(roles)] }
        if (!known) return { issuers: [...issuers.filter((one) => one.peer !== peer), granted] }
        if (known.roles.toSorted().join() === granted.roles.toSorted().join()) return undefined
        return { issuers: issuers.map((one) => (one === known ? granted : one)) }
      })
    },

    async demote(peer) {
      await amend('demoting an issuer', (document) => {
        const known = document.issuers.find((one) => one.peer === peer && one.untilMs === undefined)
        if (!known) throw new GodelError({ code: 'NOT_FOUND', what: 'issuer', id: peer })
        if (issuersOf(member.realm(), 'admin').every((one) => one === peer))
          throw conflict(peer, 'the realm would be left without an issuer for admins; promote another first')
        const former = { ...known, untilMs: clock.wallMs() }
        return {
          issuers: document.issuers.map((one) => (one === known ? former : one)),
          revocations: withRevocationsOf(document, member, peer),
        }
      })
    },

    async revoke(peer, { sinceMs: since } = {}) {
      const sinceMs = since ?? clock.wallMs()
      publicKeyOfPeer(peer)
      if (peer === key.peer) throw conflict(peer, 'a node does not revoke itself; stop it, or ask another issuer')
      if (entries.mayRevoke(peer)) return entries.say(peer, { revoked: true, sinceMs })
      if (!(await amendments.isRoot())) throw entries.forbidden(peer)
      await amend('revoking a peer', ({ revocations }) => {
        if (since === undefined && revocations.some((one) => one.peer === peer)) return undefined
        return { revocations: [...revocations.filter((one) => one.peer !== peer), { peer, sinceMs, issuer: key.peer }] }
      })
    },

    async lift(peer) {
      const stands = member.realm().revoked.get(peer)
      if (!stands) throw new GodelError({ code: 'NOT_FOUND', what: 'revocation of', id: peer })
      if (stands.sources.includes(key.peer)) await entries.say(peer, { revoked: false, sinceMs: stands.sinceMs })
      if (!member.realm().revoked.has(peer)) return
      await amend(
        `lifting what ${stands.sources.filter((one) => one !== key.peer).join(', ')} said of a peer`,
        (document) => ({
          revocations: document.revocations.filter((one) => one.peer !== peer),
          pardons: pardonsOf(document, member, peer),
        }),
      )
    },

    revocations: () => [...member.realm().revoked.values()].map(({ peer, by, sinceMs }) => ({ peer, by, sinceMs })),

    rotateRoot() {
      const done = rotating.then(rotate)
      rotating = done.catch(() => {})
      return done
    },
  }
}

/** The entries that this node signs itself. */
const createEntries = ({ key, member, clock, limits, tell, log }: GovernanceDeps) => ({
  /** An issuer may, but against one that is before it. */
  mayRevoke(peer: string): boolean {
    const { document, revoked } = member.realm()
    const order = revokers(document)
    const own = order.indexOf(key.peer)
    const rank = order.indexOf(peer)
    return own >= 0 && !revoked.has(key.peer) && (rank < 0 || rank > own)
  },

  async say(peer: string, { revoked, sinceMs }: { revoked: boolean; sinceMs: number }): Promise<void> {
    const before = member.revocations.of(key.peer, peer)
    const mine = member.revocations.entries().filter(({ issuer }) => issuer === key.peer)
    if (!before && mine.length >= limits.revocationsPerIssuerMax)
      throw new GodelError({
        code: 'QUEUE_FULL',
        what: 'the list of revocations',
        limit: limits.revocationsPerIssuerMax,
      })
    const pardoned = member.realm().document.pardons?.find((one) => one.issuer === key.peer && one.peer === peer)
    const version = Math.max(before?.version ?? 0, pardoned?.version ?? 0) + 1
    const entry = { realm: member.realm().id, peer, version, revoked, sinceMs: Math.min(sinceMs, clock.wallMs()) }
    const jws = await signRevocation(key, entry)
    await member.hear([jws])
    log.info(revoked ? 'revoked a peer' : 'lifted the revocation of a peer', { peer, version })
    await tell(jws).catch((error: unknown) => log.warn('a revocation was not told', { error: reasonOf(error) }))
  },

  forbidden(peer: string) {
    const { document, revoked } = member.realm()
    const order = revokers(document).filter((one) => !revoked.has(one))
    const rank = order.indexOf(peer)
    const able = rank < 0 ? order : order.slice(0, rank)
    return new GodelError({
      code: 'FORBIDDEN',
      action: 'revoking this peer',
      reason: able.length === 0 ? 'it takes the root key of the realm' : `it takes an issuer: ${able.join(', ')}`,
    })
  },
})

/** What a former issuer said stands on by the document. */
const withRevocationsOf = (
  { revocations }: RealmDocument,
  member: Member,
  issuer: string,
): RealmDocument['revocations'] => {
  const taken = [...member.realm().revoked.values()].filter(
    ({ peer, sources }) => sources.includes(issuer) && !revocations.some((one) => one.peer === peer),
  )
  return [...revocations, ...taken.map(({ peer, sinceMs }) => ({ peer, sinceMs, issuer }))]
}

/** The document's pardons and one for each entry that stands against a peer. */
const pardonsOf = ({ pardons = [] }: RealmDocument, member: Member, peer: string) => {
  const against = member.revocations.entries().filter((entry) => entry.peer === peer && entry.revoked)
  const others = pardons.filter((one) => !against.some(({ issuer }) => one.peer === peer && one.issuer === issuer))
  return [...others, ...against.map(({ issuer, version }) => ({ issuer, peer, version }))]
}

const conflict = (peer: string, reason: string) => new GodelError({ code: 'CONFLICT', what: `peer ${peer}`, reason })
