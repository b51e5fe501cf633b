/** What an operator should hear about the realm as this node sees it, in sentences. Pure. */
import { membershipFault, type Membership } from '../identity/certificate.ts'
import { issuersOf, type Realm } from '../identity/realm-document.ts'

export const notesOf = (facts: {
  realm: Realm
  membership: Membership
  wallMs: number
  /** Since when no issuer could be reached for a new certificate, on the wall clock. */
  renewalFailingSinceMs: number | undefined
  /** The admins of the realm that are known to be up. */
  admins: readonly string[]
  /** Peers that refuse this node's certificate, with their reasons, the latest last. */
  refusedBy: ReadonlyMap<string, string>
}): string[] => {
  const { realm, membership, wallMs, renewalFailingSinceMs, admins, refusedBy } = facts
  const notes: string[] = []
  const fault = membershipFault(membership, { peer: membership.peer, realm, wallMs })
  const end = new Date(membership.expiresAtMs).toISOString()
  if (fault !== undefined) notes.push(`The certificate of this node does not hold: ${fault}. No member talks to it.`)
  else if (renewalFailingSinceMs !== undefined)
    notes.push(
      `The certificate of this node ends at ${end}, and no issuer (${issuersOf(realm, membership.role).join(', ')}) has given a new one since ${new Date(renewalFailingSinceMs).toISOString()}.`,
    )
  const refusal = [...refusedBy].at(-1)
  if (fault === undefined && refusal)
    notes.push(`The certificate of this node is refused by ${refusedBy.size}; ${refusal[0]} says: ${refusal[1]}.`)
  const question = issuerQuestion(realm, admins)
  if (question !== undefined) notes.push(question)
  return notes
}

/** The question whether an admin should be an issuer too, in a realm with one issuer. */
export const issuerQuestion = (realm: Realm, admins: readonly string[]): string | undefined => {
  const issuers = issuersOf(realm, 'admin')
  const other = admins.toSorted().find((peer) => !issuers.includes(peer))
  if (issuers.length !== 1 || other === undefined) return undefined
  return `Should ${other} be an issuer too? The realm has one issuer for all roles, and would end with the life of its certificates if that slept: godel-node realm promote ${other} --role admin --role member --role observer`
}
