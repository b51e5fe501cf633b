/** News of the realm itself as gossip brings them: entries about who is out, and heads of documents, which are fetched. */
import type { Clock } from '../base/clock.ts'
import { GodelError } from '../base/errors.ts'
import type { Limits } from '../base/limits.ts'
import { revokers, readRevocation } from '../identity/revocation.ts'
import type { RealmNews } from './gossip.ts'
import { createPatience } from './head-patience.ts'
import type { Member } from './membership.ts'
import type { RealmHead } from './methods.ts'

export const createRealmNews = (deps: {
  member: Member
  clock: Clock
  limits: Pick<Limits, 'headPatienceMs' | 'connectionsMax'>
  /** Fetches what a peer's head says that it has and this node has not. */
  learnFrom: (peer: string, head: RealmHead) => Promise<void>
}): RealmNews => {
  const { member, clock, limits, learnFrom } = deps
  const underWay = new Map<string, Promise<void>>()
  const patience = createPatience({ clock, limits })

  /** One fetch from a peer at a time; what was said meanwhile may be newer than what that one brings, so another follows. */
  const fetchOnce = async (peer: string, head: RealmHead): Promise<void> => {
    const running = underWay.get(peer)
    await running
    if (running && head.version <= member.realm().document.version) return
    let own = underWay.get(peer)
    if (!own) {
      own = learnFrom(peer, head).finally(() => underWay.delete(peer))
      underWay.set(peer, own)
    }
    await own
  }

  return {
    async revocation(jws) {
      const { id, document } = member.realm()
      const { issuer, peer, hash } = await readRevocation(jws, id, revokers(document))
      if (member.revocations.of(issuer, peer)?.hash === hash) return 'known'
      return (await member.hear([jws])) > 0 ? 'news' : 'stale'
    },
    async head(head, from) {
      if (head.realm !== member.realm().id)
        throw new GodelError({ code: 'REALM_MISMATCH', expected: member.realm().id, actual: head.realm })
      if (head.hash === member.realm().headHash) return 'known'
      if (head.version < member.realm().document.version) return 'stale'
      if (!patience.has(from)) return 'stale'
      const before = member.realm().headHash
      try {
        await fetchOnce(from, head)
      } finally {
        if (member.realm().headHash === before) patience.wasEmpty(from)
      }
      return head.hash === member.realm().headHash ? 'news' : 'stale'
    },
  }
}
