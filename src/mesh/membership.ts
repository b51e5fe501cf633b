/**
 * This node's place in its realm: the chain of documents and its own certificate, both in the store before they are used.
 * At a start it is taken up from there, made by founding a realm, or had from an issuer with a join token.
 */
import { Type } from 'typebox'
import type { Clock } from '../base/clock.ts'
import { decode, encode } from '../base/codec.ts'
import { GodelError, hasCode } from '../base/errors.ts'
import type { Limits } from '../base/limits.ts'
import type { Log } from '../base/log.ts'
import { parser } from '../base/schema.ts'
import { issueCertificate, verifyCertificate, type Membership } from '../identity/certificate.ts'
import type { JoinToken } from '../identity/join-token.ts'
import { createNodeKey, type NodeKey } from '../identity/node-key.ts'
import {
  foundRealm,
  issuersOf,
  newerRealm,
  verifyChain,
  withRevocations,
  type Realm,
} from '../identity/realm-document.ts'
import { readRevocation, revokers, type Revocation } from '../identity/revocation.ts'
import type { Role } from '../base/standing.ts'
import type { Store } from '../store/store.ts'
import type { RealmHead } from './methods.ts'
import { openRevocations, type Revocations } from './revocations.ts'

const SPACE = 'realm'
const parseStoredChain = parser('the stored realm', Type.Array(Type.String()))

/** What a newcomer brings home from an issuer. */
export interface Credentials {
  readonly chain: readonly string[]
  readonly certificate: string
}

export interface Member {
  realm(): Realm
  /** The node is in no realm: what `realm` gives is its own alone, and is shown to nobody as one. */
  isStandalone(): boolean
  head(): RealmHead
  certificate(): string
  membership(): Membership
  /** Takes a chain of this realm if it is newer than what is known; REALM_DOCUMENT_INVALID, REALM_MISMATCH. */
  learn(chain: readonly string[]): Promise<void>
  /** Takes in entries, those of nobody who may revoke left out: gives how many were new. INVALID_MESSAGE, REALM_MISMATCH: none is taken. */
  hear(revocations: readonly string[]): Promise<number>
  readonly revocations: Pick<Revocations, 'entries' | 'of' | 'page'>
  /** Takes a new certificate for this node; CERTIFICATE_INVALID. */
  renew(certificate: string): Promise<void>
  /** The roles that this node may grant. */
  grants(): readonly Role[]
  /** Tells of every newer document and of everybody who is put out or let in again. */
  onChange(fn: (now: Realm, before: Realm) => void): () => void
}

interface MemberDeps {
  store: Store
  key: NodeKey
  clock: Clock
  log: Log
  limits: Pick<Limits, 'certificateTtlMs' | 'revocationsPerIssuerMax' | 'revocationsPerPage'>
  rootKey: () => Promise<NodeKey>
  /** Redeems a token; see join.ts. */
  join: (token: JoinToken) => Promise<Credentials>
}

export interface MemberOptions {
  realm: string | undefined
  token: JoinToken | undefined
  bootstrap: readonly string[]
}

/**
 * REALM_MISMATCH where the names or the ids of store, token and `--realm` differ, JOIN_REQUIRED for a fresh node with seeds
 * and no token, and what joining can throw. A fresh node with none of these is in no realm, which a realm's name or a token at
 * a later start ends: its key, and with it its PeerId, stay.
 */
export const openMember = async (deps: MemberDeps, options: MemberOptions): Promise<Member> => {
  const { token } = options
  if (token && options.realm !== undefined && options.realm !== token.realmName)
    throw new GodelError({ code: 'REALM_MISMATCH', expected: options.realm, actual: token.realmName })
  const stored = await takeUp(deps, options)
  if (stored) return stored
  if (token) return keep(deps, await deps.join(token), token)
  if (options.bootstrap.length > 0) throw new GodelError({ code: 'JOIN_REQUIRED', seed: options.bootstrap[0]! })
  return keep(deps, await found(deps, options.realm), undefined)
}

/**
 * The realm in the store, if there is one. An expired certificate is replaced where this node or the token can, and a node that
 * was revoked starts all the same, to hear whether that was lifted.
 */
