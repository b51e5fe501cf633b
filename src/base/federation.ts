/** Other realms, and single nodes without one, as this node's operator sees them: what the API gives and takes. */
import { Type, type Static } from 'typebox'
import { NameSchema, PeerIdSchema } from './advertisement.ts'
import { limits } from './limits.ts'
import { Count } from './schema.ts'
import { RoleSchema, ScopesSchema } from './standing.ts'

export const RealmIdSchema = Type.String({ pattern: '^[0-9a-f]{64}$' })

/** Another realm that this realm's document names. */
export const ForeignRealmSchema = Type.Object({
  id: RealmIdSchema,
  name: NameSchema,
  /** What its nodes may do here; none where it is only trusted with agents of this realm. */
  scopes: ScopesSchema,
  agentsPerNode: Count(limits.capacityMax),
  /** Agents of this realm may go there. */
  out: Type.Boolean(),
  /** Nodes of it that this node knows at the moment. */
  peers: Count(),
})
export type ForeignRealm = Static<typeof ForeignRealmSchema>

/** A node that this one has pinned by its PeerId; this node's own, and never told to others. */
export const PinSchema = Type.Object({
  peer: PeerIdSchema,
  name: Type.Optional(NameSchema),
  addresses: Type.Array(Type.String({ maxLength: 255 }), { maxItems: 8 }),
  scopes: ScopesSchema,
  agentsPerNode: Count(limits.capacityMax),
  /** The realm that it turned out to belong to: then its address and name are kept, and it has no further rights by the pin. */
  realm: Type.Optional(Type.String()),
  connected: Type.Boolean(),
})
export type Pin = Static<typeof PinSchema>

/** A peer that is out until lifted. */
export const RevocationReportSchema = Type.Object({
  peer: PeerIdSchema,
  /** The issuer that said so, or `root` where the realm's document does. */
  by: Type.String(),
  /** Where the peer is an issuer: what it issued from then on is void. Unix milliseconds. */
  sinceMs: Count(),
})
export type RevocationReport = Static<typeof RevocationReportSchema>

/** Who may admit, and for which roles. */
export const IssuerReportSchema = Type.Object({
  peer: PeerIdSchema,
  /** Where it is known. */
  name: Type.Optional(Type.String()),
  roles: Type.Array(RoleSchema),
})
export type IssuerReport = Static<typeof IssuerReportSchema>
