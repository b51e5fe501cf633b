/** The vocabulary of agents: what a caller asks for, what a host runs, and what the homes of an agent keep about it. */
import { Type, type Static } from 'typebox'
import {
  AgentIdSchema,
  CapabilitySchema,
  IsolationSchema,
  LabelsSchema,
  NameSchema,
  PeerIdSchema,
  RegionSchema,
} from './advertisement.ts'
import { idPattern } from './ids.ts'
import { limits } from './limits.ts'
import { Bytes, Count, OneOf, parser } from './schema.ts'

export const AgentStatusSchema = OneOf([
  'starting',
  'idle',
  'running',
  'migrating',
  'in-doubt',
  'lost',
  'failed',
  'stopped',
])
export type AgentStatus = Static<typeof AgentStatusSchema>

/** Statuses in which an agent holds a slot of its host. */
export const isLive = (status: AgentStatus): boolean =>
  status === 'starting' || status === 'idle' || status === 'running' || status === 'migrating'

/** Where the files of an agent come from: nowhere, a git repository, or a tree that was uploaded to the caller's node. */
export const WorkspaceSourceSchema = Type.Union([
  Type.Object({ git: Type.String({ minLength: 1, maxLength: 2_048 }) }, { additionalProperties: false }),
  Type.Object({ upload: Type.String({ pattern: idPattern('up') }) }, { additionalProperties: false }),
])

/** What an agent needs of its host. A missing field asks for nothing. */
export const RequirementsSchema = Type.Object(
  {
    gpu: Type.Optional(Type.Boolean()),
    gpuType: Type.Optional(Type.String({ minLength: 1, maxLength: 63 })),
    region: Type.Optional(RegionSchema),
    /** A node by name or PeerId. */
    node: Type.Optional(Type.String({ minLength: 1, maxLength: 63 })),
    isolation: Type.Optional(IsolationSchema),
    capabilities: Type.Optional(Type.Array(CapabilitySchema, { maxItems: limits.capabilitiesMax })),
    /** Labels that the host must have. */
    nodeLabels: Type.Optional(LabelsSchema),
  },
  { additionalProperties: false },
)
export type Requirements = Static<typeof RequirementsSchema>

/** What a caller asks for. `id` is minted by the caller, so that a retry is the same request. */
export const SpawnRequestSchema = Type.Object(
  {
    id: Type.Optional(AgentIdSchema),
    role: Type.Optional(NameSchema),
    model: Type.Optional(Type.String({ minLength: 1, maxLength: 128 })),
    runtime: Type.Optional(CapabilitySchema),
    labels: Type.Optional(LabelsSchema),
    requirements: Type.Optional(RequirementsSchema),
    timeoutSeconds: Type.Optional(Type.Integer({ minimum: 1, maximum: limits.agentTimeoutSecondsMax })),
    workspace: Type.Optional(WorkspaceSourceSchema),
  },
  { additionalProperties: false },
)
export type SpawnRequest = Static<typeof SpawnRequestSchema>

/** What the host is asked to run: the request with every default filled in. */
export const AgentSpecSchema = Type.Object({
  id: AgentIdSchema,
  realm: Type.String({ maxLength: 64 }),
  /** The node that spawned it. */
  owner: PeerIdSchema,
  role: NameSchema,
  model: Type.Optional(Type.String({ maxLength: 128 })),
  runtime: CapabilitySchema,
  labels: LabelsSchema,
  requirements: RequirementsSchema,
  timeoutSeconds: Type.Optional(Type.Integer({ minimum: 1, maximum: limits.agentTimeoutSecondsMax })),
  git: Type.Optional(Type.String({ maxLength: 2_048 })),
})
export type AgentSpec = Static<typeof AgentSpecSchema>

/** An agent as everybody sees it. Times are Unix milliseconds on the host's clock. */
export const AgentSchema = Type.Object({
  id: AgentIdSchema,
  realm: Type.String({ maxLength: 64 }),
  owner: PeerIdSchema,
  role: NameSchema,
  model: Type.Optional(Type.String({ maxLength: 128 })),
  runtime: CapabilitySchema,
  labels: LabelsSchema,
  status: AgentStatusSchema,
  /** Why it is failed, lost or stopped, where there is something to say. */
  reason: Type.Optional(Type.String({ maxLength: 1_024 })),
  host: PeerIdSchema,
  hostName: Type.String({ maxLength: 63 }),
  epoch: Count(2 ** 40),
  isolation: IsolationSchema,
  createdAtMs: Count(),
  changedAtMs: Count(),
  /** When its life ends by itself. */
  expiresAtMs: Type.Optional(Count()),
})
export type Agent = Static<typeof AgentSchema>

/**
 * What the homes of an agent keep: where it is and what it is. Sealed by its host, or by its owner when that raises the
 * epoch. Ordered by (epoch, version).
 */
export const AgentRecordSchema = Type.Object({
  agent: AgentSchema,
  version: Count(2 ** 40),
  mode: OneOf(['pinned']),
})
export type AgentRecord = Static<typeof AgentRecordSchema>
export const parseAgentRecord = parser('an agent record', AgentRecordSchema)

/** A command in the workspace of an agent. */
export const ExecSpecSchema = Type.Object(
  {
    execId: Type.Optional(Type.String({ pattern: idPattern('ex') })),
    command: Type.String({ minLength: 1, maxLength: 4_096 }),
    args: Type.Optional(
      Type.Array(Type.String({ maxLength: limits.execArgsBytesMax }), { maxItems: limits.execArgsMax }),
    ),
    /** Relative to the workspace, or absolute inside the sandbox. */
    cwd: Type.Optional(Type.String({ minLength: 1, maxLength: 4_096 })),
    env: Type.Optional(
      Type.Record(Type.String({ pattern: '^[A-Za-z_][A-Za-z0-9_]{0,254}$' }), Type.String({ maxLength: 65_536 }), {
        maxProperties: limits.execEnvMax,
        additionalProperties: false,
      }),
    ),
    timeoutSeconds: Type.Optional(Type.Integer({ minimum: 1, maximum: limits.execTimeoutSecondsMax })),
    /** True when the caller will send input; otherwise the command reads end-of-file. */
    stdin: Type.Optional(Type.Boolean()),
  },
  { additionalProperties: false },
)
export type ExecSpec = Static<typeof ExecSpecSchema>

/** What an exec says, in order. `seq` starts at 0 and grows by one; stdout and stderr share it. */
export const ExecEventSchema = Type.Union([
  Type.Object({ type: Type.Literal('started'), execId: Type.String({ maxLength: 64 }), epoch: Count() }),
  Type.Object({
    type: Type.Literal('output'),
    stream: OneOf(['stdout', 'stderr']),
    seq: Count(),
    data: Bytes(limits.execChunkBytes),
  }),
  Type.Object({
    type: Type.Literal('exit'),
    seq: Count(),
    code: Type.Union([Count(255), Type.Null()]),
    signal: Type.Union([Type.String({ maxLength: 16 }), Type.Null()]),
    /** Set when the node ended the command itself. */
    cause: Type.Optional(OneOf(['timeout', 'cancelled', 'killed'])),
  }),
])
export type ExecEvent = Static<typeof ExecEventSchema>
