/** What an operator changes about the realm. Changes of the document take a root key; a revocation takes an issuer. */
import type { ForeignRealm, RevocationReport } from '../base/federation.ts'
import type { Role, Scope } from '../base/standing.ts'

export interface Governance {
  /** Makes a member an issuer for some roles. FORBIDDEN without a root key, NOT_FOUND for a peer that is not known. */
  promote(peer: string, roles: readonly Role[]): Promise<void>
  demote(peer: string): Promise<void>
  /** Puts a peer out, at once and until lifted. FORBIDDEN where this node is no issuer, CONFLICT for itself. */
  revoke(peer: string, options?: { sinceMs?: number }): Promise<void>
  /** Takes a revocation back. NOT_FOUND without one, FORBIDDEN where it was another issuer's and no root key is here. */
  lift(peer: string): Promise<void>
  revocations(): RevocationReport[]
  /** Puts a new root key in the place of this node's. The roots from then on, in base64url. */
  rotateRoot(): Promise<{ roots: string[] }>
  /** `GDR1.…`: the chain of this realm and addresses of it, for the operator of another realm. */
  card(): Promise<string>
  /** Names another realm in the document by its card, so that its nodes may show themselves; `out` lets agents of this realm go there. */
  trust(card: string, options: { out: boolean }): Promise<ForeignRealm>
  /** Grants a named realm (id or name) scopes here. NOT_FOUND. */
  share(realm: string, grant: { scopes: readonly Scope[]; agentsPerNode: number }): Promise<ForeignRealm>
  /** Ends everything with a realm (id or name): its grant and its name. NOT_FOUND. */
  withdraw(realm: string): Promise<void>
  foreignRealms(): ForeignRealm[]
}
