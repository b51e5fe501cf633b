/**
 * Who a peer is to this node, and what that lets it do. A member has a role in the realm of this node. A guest belongs to
 * another realm, or to none: it has the scopes that this realm's document, or this node's own pin, grants, and nothing else.
 */
import { Type, type Static } from 'typebox'
import { OneOf } from './schema.ts'

export const RoleSchema = OneOf(['admin', 'member', 'observer'])
/** `admin` acts on everything, `member` spawns and acts on its own, `observer` reads. */
export type Role = Static<typeof RoleSchema>

export const ScopeSchema = OneOf(['capacity', 'exec', 'migrate'])
/** What a guest may do: hear what is shared of the capacity, run agents and commands, bring agents over. */
export type Scope = Static<typeof ScopeSchema>
export const ScopesSchema = Type.Array(ScopeSchema, { maxItems: 3, uniqueItems: true })

export interface MemberStanding {
  readonly kind: 'member'
  readonly role: Role
}

export interface GuestStanding {
  readonly kind: 'guest'
  /** How it came in: by the documents of two realms, or by a pin of its PeerId on both sides. */
  readonly by: 'realm' | 'pin'
  /** The id of its realm; undefined for a pinned node, whose realm does not matter. */
  readonly realm: string | undefined
  /** Its role in its own realm, where its certificate was seen; undefined for a pinned node. */
  readonly role?: Role
  /** What it may do here; none for a peer that this side only sends agents to. */
  readonly scopes: readonly Scope[]
  /** How many agents of its realm (of the node, where it is pinned) one node here takes. */
  readonly agentsPerNode: number
}

export type Standing = MemberStanding | GuestStanding

/**
 * Who may call a method: `anyone` who has a connection, or members from a role upwards. Guests may not, unless the row says
 * which scope they need (`guests`), where `any` asks for none.
 */
export type Access = 'anyone' | Role

const rank: Record<Role, number> = { observer: 0, member: 1, admin: 2 }

export const hasRole = (role: Role, atLeast: Role): boolean => rank[role] >= rank[atLeast]

/** Why a peer may not call a method, in words that follow "is not allowed:"; undefined where it may. */
export const callFault = (
  row: { readonly access: Access; readonly guests?: Scope | 'any' | undefined },
  standing: Standing,
): string | undefined => {
  if (row.access === 'anyone') return undefined
  if (standing.kind === 'member')
    return hasRole(standing.role, row.access)
      ? undefined
      : `it takes the role ${row.access}, and the caller is ${standing.role}`
  if (row.guests === undefined) return 'it is for members of the realm, and the caller is a guest'
  if (row.guests === 'any' || standing.scopes.includes(row.guests)) return undefined
  return `the caller's grant does not cover the scope ${row.guests}`
}
