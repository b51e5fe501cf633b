/** What peers ask of a node about agents, one row each, and who may ask at all; with which agents, rights.ts says. */
import { Type } from 'typebox'
import { AgentIdSchema, PeerIdSchema } from '../base/advertisement.ts'
import { AgentSchema, AgentSpecSchema, ExecEventSchema, ExecSpecSchema } from '../base/agent.ts'
import { limits } from '../base/limits.ts'
import { Bytes, Count } from '../base/schema.ts'
import { streaming, unary } from '../net/method.ts'
import type { BulkAccess } from '../net/net.ts'

/**
 * Holds a slot for an agent. `held` says that the agent runs here already. A refusal is an answer and not an error, because
 * either answer brings the fresh advertisement of the node, which counts what it has just promised.
 */
export const agentReserve = unary({
  name: 'agent.reserve',
  rate: 'act',
  access: 'member',
  guests: 'exec',
  request: Type.Object({ spec: AgentSpecSchema, epoch: Count(2 ** 40) }),
  response: Type.Union([
    Type.Object({
      reservation: Type.String({ maxLength: 64 }),
      held: Type.Boolean(),
      advertisement: Bytes(4 * 1024),
    }),
    Type.Object({
      refusal: Type.Object({
        code: Type.String({ maxLength: 64 }),
        reason: Type.String({ maxLength: limits.refusalReasonLengthMax }),
      }),
      advertisement: Bytes(4 * 1024),
    }),
  ]),
})

/** Gives a slot back that was held for the caller and is not wanted any more. Without such a slot nothing happens. */
export const agentRelease = unary({
  name: 'agent.release',
  access: 'member',
  guests: 'exec',
  request: Type.Object({ reservation: Type.String({ maxLength: 64 }) }),
  response: Type.Object({}),
})

/** Starts an agent on a held slot; answers once it is durable and its files are there. Repeating it changes nothing. */
export const agentSpawn = unary({
  name: 'agent.spawn',
  rate: 'act',
  access: 'member',
  guests: 'exec',
  request: Type.Object({
    spec: AgentSpecSchema,
    epoch: Count(2 ** 40),
    grant: Bytes(2 * 1024),
    reservation: Type.String({ maxLength: 64 }),
    staged: Type.Boolean(),
  }),
  response: AgentSchema,
})

/** The agent as its host sees it, as far as the caller may; nothing when it does not run there. */
export const agentStatus = unary({
  name: 'agent.status',
  access: 'observer',
  guests: 'exec',
  request: Type.Object({ agent: AgentIdSchema }),
  response: Type.Object({ agent: Type.Optional(AgentSchema) }),
})

/** The agents of a node, in pages, and those that it knows as a home and whose host does not answer. Guests get their own alone. */
export const agentList = streaming({
  name: 'agent.list',
  rate: 'act',
  access: 'observer',
  guests: 'exec',
  request: Type.Object({ unanswered: Type.Array(PeerIdSchema, { maxItems: 4_096 }) }),
  response: Type.Object({
    agents: Type.Array(AgentSchema, { maxItems: limits.agentsPerPage }),
    orphans: Type.Array(AgentSchema, { maxItems: limits.agentsPerPage }),
  }),
  incoming: Type.Never(),
})

export const agentKill = unary({
  name: 'agent.kill',
  rate: 'act',
  access: 'member',
  guests: 'exec',
  request: Type.Object({ agent: AgentIdSchema, purge: Type.Boolean() }),
  response: AgentSchema,
})

/** Runs a command; the caller's items are its input, and leaving cancels it. */
export const agentExec = streaming({
  name: 'agent.exec',
  rate: 'act',
  access: 'member',
  guests: 'exec',
  request: Type.Object({ agent: AgentIdSchema, epoch: Count(2 ** 40), spec: ExecSpecSchema }),
  response: ExecEventSchema,
  incoming: Type.Object({ data: Bytes(limits.execChunkBytes) }),
})

/** The purpose under which the files of an agent are sent ahead of it. */
export const WORKSPACE_BULK = 'workspace'
export const workspaceAccess: BulkAccess = { access: 'member', guests: 'exec' }
export const WorkspaceHeaderSchema = Type.Object({ reservation: Type.String({ maxLength: 64 }) })
