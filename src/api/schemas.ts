/** The shapes that only HTTP has, and the names under which all shapes appear in the OpenAPI document. */
import { Type, type TSchema } from 'typebox'
import { AgentIdSchema, PeerIdSchema } from '../base/advertisement.ts'
import { AgentSchema, AgentStatusSchema, ExecEventSchema, ExecSpecSchema, SpawnRequestSchema } from '../base/agent.ts'
import { idPattern } from '../base/ids.ts'
import { limits } from '../base/limits.ts'
import { DecisionSchema } from '../base/need.ts'
import { ForeignRealmSchema, IssuerReportSchema, PinSchema, RevocationReportSchema } from '../base/federation.ts'
import {
  AuditRecordSchema,
  DrainReportSchema,
  GrantRequestSchema,
  HealthSchema,
  IdentityReportSchema,
  InvitationRequestSchema,
  InvitationSchema,
  NodeStatusReportSchema,
  PeerReportSchema,
  PinRequestSchema,
  PromotionSchema,
  RealmReportSchema,
  RevocationRequestSchema,
  TrustRequestSchema,
  UploadSchema,
} from '../base/report.ts'
import { FailoverChangeSchema, FailoverReportSchema } from '../base/failover.ts'
import { Count, OneOf } from '../base/schema.ts'

/** The same schema with a title, by which the document gives it a name of its own. */
const titled = <S extends TSchema>(title: string, schema: S): S => ({ ...schema, title })

export const Agent = titled('Agent', AgentSchema)
export const SpawnRequest = titled('SpawnRequest', SpawnRequestSchema)
export const ExecSpec = titled('ExecSpec', ExecSpecSchema)
export const Decision = titled('Decision', DecisionSchema)
export const Health = titled('Health', HealthSchema)
export const Identity = titled('Identity', IdentityReportSchema)
export const NodeStatusReport = titled('NodeStatusReport', NodeStatusReportSchema)
export const PeerReport = titled('PeerReport', PeerReportSchema)
export const RealmReport = titled('RealmReport', RealmReportSchema)
export const InvitationRequest = titled('InvitationRequest', InvitationRequestSchema)
export const Invitation = titled('Invitation', InvitationSchema)
export const Upload = titled('Upload', UploadSchema)
export const DrainReport = titled('DrainReport', DrainReportSchema)
export const ForeignRealm = titled('ForeignRealm', ForeignRealmSchema)
export const Pin = titled('Pin', PinSchema)
export const Promotion = titled('Promotion', PromotionSchema)
export const RevocationRequest = titled('RevocationRequest', RevocationRequestSchema)
export const TrustRequest = titled('TrustRequest', TrustRequestSchema)
export const GrantRequest = titled('GrantRequest', GrantRequestSchema)
export const PinRequest = titled('PinRequest', PinRequestSchema)

export const Issuers = titled('Issuers', Type.Object({ issuers: Type.Array(IssuerReportSchema) }))
export const Revocations = titled('Revocations', Type.Object({ revocations: Type.Array(RevocationReportSchema) }))
export const Roots = titled('Roots', Type.Object({ roots: Type.Array(Type.String()) }))
export const RealmCard = titled('RealmCard', Type.Object({ card: Type.String() }))
export const ForeignRealms = titled('ForeignRealms', Type.Object({ realms: Type.Array(ForeignRealm) }))
export const Pins = titled('Pins', Type.Object({ peers: Type.Array(Pin) }))
export const AuditLog = titled('AuditLog', Type.Object({ entries: Type.Array(AuditRecordSchema) }))

export const FailoverChange = titled('FailoverChange', FailoverChangeSchema)
export const FailoverReport = titled('FailoverReport', FailoverReportSchema)

export const Problem = titled(
  'Problem',
  Type.Object(
    {
      type: Type.String(),
      title: Type.String(),
      status: Count(599),
      detail: Type.String(),
      code: Type.String(),
      next: Type.String(),
    },
    { additionalProperties: true },
  ),
)

const [Started, , Exit] = ExecEventSchema.anyOf
/** One line of an exec: an event with its bytes in base64, or the problem that ended it. Empty lines mean nothing. */
export const ExecLine = titled(
  'ExecLine',
  Type.Union([
    Started,
    Type.Object({
      type: Type.Literal('output'),
      stream: OneOf(['stdout', 'stderr']),
      seq: Count(),
      data: Type.String({ contentEncoding: 'base64' }),
    }),
    Exit,
    Type.Object({ type: Type.Literal('error'), problem: Problem }),
  ]),
)

export const Peers = titled('Peers', Type.Object({ peers: Type.Array(PeerReport) }))
export const Decisions = titled('Decisions', Type.Object({ decisions: Type.Array(Decision) }))
export const Unanswered = titled(
  'Unanswered',
  Type.Object({ peer: Type.String(), node: Type.String(), reason: Type.String() }),
)
export const AgentList = titled(
  'AgentList',
  Type.Object({ agents: Type.Array(Agent), unanswered: Type.Array(Unanswered) }),
)

export const AgentParams = Type.Object({ id: AgentIdSchema })
export const ExecParams = Type.Object({ id: AgentIdSchema, execId: Type.String({ pattern: idPattern('ex') }) })

export const AgentQuery = Type.Object(
  {
    status: Type.Optional(AgentStatusSchema),
    /** `K=V`; given several times, all must fit. */
    label: Type.Optional(
      Type.Array(
        Type.String({ pattern: '^[^=]+=', maxLength: limits.labelKeyLengthMax + 1 + limits.labelValueLengthMax }),
        {
          maxItems: limits.labelsMax,
        },
      ),
    ),
    node: Type.Optional(Type.String({ minLength: 1, maxLength: 63 })),
    model: Type.Optional(Type.String({ minLength: 1, maxLength: 128 })),
  },
  { additionalProperties: false },
)
export const KillQuery = Type.Object({ purge: Type.Optional(Type.Boolean()) }, { additionalProperties: false })
export const RoutesQuery = Type.Object(
  { limit: Type.Optional(Type.Integer({ minimum: 1, maximum: limits.decisionsKept })) },
  { additionalProperties: false },
)
export const AuditQuery = Type.Object(
  {
    limit: Type.Optional(Type.Integer({ minimum: 1, maximum: limits.auditEntriesKept })),
    since: Type.Optional(Count()),
  },
  { additionalProperties: false },
)
/** A node by name or PeerId; a realm by name or id. */
export const NodeParams = Type.Object({ node: Type.String({ minLength: 1, maxLength: 63 }) })
export const RealmParams = Type.Object({ realm: Type.String({ minLength: 1, maxLength: 64 }) })
export const PinParams = Type.Object({ peer: PeerIdSchema })
/** For an act without any choice. It is JSON all the same, which no page can send without asking. */
export const NoBody = Type.Object({}, { additionalProperties: false })
export const NoQuery = Type.Object({}, { additionalProperties: false })
export const EventsHeaders = Type.Object({ 'last-event-id': Type.Optional(Type.String({ maxLength: 64 })) })
