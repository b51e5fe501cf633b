/** Changes of the realm document made here, one after the other: signed with the root key, learned, and told to the realm. */
import type { Clock } from '../base/clock.ts'
import { GodelError, reasonOf } from '../base/errors.ts'
import { limits } from '../base/limits.ts'
import type { Log } from '../base/log.ts'
import {
  amendRealm,
  changesNothing,
  fillOf,
  type Realm,
  type RealmChange,
  type RealmDocument,
} from '../identity/realm-document.ts'
import type { RootKeys } from '../identity/root-keys.ts'
import type { Member } from './membership.ts'

export interface Amendments {
  /**
   * Makes the next version of the document, unless `change` gives undefined or nothing new: then all stays. It is durable here when this
   * resolves. `action` names it in a refusal: FORBIDDEN without a root key, CONFLICT where another change came between,
   * INVALID_ARGUMENT, REALM_FULL, and what `change` throws.
   */
  amend(action: string, change: (document: RealmDocument) => RealmChange | undefined): Promise<Realm>
  /** Whether a root key of the realm is here. */
  isRoot(): Promise<boolean>
}

export const createAmendments = (deps: {
  member: Member
  roots: RootKeys | undefined
  clock: Clock
  log: Log
  /** Tells the realm that there is a newer document. */
  tell: () => Promise<void>
}): Amendments => {
  const { member, roots, clock, log, tell } = deps
  let queue: Promise<unknown> = Promise.resolve()
  const held = async () => roots?.held(member.realm().document.roots)

  const amend: Amendments['amend'] = async (action, change) => {
    const key = await held()
    if (!key) throw noRoot(action, member.realm())
    const realm = member.realm()
    const wanted = change(realm.document)
    if (wanted === undefined || changesNothing(realm.document, wanted)) return realm
    const wallMs = clock.wallMs()
    const issuers = (wanted.issuers ?? realm.document.issuers).filter(
      ({ untilMs = Infinity }) => untilMs + limits.certificateTtlMsMax > wallMs, // later nothing of a former issuer holds
    )
    const amended = await amendRealm(realm, key, { ...wanted, issuers }, wallMs)
    await member.learn(amended.chain)
    if (member.realm().headHash !== amended.headHash)
      throw new GodelError({
        code: 'CONFLICT',
        what: action,
        reason: 'the realm was changed elsewhere at the same time',
      })
    log.info('changed the realm', { action, version: amended.document.version })
    if (fillOf(amended) >= limits.realmDocumentFullShare)
      log.warn('the realm is filling up: take out what is no longer needed, and change its roots seldom', {
        filled: Number(fillOf(amended).toFixed(2)),
      })
    await tell().catch((error: unknown) => log.warn('a change of the realm was not told', { error: reasonOf(error) }))
    return member.realm()
  }

  return {
    isRoot: async () => (await held()) !== undefined,
    amend(action, change) {
      const done = queue.then(() => amend(action, change))
      queue = done.catch(() => {})
      return done
    },
  }
}

const noRoot = (action: string, { document }: Realm) =>
  new GodelError({
    code: 'FORBIDDEN',
    action,
    reason: `this node holds no root key of the realm; the node that founded it does (its first issuer is ${document.issuers[0]?.peer ?? 'nobody'})`,
  })
