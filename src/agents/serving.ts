/** What this node does about agents for its peers: each request is checked against what the caller may (rights.ts), then handed to the host. */
import { isLive, type Agent } from '../base/agent.ts'
import { silentAudit, type Audit } from '../base/audit.ts'
import { encode } from '../base/codec.ts'
import { GodelError, errorWhat, toGodelError } from '../base/errors.ts'
import type { Limits } from '../base/limits.ts'
import { parser } from '../base/schema.ts'
import type { GuestStanding } from '../base/standing.ts'
import type { Mesh } from '../mesh/mesh.ts'
import { bind, type BoundMethod, type CallContext } from '../net/method.ts'
import type { Net } from '../net/net.ts'
import type { Ownership } from '../ownership/ownership.ts'
import type { Admission } from './admission.ts'
import type { Host } from './host.ts'
import {
  agentExec,
  agentKill,
  agentList,
  agentRelease,
  agentReserve,
  agentSpawn,
  agentStatus,
  WORKSPACE_BULK,
  workspaceAccess,
  WorkspaceHeaderSchema,
} from './methods.ts'
import { mustAct, shownTo, type AgentAction, type Caller, type Subject } from './rights.ts'

type PageLimits = Pick<Limits, 'agentsPerPage' | 'agentBytesPerPage' | 'refusalReasonLengthMax'>

interface ServingDeps {
  mesh: Pick<Mesh, 'ownAd' | 'membership' | 'realm'>
  host: Host
  admission: Admission
  ownership: Pick<Ownership, 'orphans'>
  /** Where it is put down what was refused, and who ended an agent of another. */
  audit?: Audit
  limits: PageLimits
}

/** A call of the node itself is its operator's, with the role that the node has. */
const callerOf = (
  mesh: Pick<Mesh, 'membership'>,
  { peer, standing }: Pick<CallContext, 'peer' | 'standing'>,
): Caller =>
  standing === undefined ? { kind: 'self', peer, role: mesh.membership().role } : { kind: 'peer', peer, standing }

const guestOf = ({ standing }: Pick<CallContext, 'standing'>): GuestStanding | undefined =>
  standing?.kind === 'guest' ? standing : undefined

/** Pages that fit into one answer each, since one agent may be thirty times as large as another. */
function* inPages(agents: readonly Agent[], limits: PageLimits): Generator<Agent[]> {
  let page: Agent[] = []
  let bytes = 0
  for (const agent of agents) {
    const more = encode(agent).byteLength
    if (page.length >= limits.agentsPerPage || (page.length > 0 && bytes + more > limits.agentBytesPerPage)) {
      yield page
      page = []
      bytes = 0
    }
    page.push(agent)
    bytes += more
  }
  if (page.length > 0) yield page
}

/** The rows of the room with their handlers. */
export const agentMethods = (deps: ServingDeps): BoundMethod[] => {
  const { mesh, host, admission, ownership, limits, audit = silentAudit } = deps
  const check = (action: AgentAction, subject: Subject, context: Asking): void =>
    mustAct(action, subject, callerOf(mesh, context), mesh.realm().id)
  const visibleTo = (context: Asking, agents: readonly Agent[]): Agent[] => {
    const [caller, here] = [callerOf(mesh, context), mesh.realm().id]
    return agents.flatMap((agent) => shownTo(agent, caller, here) ?? [])
  }
  /** Throws unless the caller may do that with an agent. What a guest may not see is not there for it. AGENT_NOT_FOUND, FORBIDDEN. */
  const checkOn = (action: AgentAction, agent: Agent, context: Asking): void => {
    if (visibleTo(context, [agent]).length === 0) throw new GodelError({ code: 'AGENT_NOT_FOUND', agent: agent.id })
    check(action, agent, context)
  }
  // The whole advertisement is the realm's: it names labels and internal addresses.
  const adFor = (context: Asking): Promise<Uint8Array> =>
    guestOf(context) ? Promise.resolve(new Uint8Array()) : mesh.ownAd()

  return [
    bind(agentReserve, async ({ spec, epoch }, context) => {
      try {
        check('spawn', spec, context)
        const known = host.get(spec.id)
        const held = known !== undefined && isLive(known.status)
        const reservation = held ? 'held' : admission.reserve(spec, epoch, context.peer, guestOf(context)).id
        return { reservation, held, advertisement: await adFor(context) }
      } catch (error) {
        const { detail, message } = toGodelError(error)
        // The answer is no error here, so that nobody else puts it down.
        if (detail.code === 'FORBIDDEN')
          audit.record({
            action: `call ${agentReserve.name}`,
            by: context.peer,
            outcome: 'refused',
            reason: `${detail.code}: ${message}`,
          })
        return {
          refusal: { code: detail.code, reason: errorWhat(detail).slice(0, limits.refusalReasonLengthMax) },
          advertisement: await adFor(context),
        }
      }
    }),
    bind(agentRelease, ({ reservation }, { peer }) => {
      admission.cancel(reservation, peer)
      return {}
    }),
    bind(agentSpawn, (order, context) => {
      check('spawn', order.spec, context)
      return host.start({ ...order, from: context.peer })
    }),
    bind(agentStatus, ({ agent }, context) => {
      const known = host.get(agent)
      const [shown] = known ? visibleTo(context, [known]) : []
      return shown ? { agent: shown } : {}
    }),
    bind(agentList, async function* ({ unanswered }, context) {
      for (const agents of inPages(visibleTo(context, host.list()), limits)) yield { agents, orphans: [] }
      // What this node knows as a home is its own realm's.
      if (guestOf(context)) return
      for (const orphans of inPages(ownership.orphans(new Set(unanswered)), limits)) yield { agents: [], orphans }
    }),
    bind(agentKill, async ({ agent, purge }, context) => {
      const ended = await host.kill(agent, { purge, check: (known) => checkOn('stop', known, context) })
      if (context.standing !== undefined && ended.owner !== context.peer)
        audit.record({
          action: 'kill an agent of another owner',
          by: context.peer,
          subject: agent,
          outcome: 'done',
        })
      return ended
    }),
    bind(agentExec, ({ agent, epoch, spec }, context) => {
      const known = host.get(agent)
      if (!known) throw new GodelError({ code: 'AGENT_NOT_FOUND', agent })
      checkOn('use', known, context)
      if (known.epoch !== epoch) throw new GodelError({ code: 'STALE_EPOCH', agent, epoch, current: known.epoch })
      return host.exec(agent, spec, spec.stdin ? bytesOf(context.incoming) : undefined, context.signal)
    }),
  ]
}

type Asking = Pick<CallContext, 'peer' | 'standing'>

const parseHeader = parser('the header of a workspace', WorkspaceHeaderSchema)

/** Takes the files of agents that are about to start here, from the node that holds the reservation and from nobody else. */
export const serveWorkspaces = ({ net, host }: { net: Net; host: Host }): void =>
  net.bulk.handle(
    WORKSPACE_BULK,
    async (peer, header, source, signal) => {
      await host.stage(parseHeader(header).reservation, peer, source, signal)
      return {}
    },
    workspaceAccess,
  )

async function* bytesOf(incoming: AsyncIterable<{ data: Uint8Array }>): AsyncIterable<Uint8Array> {
  for await (const { data } of incoming) yield data
}
