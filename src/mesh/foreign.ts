/**
 * The realms that this realm's document names: what it says of each, and their own documents and revocations as their nodes
 * tell them. A chain proves itself by the id, the newest stands, and it is in the store before it counts. Nothing here is
 * ever handed on to a third realm.
 */
import { decode, encode } from '../base/codec.ts'
import type { Clock } from '../base/clock.ts'
import { GodelError, reasonOf } from '../base/errors.ts'
import type { Limits } from '../base/limits.ts'
import type { Log } from '../base/log.ts'
import { parser } from '../base/schema.ts'
import type { Scope } from '../base/standing.ts'
import { Type } from 'typebox'
import type { Membership } from '../identity/certificate.ts'
import { newerRealm, verifyChain, withRevocations, type NamedRealm, type Realm } from '../identity/realm-document.ts'
import { readRevocation, revokers, type Revocation } from '../identity/revocation.ts'
import type { Net } from '../net/net.ts'
import type { Store } from '../store/store.ts'
import { createCertificates, type Certificates } from './certificates.ts'
import type { Member } from './membership.ts'
import { createLatest, createPatience } from './head-patience.ts'
import { realmDocument, realmRevocations, type RealmHead } from './methods.ts'
import { openRevocations, type Revocations } from './revocations.ts'

const SPACE = 'foreign'
const parseStoredChain = parser('a stored realm', Type.Array(Type.String()))

/** A named realm with what it may do here. */
export interface Named extends NamedRealm {
  readonly scopes: readonly Scope[]
  readonly agentsPerNode: number
}

export interface Foreign {
  named(id: string): Named | undefined
  all(): Named[]
  /** Its newest document that is known here; undefined before one of its nodes has told it. */
  realm(id: string): Realm | undefined
  /** Takes up from one of its nodes what `head` says is newer. REALM_MISMATCH where it is not named, REALM_DOCUMENT_INVALID. */
  learnFrom(peer: string, head: RealmHead): Promise<void>
  /** The membership that a certificate proves in a named realm; CERTIFICATE_INVALID, REALM_MISMATCH. */
  verify(id: string, certificate: string, peer: string): Promise<Membership>
  /** Tells of what may change who is let in: this realm's word on the other (or no word any more), or the other's own. */
  onChange(fn: (id: string) => void): () => void
  close(): void
}

interface Known {
  realm: Realm | undefined
  readonly revocations: Revocations
  readonly certificates: Certificates
  /** What changes it, one after the other; what is asked of peers meanwhile holds nobody up. */
  taking: Promise<unknown>
}

interface ForeignDeps {
  net: Pick<Net, 'rpc'>
  member: Member
  store: Store
  clock: Clock
  log: Log
  limits: Pick<
    Limits,
    | 'syncTimeoutMs'
    | 'certificatesCachedMax'
    | 'revocationsPerIssuerMax'
    | 'revocationsPerPage'
    | 'headPatienceMs'
    | 'connectionsMax'
  >
}

