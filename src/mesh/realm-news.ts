/** News of the realm itself as gossip brings them: entries about who is out, and heads of documents, which are fetched. */
import { GodelError } from '../base/errors.ts'
import { revokers, readRevocation } from '../identity/revocation.ts'
import type { RealmNews } from './gossip.ts'
import type { Member } from './membership.ts'
import type { RealmHead } from './methods.ts'

export const createRealmNews = (deps: {
  member: Member
  /** Fetches what a peer's head says that it has and this node has not. */
  learnFrom: (peer: string, head: RealmHead) => Promise<void>
}): RealmNews => {
  const { member, learnFrom } = deps
  const underWay = new Map<string, Promise<void>>()

  /** One fetch from a peer at a time, whatever it says meanwhile. */
  const fetchOnce = (peer: string, head: RealmHead): Promise<void> => {
    let running = underWay.get(peer)
    if (!running) {
      running = learnFrom(peer, head).finally(() => underWay.delete(peer))
      underWay.set(peer, running)
    }
    return running
  }

  return {
    async revocation(jws) {
      const { id, document } = member.realm()
      const { issuer, peer, hash } = await readRevocation(jws, id)
      if (!revokers(document).includes(issuer))
        throw new GodelError({
          code: 'FORBIDDEN',
          action: 'revoking a peer',
          reason: `${issuer} is no issuer of the realm`,
        })
      if (member.revocations.of(issuer, peer)?.hash === hash) return 'known'
      return (await member.hear([jws])) > 0 ? 'news' : 'stale'
    },
    async head(head, from) {
      if (head.realm !== member.realm().id)
        throw new GodelError({ code: 'REALM_MISMATCH', expected: member.realm().id, actual: head.realm })
      if (head.hash === member.realm().headHash) return 'known'
      if (head.version < member.realm().document.version) return 'stale'
      await fetchOnce(from, head)
      return head.hash === member.realm().headHash ? 'news' : 'stale'
    },
  }
}
