/** What an operator says about other realms: all of it is in the realm document, so that it holds for every node of the realm. */
import { GodelError } from '../base/errors.ts'
import type { ForeignRealm } from '../base/federation.ts'
import type { Limits } from '../base/limits.ts'
import { readRealmCard, writeRealmCard } from '../identity/realm-card.ts'
import type { RealmDocument, Seed } from '../identity/realm-document.ts'
import type { Amendments } from './amendments.ts'
import type { Foreign } from './foreign.ts'
import type { Governance } from './governance.ts'
import type { Member } from './membership.ts'

export type ForeignGovernance = Pick<Governance, 'card' | 'trust' | 'share' | 'withdraw' | 'foreignRealms'>

export const createForeignGovernance = (deps: {
  member: Pick<Member, 'realm'>
  amendments: Pick<Amendments, 'amend'>
  foreign: Foreign
  seeds: () => Seed[]
  /** Nodes of a realm that are known at the moment. */
  peersOf: (realm: string) => number
  limits: Pick<Limits, 'foreignRealmsMax'>
}): ForeignGovernance => {
  const { member, amendments, foreign, seeds, peersOf, limits } = deps
  const { amend } = amendments

  const shown = (id: string): ForeignRealm => {
    const named = foreign.named(id)
    if (!named) throw new GodelError({ code: 'NOT_FOUND', what: 'realm', id })
    const { name, scopes, agentsPerNode, out } = named
    return { id, name, scopes: [...scopes], agentsPerNode, out, peers: peersOf(id) }
  }

  return {
    card: async () => writeRealmCard(member.realm(), seeds()),
    async trust(card, { out }) {
      const { realm, seeds: theirs } = await readRealmCard(card)
      const { id, name, document } = realm
      if (id === member.realm().id)
        throw new GodelError({
          code: 'CONFLICT',
          what: 'naming a realm',
          reason: 'it is the card of this realm itself',
        })
      if (document.settings['standalone'] === true)
        throw new GodelError({
          code: 'INVALID_ARGUMENT',
          field: 'card',
          reason: 'it is of a node without a realm; pin that by its PeerId instead',
        })
      await amend('naming another realm', ({ realms }) => {
        const before = realms.find((one) => one.id === id)
        if (!before && realms.length >= limits.foreignRealmsMax)
          throw new GodelError({ code: 'QUEUE_FULL', what: 'the list of other realms', limit: limits.foreignRealmsMax })
        const minVersion = Math.max(document.version, before?.minVersion ?? 1)
        const entry = { id, name, roots: [...document.roots], minVersion, seeds: [...theirs], out }
        if (JSON.stringify(before) === JSON.stringify(entry)) return undefined
        return { realms: before ? realms.map((one) => (one === before ? entry : one)) : [...realms, entry] }
      })
      return shown(id)
    },
    async share(realm, { scopes, agentsPerNode }) {
      let id = ''
      await amend('sharing with another realm', (document) => {
        id = idOf(document, realm)
        const grant = { realm: id, scopes: [...new Set(scopes)], agentsPerNode }
        return { grants: [...document.grants.filter((one) => one.realm !== id), grant] }
      })
      return shown(id)
    },
    async withdraw(realm) {
      await amend('withdrawing from another realm', (document) => {
        const id = idOf(document, realm)
        return {
          realms: document.realms.filter((one) => one.id !== id),
          grants: document.grants.filter((one) => one.realm !== id),
        }
      })
    },
    foreignRealms: () => member.realm().document.realms.map(({ id }) => shown(id)),
  }
}

/** By id or name; NOT_FOUND, CONFLICT where two bear the name. */
const idOf = ({ realms }: RealmDocument, wanted: string): string => {
  const found = realms.filter(({ id, name }) => id === wanted || name === wanted)
  const exact = found.find(({ id }) => id === wanted)
  if (exact) return exact.id
  if (found.length === 0) throw new GodelError({ code: 'NOT_FOUND', what: 'realm', id: wanted })
  if (found.length > 1)
    throw new GodelError({
      code: 'CONFLICT',
      what: `the name ${wanted}`,
      reason: `${found.length} realms bear it: ${found.map(({ id }) => id).join(', ')}; say which by its id`,
    })
  return found[0]!.id
}

/** Whatever is asked of the governance of a node without a realm. */
export const noGovernance = (): Governance => {
  const required = (action: string) => (): never => {
    throw new GodelError({ code: 'REALM_REQUIRED', action })
  }
  return {
    promote: async () => required('promoting an issuer')(),
    demote: async () => required('demoting an issuer')(),
    revoke: async () => required('revoking a peer')(),
    lift: async () => required('lifting a revocation')(),
    revocations: required('listing revocations'),
    rotateRoot: async () => required('rotating the root key')(),
    card: async () => required('the card of a realm')(),
    trust: async () => required('naming another realm')(),
    share: async () => required('sharing with another realm')(),
    withdraw: async () => required('withdrawing from another realm')(),
    foreignRealms: required('listing other realms'),
  }
}
