/** The governing part of a node for the API to speak for: one other realm, pins, revocations, all in memory. */
import type { NodeServices } from '../../src/api/services.ts'
import { GodelError } from '../../src/base/errors.ts'
import type { ForeignRealm, Pin, RevocationReport } from '../../src/base/federation.ts'

const otherRealm: ForeignRealm = {
  id: 'cd'.repeat(32),
  name: 'plant\u001b[31m',
  scopes: [],
  agentsPerNode: 0,
  out: false,
  peers: 0,
}

/** The realm and the pins of a node that holds a root key. What is done is kept as a line of `changes`. */
export const createFakeGovernance = ({
  self,
  other,
  changes,
}: {
  self: string
  other: string
  changes: string[]
}): Pick<NodeServices, 'peerOf' | 'governance' | 'pins'> => {
  const revoked: RevocationReport[] = []
  const pinned: Pin[] = []
  let realms: ForeignRealm[] = []
  const named = (id: string): ForeignRealm => {
    const found = realms.find((each) => each.id === id || each.name === id)
    if (found === undefined) throw new GodelError({ code: 'NOT_FOUND', what: 'realm', id })
    return found
  }
  return {
    peerOf(node) {
      if (node === 'two') return other
      if (node === 'one') return self
      if (node.startsWith('12D3KooW')) return node
      throw new GodelError({ code: 'NOT_FOUND', what: 'node', id: node })
    },
    governance: {
      async promote(peer, roles) {
        changes.push(`promote ${peer} ${roles.join()}`)
      },
      async demote(peer) {
        changes.push(`demote ${peer}`)
      },
      async revoke(peer) {
        if (peer === self) throw new GodelError({ code: 'CONFLICT', what: 'revoking', reason: 'it is this node' })
        changes.push(`revoke ${peer}`)
        revoked.push({ peer, by: self, sinceMs: 1_800_000_000_000 })
      },
      async lift(peer) {
        const at = revoked.findIndex((each) => each.peer === peer)
        if (at === -1) throw new GodelError({ code: 'NOT_FOUND', what: 'revocation of', id: peer })
        changes.push(`lift ${peer}`)
        revoked.splice(at, 1)
      },
      revocations: () => revoked,
      async rotateRoot() {
        changes.push('rotate-root')
        return { roots: ['new-root'] }
      },
      card: async () => 'GDR1.card',
      async trust(card, { out }) {
        if (!card.startsWith('GDR1.'))
          throw new GodelError({ code: 'INVALID_ARGUMENT', field: 'the card', reason: 'does not begin with GDR1.' })
        changes.push(`trust ${card} ${out}`)
        realms = [{ ...otherRealm, out }]
        return realms[0]!
      },
      async share(id, grant) {
        const next = { ...named(id), scopes: [...grant.scopes], agentsPerNode: grant.agentsPerNode }
        changes.push(`share ${grant.scopes.join()} ${grant.agentsPerNode}`)
        realms = [next]
        return next
      },
      async withdraw(id) {
        named(id)
        changes.push('withdraw')
        realms = []
      },
      foreignRealms: () => realms,
    },
    pins: {
      async register({ scopes, addresses, name, ...rest }) {
        const pin = {
          ...rest,
          ...(name !== undefined && { name }),
          scopes: [...scopes],
          addresses: [...addresses],
          connected: false,
        }
        changes.push(`register ${pin.peer}`)
        pinned.push(pin)
        return pin
      },
      async unregister(peer) {
        const at = pinned.findIndex((each) => each.peer === peer)
        if (at === -1) throw new GodelError({ code: 'NOT_FOUND', what: 'pin of', id: peer })
        changes.push(`unregister ${peer}`)
        pinned.splice(at, 1)
      },
      list: () => pinned,
    },
  }
}
