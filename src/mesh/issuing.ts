/** The issuer's side: invitations, their redemption, and new certificates for members whose own run out. */
import type { Clock } from '../base/clock.ts'
import { GodelError, hasCode } from '../base/errors.ts'
import type { Limits } from '../base/limits.ts'
import type { Log } from '../base/log.ts'
import type { Refusals } from '../base/refusals.ts'
import { issueCertificate, type Membership } from '../identity/certificate.ts'
import { issueJoinToken, readJoinToken } from '../identity/join-token.ts'
import type { NodeKey } from '../identity/node-key.ts'
import { issuersOf, type Seed } from '../identity/realm-document.ts'
import type { Role } from '../base/standing.ts'
import { createTokenUses } from '../identity/token-uses.ts'
import type { Store } from '../store/store.ts'
import type { Credentials, Member } from './membership.ts'
import { issuerQuestion } from './notes.ts'

export interface Issuing {
  /** A token whose seeds are this node first and then `others`. FORBIDDEN, INVALID_ARGUMENT, QUEUE_FULL. */
  invite(invitation: { uses: number; ttlMs: number; role: Role }, seeds: Seed[]): Promise<string>
  /** Lets the bearer of a token in. TOKEN_INVALID, TOKEN_EXPIRED, TOKEN_USED_UP, REALM_MISMATCH, FORBIDDEN, CERTIFICATE_INVALID. */
  redeem(text: string, peer: string): Promise<Credentials>
  /** The next certificate of a member, with the role that it has. */
  renew(membership: Membership): Promise<string>
}

export const createIssuing = (deps: {
  key: NodeKey
  member: Member
  store: Store
  clock: Clock
  log: Log
  refusals: Refusals
  limits: Limits
}): Issuing => {
  const { key, member, store, clock, log, refusals, limits } = deps
  const uses = createTokenUses({ store, peer: key.peer, limits })

  const mustGrant = (role: Role, action: string): void => {
    if (member.grants().includes(role)) return
    const names = issuersOf(member.realm(), role).join(', ')
    throw new GodelError({
      code: 'FORBIDDEN',
      action,
      reason: `this node is no issuer of the realm for the role ${role}; ${names === '' ? 'nobody is' : `an issuer is ${names}`}`,
    })
  }

  const mustNotBeRevoked = (peer: string): void => {
    if (member.realm().revoked.has(peer))
      throw new GodelError({ code: 'CERTIFICATE_INVALID', peer, reason: 'the peer has been revoked' })
  }

  const issue = (peer: string, role: Role): Promise<string> => {
    const grant = { issuer: key, realm: member.realm().id, peer, role }
    return issueCertificate({ ...grant, wallMs: clock.wallMs(), ttlMs: limits.certificateTtlMs })
  }

  const redeem = async (text: string, peer: string): Promise<Credentials> => {
    const token = await readJoinToken(text)
    const realm = member.realm()
    if (token.realm !== realm.id)
      throw new GodelError({ code: 'REALM_MISMATCH', expected: token.realm, actual: realm.id })
    mustGrant(token.role, 'letting a newcomer in')
    mustNotBeRevoked(peer)
    const { first } = await uses.redeem(token, peer, clock.wallMs())
    const certificate = await issue(peer, token.role)
    if (first) log.info('let a newcomer in', { peer, role: token.role, token: token.tokenId })
    const question = token.role === 'admin' ? issuerQuestion(realm, [peer]) : undefined
    if (first && question !== undefined) log.warn('a second admin has joined', { peer, question })
    return { certificate, chain: realm.chain }
  }

  return {
    async invite({ uses: count, ttlMs, role }, seeds) {
      mustGrant(role, `inviting with the role ${role}`)
      const invitation = { issuer: key, realm: member.realm(), role, uses: count, ttlMs, wallMs: clock.wallMs() }
      const text = await issueWithin(limits.tokenBytesMax, seeds.slice(0, limits.tokenSeedsMax), (some) =>
        issueJoinToken({ ...invitation, seeds: some }),
      )
      await uses.register(await readJoinToken(text), clock.wallMs())
      return text
    },
    async redeem(text, peer) {
      try {
        return await redeem(text, peer)
      } catch (error) {
        refusals.note('refused a join', peer, error)
        throw error
      }
    },
    async renew({ peer, role }) {
      mustGrant(role, 'renewing a certificate')
      mustNotBeRevoked(peer)
      return issue(peer, role)
    },
  }
}

/** Seeds beside the issuer are a convenience: they give way when the token would grow too long. */
const issueWithin = async (
  bytesMax: number,
  seeds: Seed[],
  make: (seeds: Seed[]) => Promise<string>,
): Promise<string> => {
  for (let count = seeds.length; ; count--) {
    try {
      const text = await make(seeds.slice(0, count))
      if (text.length <= bytesMax || count <= 1) return text
    } catch (error) {
      if (!hasCode(error, 'TOKEN_INVALID') || count <= 1) throw error
    }
  }
}
