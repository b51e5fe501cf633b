/** What this node does about agents for its peers: each request is checked against the caller's role, then handed to the host. */
import { isLive, type Agent } from '../base/agent.ts'
import { encode } from '../base/codec.ts'
import { GodelError, errorWhat, toGodelError } from '../base/errors.ts'
import type { Limits } from '../base/limits.ts'
import { parser } from '../base/schema.ts'
import type { Mesh } from '../mesh/mesh.ts'
import { bind, type BoundMethod } from '../net/method.ts'
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
  WorkspaceHeaderSchema,
} from './methods.ts'

type PageLimits = Pick<Limits, 'agentsPerPage' | 'agentBytesPerPage' | 'refusalReasonLengthMax'>

interface ServingDeps {
  mesh: Pick<Mesh, 'roleOf' | 'ownAd'>
  host: Host
  admission: Admission
  ownership: Pick<Ownership, 'orphans'>
  limits: PageLimits
}

/** Observers list and read; they change nothing. FORBIDDEN. */
const mustAct = (mesh: Pick<Mesh, 'roleOf'>, peer: string, action: string): void => {
  const role = mesh.roleOf(peer)
  if (role === 'admin' || role === 'member') return
  throw new GodelError({ code: 'FORBIDDEN', action, reason: `${peer} is ${role ?? 'not a member'} here` })
}

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
export const agentMethods = ({ mesh, host, admission, ownership, limits }: ServingDeps): BoundMethod[] => [
  bind(agentReserve, async ({ spec, epoch }, { peer }) => {
    try {
      mustAct(mesh, peer, 'spawning an agent')
      const known = host.get(spec.id)
      const held = known !== undefined && isLive(known.status)
      const reservation = held ? 'held' : admission.reserve(spec, epoch, peer).id
      return { reservation, held, advertisement: await mesh.ownAd() }
    } catch (error) {
      const { detail } = toGodelError(error)
      return {
        refusal: { code: detail.code, reason: errorWhat(detail).slice(0, limits.refusalReasonLengthMax) },
        advertisement: await mesh.ownAd(),
      }
    }
  }),
  bind(agentRelease, ({ reservation }, { peer }) => {
    admission.cancel(reservation, peer)
    return {}
  }),
  bind(agentSpawn, (order, { peer }) => {
    mustAct(mesh, peer, 'spawning an agent')
    return host.start({ ...order, from: peer })
  }),
  bind(agentStatus, ({ agent }) => {
    const known = host.get(agent)
    return known ? { agent: known } : {}
  }),
  bind(agentList, async function* ({ unanswered }) {
    for (const agents of inPages(host.list(), limits)) yield { agents, orphans: [] }
    for (const orphans of inPages(ownership.orphans(new Set(unanswered)), limits)) yield { agents: [], orphans }
  }),
  bind(agentKill, ({ agent, purge }, { peer }) => {
    mustAct(mesh, peer, 'killing an agent')
    return host.kill(agent, { purge })
  }),
  bind(agentExec, ({ agent, epoch, spec }, { peer, signal, incoming }) => {
    mustAct(mesh, peer, 'running a command')
    const known = host.get(agent)
    if (!known) throw new GodelError({ code: 'AGENT_NOT_FOUND', agent })
    if (known.epoch !== epoch) throw new GodelError({ code: 'STALE_EPOCH', agent, epoch, current: known.epoch })
    return host.exec(agent, spec, spec.stdin ? bytesOf(incoming) : undefined, signal)
  }),
]

const parseHeader = parser('the header of a workspace', WorkspaceHeaderSchema)

/** Takes the files of agents that are about to start here. */
export const serveWorkspaces = ({ net, mesh, host }: { net: Net; mesh: Pick<Mesh, 'roleOf'>; host: Host }): void =>
  net.bulk.handle(WORKSPACE_BULK, async (peer, header, source, signal) => {
    mustAct(mesh, peer, 'sending files')
    await host.stage(parseHeader(header).reservation, peer, source, signal)
    return {}
  })

async function* bytesOf(incoming: AsyncIterable<{ data: Uint8Array }>): AsyncIterable<Uint8Array> {
  for await (const { data } of incoming) yield data
}