const takeUp = async (deps: MemberDeps, options: MemberOptions): Promise<Member | undefined> => {
  const { store, key, clock, log, limits } = deps
  const chainBytes = store.get(SPACE, 'chain')
  if (chainBytes === undefined) return undefined
  const { token } = options
  const bare = await verifyChain(parseStoredChain(decode(chainBytes, 'the stored realm')))
  if (isStandalone(bare) && (options.realm !== undefined || token || options.bootstrap.length > 0)) return undefined
  const revocations = await openRevocations(deps, { realm: bare.id })
  const realm = withRevocations(bare, revocations.entries())
  if (options.realm !== undefined && options.realm !== realm.name)
    throw new GodelError({ code: 'REALM_MISMATCH', expected: options.realm, actual: realm.name })
  if (token && token.realm !== realm.id)
    throw new GodelError({
      code: 'REALM_MISMATCH',
      expected: `${token.realmName} (${token.realm})`,
      actual: `${realm.name} (${realm.id})`,
    })
  const certificate = new TextDecoder().decode(store.get(SPACE, 'certificate'))
  try {
    const membership = await verifyCertificate(certificate, { peer: key.peer, realm, wallMs: clock.wallMs() })
    if (token) log.info('this node is a member already, the token is not used', { realm: realm.name })
    return createMember(deps, revocations, realm, certificate, membership)
  } catch (error) {
    const own = grantsOf(realm, key.peer)
    if (own.length > 0) {
      const grant = {
        issuer: key,
        realm: realm.id,
        peer: key.peer,
        role: own.includes('admin') ? 'admin' : own[0]!,
      } as const
      const renewed = await issueCertificate({ ...grant, wallMs: clock.wallMs(), ttlMs: limits.certificateTtlMs })
      return keep(deps, { chain: realm.chain, certificate: renewed }, undefined)
    }
    if (token) return keep(deps, await deps.join(token), token)
    const membership = await whileOut(deps, realm, certificate)
    if (!membership) throw error
    log.error('this node has been revoked: it goes on alone until that is lifted', {
      by: realm.revoked.get(key.peer)?.by,
    })
    return createMember(deps, revocations, realm, certificate, membership)
  }
}

/**
 * The membership of a node that has nothing against it but that it was revoked. Every other node judges by itself, so nothing is
 * won by starting; but that the revocation was lifted is heard from others alone, and nobody else tells it.
 */
const whileOut = async (
  { key, clock }: Pick<MemberDeps, 'key' | 'clock'>,
  realm: Realm,
  certificate: string,
): Promise<Membership | undefined> => {
  const others = new Map([...realm.revoked].filter(([peer]) => peer !== key.peer))
  if (others.size === realm.revoked.size) return undefined
  return verifyCertificate(certificate, {
    peer: key.peer,
    realm: { ...realm, revoked: others },
    wallMs: clock.wallMs(),
  }).catch((error: unknown) => {
    if (hasCode(error, 'CERTIFICATE_INVALID')) return undefined
    throw error
  })
}

/** Of a node that is in no realm the private one has this setting. */
const STANDALONE = 'standalone'
export const isStandalone = ({ document }: Pick<Realm, 'document'>): boolean => document.settings[STANDALONE] === true

/** A realm of that name, or, without one, the private one of a node in none, whose root key is thrown away: it never changes. */
const found = async (deps: MemberDeps, name: string | undefined): Promise<Credentials> => {
  const { key, clock, limits, log } = deps
  const wallMs = clock.wallMs()
  const founding =
    name === undefined
      ? { name: 'none', rootKey: createNodeKey(), settings: { [STANDALONE]: true } }
      : { name, rootKey: await deps.rootKey() }
  const realm = await foundRealm({ ...founding, founder: key.peer, wallMs })
  const grant = { issuer: key, realm: realm.id, peer: key.peer, role: 'admin' } as const
  const certificate = await issueCertificate({ ...grant, wallMs, ttlMs: limits.certificateTtlMs })
  if (name === undefined) log.info('this node is in no realm')
  else log.info('founded a realm', { realm: realm.name, id: realm.id })
  return { chain: realm.chain, certificate }
}