export const openForeign = async (deps: ForeignDeps): Promise<Foreign> => {
  const { net, member, store, clock, log, limits } = deps
  const known = new Map<string, Known>()
  const listeners = new Set<(id: string) => void>()
  const latest = createLatest()
  const patience = createPatience(deps)
  const changed = (id: string): void => {
    for (const listener of listeners) listener(id)
  }

  const open = async (id: string): Promise<Known> => {
    const there = known.get(id)
    if (there) return there
    const revocations = await openRevocations(deps, { realm: id })
    const bytes = store.get(SPACE, id)
    const realm = bytes && withRevocations(await verifyChain(storedChain(bytes), id), revocations.entries())
    const certificates = createCertificates({ realm: () => mustKnow(id), clock, limits })
    const entry: Known = { realm, revocations, certificates, taking: Promise.resolve() }
    const first = known.get(id) ?? entry // two may have come at once
    known.set(id, first)
    return first
  }

  const mustKnow = (id: string): Realm => {
    const realm = known.get(id)?.realm
    if (realm) return realm
    throw new GodelError({ code: 'REALM_DOCUMENT_INVALID', reason: `no document of the realm ${id} is known yet` })
  }

  const named = (id: string): Named | undefined => {
    const { realms, grants } = member.realm().document
    const entry = realms.find((realm) => realm.id === id)
    if (!entry) return undefined
    const { scopes = [], agentsPerNode = 0 } = grants.find(({ realm }) => realm === id) ?? {}
    return { ...entry, scopes, agentsPerNode }
  }

  const mustName = (id: string): Named => {
    const entry = named(id)
    if (entry) return entry
    throw new GodelError({ code: 'REALM_MISMATCH', expected: member.realm().id, actual: id })
  }

  const inTurn = <T>(entry: Known, work: () => Promise<T>): Promise<T> => {
    const done = entry.taking.then(work)
    entry.taking = done.catch(() => {})
    return done
  }

  const becomes = (entry: Known, next: Realm): void => {
    const before = entry.realm?.trustHash
    entry.realm = withRevocations(next, entry.revocations.entries())
    if (entry.realm.trustHash !== before) changed(next.id)
  }

  const takeChain = async (entry: Known, chain: readonly string[], { id, minVersion }: Named): Promise<void> => {
    if (chain.at(-1) === entry.realm?.chain.at(-1)) return
    const other = await verifyChain(chain, id)
    if (other.document.version < minVersion)
      throw new GodelError({
        code: 'REALM_DOCUMENT_INVALID',
        reason: `version ${other.document.version} is older than ${minVersion}, with which the realm was named`,
      })
    const { stands, alarm } = entry.realm ? newerRealm(entry.realm, other) : { stands: other, alarm: false }
    if (alarm)
      log.error('another realm has two documents of one version: its root key was used twice, or by somebody else', {
        realm: id,
        version: other.document.version,
      })
    if (stands.headHash === entry.realm?.headHash) return
    await store.commit([{ space: SPACE, key: id, value: encode(stands.chain) }])
    await entry.revocations.keep([], revokers(stands.document))
    becomes(entry, stands)
  }

  const hearFrom = async (entry: Known, peer: string, id: string): Promise<void> => {
    let after: string | undefined
    const entriesMax = revokers(mustKnow(id).document).length * limits.revocationsPerIssuerMax
    for (let pages = 0; pages <= entriesMax / limits.revocationsPerPage; pages++) {
      const request = { realm: id, ...(after !== undefined && { after }) }
      const page = await net.rpc.call(peer, realmRevocations, request, { timeoutMs: limits.syncTimeoutMs })
      const fresh: Revocation[] = []
      for (const text of page.entries) fresh.push(await readRevocation(text, id))
      await inTurn(entry, async () => {
        const realm = mustKnow(id)
        if ((await entry.revocations.keep(fresh, revokers(realm.document))) > 0) becomes(entry, realm)
      })
      if (!page.more || page.last === undefined || (after !== undefined && page.last <= after)) return
      after = page.last
    }
  }

  const learn = async (entry: Known, peer: string, head: RealmHead): Promise<void> => {
    const id = head.realm
    const { version = 0 } = entry.realm?.document ?? {}
    const before = entry.realm?.headHash
    if (head.version >= version && head.hash !== before && patience.has(peer)) {
      const { chain } = await net.rpc.call(peer, realmDocument, { realm: id }, { timeoutMs: limits.syncTimeoutMs })
      await inTurn(entry, () => takeChain(entry, chain, mustName(id)))
      if (entry.realm?.headHash === before) patience.wasEmpty(peer)
    }
    if (entry.realm && head.revocations !== undefined && head.revocations !== entry.revocations.hash())
      await hearFrom(entry, peer, id)
  }

  for (const { id } of member.realm().document.realms) {
    await open(id).catch((error: unknown) =>
      log.warn('what is stored of another realm could not be read', { realm: id, error: reasonOf(error) }),
    )
  }

  const off = member.onChange((now, before) => {
    const told = ({ document }: Realm, id: string) =>
      JSON.stringify([document.realms.find((one) => one.id === id), document.grants.find((one) => one.realm === id)])
    const ids = new Set([...now.document.realms, ...before.document.realms].map(({ id }) => id))
    for (const id of ids) if (told(now, id) !== told(before, id)) changed(id)
  })

  return {
    named,
    all: () => member.realm().document.realms.map(({ id }) => mustName(id)),
    realm: (id) => (named(id) ? known.get(id)?.realm : undefined),
    async learnFrom(peer, head) {
      mustName(head.realm)
      const entry = await open(head.realm)
      await latest(`${head.realm}/${peer}`, () => learn(entry, peer, head))
    },
    async verify(id, certificate, peer) {
      mustName(id)
      const { certificates } = await open(id)
      return certificates.verify(certificate, peer)
    },
    onChange(fn) {
      listeners.add(fn)
      return () => void listeners.delete(fn)
    },
    close: off,
  }
}

const storedChain = (bytes: Uint8Array): string[] => parseStoredChain(decode(bytes, 'a stored realm'))
