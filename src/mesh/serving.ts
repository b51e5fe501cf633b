/** The handlers of what peers ask about the realm and about this node. Those of view sync are in sync.ts. */
import { GodelError } from '../base/errors.ts'
import { bind, type BoundMethod } from '../net/method.ts'
import type { Refusals } from '../base/refusals.ts'
import type { Accept } from './accept.ts'
import type { Advertiser } from './advertiser.ts'
import type { Gossip } from './gossip.ts'
import type { Issuing } from './issuing.ts'
import type { Member } from './membership.ts'
import {
  nodeHeartbeat,
  nodeLeft,
  realmDocument,
  realmJoin,
  realmPresent,
  realmRenew,
  realmRevocations,
} from './methods.ts'
import type { Trust } from './trust.ts'
import type { MeshView } from './view.ts'

export const meshMethods = (parts: {
  issuing: Issuing
  trust: Trust
  member: Member
  accept: Accept
  advertiser: Advertiser
  gossip: Gossip
  view: MeshView
  refusals: Refusals
  /** A peer has spoken against which something may stand: it is to hear of that. */
  onHeard: (peer: string) => void
}): BoundMethod[] => {
  const { issuing, trust, member, accept, advertiser, gossip, view, refusals, onHeard } = parts
  return [
    bind(realmJoin, async ({ token }, { peer }) => {
      const { certificate, chain } = await issuing.redeem(token, peer)
      trust.extend(peer)
      return { certificate, chain: [...chain] }
    }),
    bind(realmPresent, (shown, { peer }) => trust.presented(peer, shown)),
    bind(realmDocument, ({ realm }) => {
      const { id, chain } = member.realm()
      if (realm !== id) throw new GodelError({ code: 'REALM_MISMATCH', expected: realm, actual: id })
      return { chain: [...chain] }
    }),
    bind(realmRevocations, ({ realm, after }) => {
      const { id } = member.realm()
      if (realm !== id) throw new GodelError({ code: 'REALM_MISMATCH', expected: realm, actual: id })
      return member.revocations.page(after)
    }),
    bind(realmRenew, async (_, { peer }) => {
      const membership = trust.membershipOf(peer)
      if (!membership) throw new GodelError({ code: 'NOT_A_MEMBER', peer, reason: 'it has shown no certificate' })
      return { certificate: await issuing.renew(membership) }
    }),
    bind(nodeHeartbeat, async ({ accusations = [] }, { peer }) => {
      for (const { envelope, ageMs } of accusations)
        await accept
          .accusation(envelope, ageMs)
          .catch((error: unknown) => refusals.note('refused an accusation', peer, error))
      onHeard(peer)
      const held = view.record(peer)?.ad
      const yours = held && { yours: { incarnation: held.incarnation, sequence: held.sequence } }
      return { ...(await advertiser.sealed()), ...yours }
    }),
    bind(nodeLeft, async ({ envelope }) => {
      // Passed on as well: the one who leaves may be gone before gossip has taken its word to everybody.
      if ((await accept.ad(envelope, 0)) === 'news') await gossip.publish('ad', envelope)
      return {}
    }),
  ]
}