/** Checks credentials, against the token that they were had for, and keeps them. */
const keep = async (deps: MemberDeps, credentials: Credentials, token: JoinToken | undefined): Promise<Member> => {
  const { store, key, clock } = deps
  const realm = await verifyChain(credentials.chain, token?.realm)
  if (token && realm.document.version < token.minVersion)
    throw new GodelError({
      code: 'REALM_DOCUMENT_INVALID',
      reason: `version ${realm.document.version} is older than ${token.minVersion}, which the token asks for`,
    })
  const { certificate } = credentials
  const membership = await verifyCertificate(certificate, { peer: key.peer, realm, wallMs: clock.wallMs() })
  await store.commit([
    { space: SPACE, key: 'chain', value: encode(credentials.chain) },
    { space: SPACE, key: 'certificate', value: new TextEncoder().encode(certificate) },
  ])
  const revocations = await openRevocations(deps, { realm: realm.id })
  return createMember(deps, revocations, withRevocations(realm, revocations.entries()), certificate, membership)
}

const grantsOf = (realm: Realm, peer: string): readonly Role[] =>
  (['admin', 'member', 'observer'] as const).filter((role) => issuersOf(realm, role).includes(peer))

const createMember = (
  deps: Pick<MemberDeps, 'store' | 'key' | 'clock' | 'log'>,
  revocations: Revocations,
  ...initial: [Realm, string, Membership]
): Member => {
  const { store, key, clock, log } = deps
  let [realm, certificate, membership] = initial
  let learning: Promise<unknown> = Promise.resolve()
  const listeners = new Set<(now: Realm, before: Realm) => void>()

  const becomes = (next: Realm): void => {
    const before = realm
    realm = withRevocations(next, revocations.entries())
    if (realm.trustHash !== before.trustHash) for (const listener of listeners) listener(realm, before)
  }

  /** One after the other: what a document or an entry means depends on what is there by then. */
  const inTurn = <T>(work: () => Promise<T>): Promise<T> => {
    const done = learning.then(work)
    learning = done.catch(() => {})
    return done
  }

  const learn = async (chain: readonly string[]): Promise<void> => {
    if (chain.at(-1) === realm.chain.at(-1)) return
    const other = await verifyChain(chain, realm.id)
    const { stands, alarm } = newerRealm(realm, other)
    if (alarm)
      log.error('the realm has two documents of one version: a root key was used twice, or by somebody else', {
        version: other.document.version,
        hashes: [realm.headHash, other.headHash],
      })
    if (stands.headHash === realm.headHash) return
    await store.commit([{ space: SPACE, key: 'chain', value: encode(stands.chain) }])
    await revocations.keep([], revokers(stands.document))
    becomes(stands)
    log.info('took up a newer realm document', { version: realm.document.version })
  }

  const hear = async (texts: readonly string[]): Promise<number> => {
    const by = revokers(realm.document)
    const known = new Set(revocations.entries().map(({ jws }) => jws))
    const fresh: Revocation[] = []
    for (const text of texts) {
      if (known.has(text)) continue
      try {
        fresh.push(await readRevocation(text, realm.id, by))
      } catch (error) {
        // A peer with an older document may hold what a former issuer said.
        if (!hasCode(error, 'FORBIDDEN')) throw error
      }
    }
    const news = await revocations.keep(fresh, by)
    if (news > 0) becomes(realm)
    return news
  }

  return {
    realm: () => realm,
    isStandalone: () => isStandalone(realm),
    certificate: () => certificate,
    membership: () => membership,
    grants: () => grantsOf(realm, key.peer),
    head: () => ({
      realm: realm.id,
      version: realm.document.version,
      hash: realm.headHash,
      revocations: revocations.hash(),
      ...(isStandalone(realm) && { standalone: true }),
    }),
    learn: (chain) => inTurn(() => learn(chain)),
    hear: (texts) => inTurn(() => hear(texts)),
    revocations,
    onChange(fn) {
      listeners.add(fn)
      return () => void listeners.delete(fn)
    },
    async renew(next) {
      const renewed = await verifyCertificate(next, { peer: key.peer, realm, wallMs: clock.wallMs() })
      if (renewed.expiresAtMs <= membership.expiresAtMs) return
      await store.commit([{ space: SPACE, key: 'certificate', value: new TextEncoder().encode(next) }])
      ;[certificate, membership] = [next, renewed]
      log.info('took up a new certificate', { expiresAtMs: membership.expiresAtMs })
    },
  }
}
