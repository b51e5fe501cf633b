/** What a node says about itself and its realm over the API: the shapes that the API gives and that the SDK and CLI show. */
import { Type, type Static } from 'typebox'
import {
  CapabilitySchema,
  CapacitySchema,
  CostSchema,
  GpuSchema,
  IsolationSchema,
  LabelsSchema,
  NodeStatusSchema,
  NodeTraitsSchema,
  PeerIdSchema,
  RuntimeSchema,
} from './advertisement.ts'
import { limits } from './limits.ts'
import { Count, OneOf } from './schema.ts'
import { RoleSchema } from './standing.ts'

/** `live`: the process answers. `ready`: it takes work. */
export const HealthSchema = Type.Object({
  live: Type.Literal(true),
  ready: Type.Boolean(),
  status: OneOf(['starting', 'ok', 'stopping']),
})
export type Health = Static<typeof HealthSchema>

export const RealmNameSchema = Type.Object({ id: Type.String(), name: Type.String() })

export const IdentityReportSchema = Type.Object({
  peer: PeerIdSchema,
  name: Type.String(),
  realm: Type.Union([RealmNameSchema, Type.Null()]),
  version: Type.String(),
})
export type IdentityReport = Static<typeof IdentityReportSchema>

/** How far this node can trust its own judgement of others: `slow` accuses nobody (`loop-lag`) or tells nobody (`cut-off`). */
export const DetectorReportSchema = Type.Object({
  health: Count(),
  slow: Type.Boolean(),
  why: Type.Optional(OneOf(['loop-lag', 'cut-off'])),
  watched: Count(),
})

/** Why a peer counts as suspect or down: who says so and what it met, or nobody, where its word has expired. */
export const VerdictReportSchema = Type.Object({
  reason: OneOf(['accused', 'expired']),
  accusers: Type.Array(PeerIdSchema),
  evidence: Type.Record(Type.String(), OneOf(['refused', 'reset', 'unreachable', 'no-answer'])),
  sinceMs: Count(),
})

export const NodeStatusReportSchema = Type.Object({
  peer: PeerIdSchema,
  name: Type.String(),
  version: Type.String(),
  realm: Type.Union([RealmNameSchema, Type.Null()]),
  role: Type.Optional(RoleSchema),
  startedAtMs: Count(),
  dataDir: Type.String(),
  api: Type.String(),
  listen: Type.Array(Type.String()),
  capacity: CapacitySchema,
  traits: NodeTraitsSchema,
  /** How many peers of the realm are in each state, this node left out. */
  peers: Type.Object({ alive: Count(), suspect: Count(), down: Count(), left: Count(), recovering: Count() }),
  detector: DetectorReportSchema,
  agents: Type.Object({ running: Count() }),
  isolation: Type.Object({ level: IsolationSchema, reason: Type.Optional(Type.String()) }),
})
export type NodeStatusReport = Static<typeof NodeStatusReportSchema>

export const PeerReportSchema = Type.Object({
  peer: PeerIdSchema,
  name: Type.String(),
  /** `recovering`: it was down and is back, and is not chosen yet. */
  state: OneOf(['alive', 'suspect', 'down', 'left', 'recovering']),
  verdict: Type.Optional(VerdictReportSchema),
  /** The way to a peer that this node watches: `indirect` where it answers others and not this node. */
  link: Type.Optional(OneOf(['direct', 'indirect'])),
  /** Round trip to a peer that this node watches, smoothed. */
  rttMs: Type.Optional(Type.Number({ minimum: 0 })),
  /** How often this node has seen it start anew, and when last. */
  restarts: Count(),
  restartedAtMs: Type.Optional(Count()),
  status: NodeStatusSchema,
  region: Type.Optional(Type.String()),
  currentLoad: Type.Number(),
  running: Count(),
  maxConcurrent: Count(),
  gpu: GpuSchema,
  capabilities: Type.Array(CapabilitySchema),
  runtimes: Type.Array(RuntimeSchema),
  isolation: IsolationSchema,
  cost: CostSchema,
  labels: LabelsSchema,
  /** Milliseconds since the peer issued what is shown here. */
  adAgeMs: Count(),
  incarnation: Count(),
  sequence: Count(),
  self: Type.Boolean(),
  connected: Type.Boolean(),
  addresses: Type.Array(Type.String()),
})
export type PeerReport = Static<typeof PeerReportSchema>

export const RealmReportSchema = Type.Object({
  id: Type.String(),
  name: Type.String(),
  namespace: Type.Optional(Type.String()),
  federation: Type.Union([Type.String(), Type.Null()]),
  version: Count(),
  issuedAtMs: Count(),
  /** This node's own role and the end of its certificate. */
  role: RoleSchema,
  certificateExpiresAtMs: Count(),
  issuers: Type.Array(Type.Object({ peer: PeerIdSchema, roles: Type.Array(RoleSchema) })),
  roots: Type.Array(Type.String()),
  /** What an operator should hear, in sentences: a certificate that is not renewed, a realm with one issuer. */
  notes: Type.Optional(Type.Array(Type.String())),
})
export type RealmReport = Static<typeof RealmReportSchema>

export const InvitationRequestSchema = Type.Object(
  {
    uses: Type.Optional(Type.Integer({ minimum: 1, maximum: limits.tokenUsesMax })),
    ttlSeconds: Type.Optional(Type.Integer({ minimum: 1, maximum: limits.tokenTtlMsMax / 1_000 })),
    role: Type.Optional(RoleSchema),
  },
  { additionalProperties: false },
)
export type InvitationRequest = Static<typeof InvitationRequestSchema>

export const InvitationSchema = Type.Object({
  token: Type.String(),
  role: RoleSchema,
  uses: Count(),
  expiresAtMs: Count(),
})
export type Invitation = Static<typeof InvitationSchema>

export const UploadSchema = Type.Object({ upload: Type.String(), bytes: Count() })
export type Upload = Static<typeof UploadSchema>
