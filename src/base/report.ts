/** What a node says about itself and its realm over the API: the shapes that the API gives and that the SDK and CLI show. */
import { Type, type Static } from 'typebox'
import {
  AgentIdSchema,
  CapabilitySchema,
  CapacitySchema,
  CostSchema,
  GpuSchema,
  IsolationSchema,
  LabelsSchema,
  NameSchema,
  NodeStatusSchema,
  NodeTraitsSchema,
  PeerIdSchema,
  RuntimeSchema,
} from './advertisement.ts'
import { AgentStatusSchema } from './agent.ts'
import { ForeignRealmSchema, IssuerReportSchema, RevocationReportSchema } from './federation.ts'
import { limits } from './limits.ts'
import { LevelSchema } from './need.ts'
import { Count, OneOf } from './schema.ts'
import { RoleSchema, ScopesSchema } from './standing.ts'

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
  /** The operator has asked it to take nothing new. */
  draining: Type.Optional(Type.Boolean()),
  certificateExpiresAtMs: Type.Optional(Count()),
  /** What an operator should hear, in sentences; see the realm. */
  notes: Type.Optional(Type.Array(Type.String())),
  /** Peers that are put out, other realms that are named, nodes that are pinned. */
  trust: Type.Optional(Type.Object({ revocations: Count(), realms: Count(), pins: Count() })),
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
  /** How it is known: of this realm, of another one, or pinned. */
  level: Type.Optional(LevelSchema),
  /** Of a guest: the name of its realm. */
  realmName: Type.Optional(Type.String()),
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
  /** `direct`, or through which member it is relayed; left out without a connection, and for the node itself. */
  connection: Type.Optional(Type.String()),
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
  issuers: Type.Array(IssuerReportSchema),
  roots: Type.Array(Type.String()),
  revocations: Type.Optional(Type.Array(RevocationReportSchema)),
  realms: Type.Optional(Type.Array(ForeignRealmSchema)),
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

/** What a draining node waits for, and what stays. */
export const DrainReportSchema = Type.Object({
  draining: Type.Boolean(),
  /** Nothing runs here: no command, no start of an agent, no slot that is promised. */
  empty: Type.Boolean(),
  /** Agents that are starting or in which a command runs, at most limits.drainListedMax. */
  running: Type.Array(Type.Object({ id: AgentIdSchema, role: Type.String(), status: AgentStatusSchema })),
  /** Idle agents, which stay until they are ended. */
  staying: Type.Array(Type.Object({ id: AgentIdSchema, role: Type.String(), status: AgentStatusSchema })),
  /** Slots that were promised before, whose agents have not come yet. */
  reserved: Count(),
})
export type DrainReport = Static<typeof DrainReportSchema>

/** One entry of the audit log. */
export const AuditRecordSchema = Type.Object({
  /** Counts up by one; a gap says that entries are missing. */
  seq: Count(),
  atMs: Count(),
  action: Type.String(),
  /** A PeerId; `api` for a client of this node's API; `many` in a flood under many names. */
  by: Type.String(),
  subject: Type.Optional(Type.String()),
  outcome: OneOf(['done', 'refused']),
  reason: Type.Optional(Type.String()),
  /** How many like it came right before it and were left out. */
  omitted: Type.Optional(Count()),
})
export type AuditRecord = Static<typeof AuditRecordSchema>

/** The node that a request is about, by its name or PeerId. */
const NodeNameSchema = Type.String({ minLength: 1, maxLength: 63 })

export const PromotionSchema = Type.Object(
  {
    node: NodeNameSchema,
    roles: Type.Optional(Type.Array(RoleSchema, { minItems: 1, maxItems: 3, uniqueItems: true })),
  },
  { additionalProperties: false },
)

export const RevocationRequestSchema = Type.Object(
  { node: NodeNameSchema, sinceMs: Type.Optional(Count()) },
  { additionalProperties: false },
)

export const TrustRequestSchema = Type.Object(
  {
    /** The card of another realm, `GDR1.…`. */
    card: Type.String({ minLength: 1, maxLength: limits.realmCardBytesMax }),
    out: Type.Optional(Type.Boolean()),
  },
  { additionalProperties: false },
)

export const GrantRequestSchema = Type.Object(
  { scopes: ScopesSchema, agentsPerNode: Type.Integer({ minimum: 0, maximum: limits.capacityMax }) },
  { additionalProperties: false },
)

export const PinRequestSchema = Type.Object(
  {
    peer: PeerIdSchema,
    name: Type.Optional(NameSchema),
    addresses: Type.Optional(Type.Array(Type.String({ minLength: 1, maxLength: 255 }), { maxItems: 8 })),
    scopes: Type.Optional(ScopesSchema),
    agentsPerNode: Type.Optional(Type.Integer({ minimum: 0, maximum: limits.capacityMax })),
  },
  { additionalProperties: false },
)
export type PinRequest = Static<typeof PinRequestSchema>
