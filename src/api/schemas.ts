/** The shapes that only HTTP has, and the names under which all shapes appear in the OpenAPI document. */
import { Type, type TSchema } from 'typebox'
import { AgentIdSchema } from '../base/advertisement.ts'
import { AgentSchema, AgentStatusSchema, ExecEventSchema, ExecSpecSchema, SpawnRequestSchema } from '../base/agent.ts'
import { idPattern } from '../base/ids.ts'
import { limits } from '../base/limits.ts'
import { DecisionSchema } from '../base/need.ts'
import {
  HealthSchema,
  IdentityReportSchema,
  InvitationRequestSchema,
  InvitationSchema,
  NodeStatusReportSchema,
  PeerReportSchema,
  RealmReportSchema,
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
export const NoQuery = Type.Object({}, { additionalProperties: false })
export const EventsHeaders = Type.Object({ 'last-event-id': Type.Optional(Type.String({ maxLength: 64 })) })
