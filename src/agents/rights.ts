/**
 * Who may do what with an agent: one pure rule, for callers of every kind and for agents of this realm and of others.
 *
 *                         spawn       see          use (exec)    stop (kill)
 *   admin                 yes         yes          of its realm  of its realm
 *   member                yes         yes          its own       its own
 *   observer              no          yes          no            no
 *   guest of a realm      of its own  of its own realm, and there as its role allows where that is known
 *   pinned guest          of its own  its own      its own       its own
 *   the host's operator   as its role             as its role    always
 *
 * "Its own" is an agent that the node spawned. An agent of another realm is seen by members here in outline; nobody here uses
 * it, and only the host itself stops it.
 */
import type { Agent, AgentSpec } from '../base/agent.ts'
import { GodelError } from '../base/errors.ts'
import { hasRole, type GuestStanding, type Role, type Scope, type Standing } from '../base/standing.ts'

export type AgentAction = 'spawn' | 'see' | 'use' | 'stop'

/** Who asks: this node's own operator with the role that this node has, or a peer. */
export type Caller = { readonly peer: string } & (
  { readonly kind: 'self'; readonly role: Role } | { readonly kind: 'peer'; readonly standing: Standing }
)

/** What is asked about. For a spawn, the agent that is to be. */
export type Subject = Pick<AgentSpec, 'owner' | 'realm'>

/** Why `caller` may not do that with an agent on a node of the realm `here`; undefined where it may. Words that follow "is not allowed:". */
export const mayAct = (action: AgentAction, agent: Subject, caller: Caller, here: string): string | undefined => {
  const isOwn = agent.owner === caller.peer
  if (caller.kind === 'peer' && caller.standing.kind === 'guest')
    return guestFault(action, agent, caller.standing, isOwn, here)
  const role = caller.kind === 'self' ? caller.role : (caller.standing as { role: Role }).role
  if (action === 'see' || (action === 'stop' && caller.kind === 'self')) return undefined
  if (!hasRole(role, 'member'))
    return `it takes the role member, and ${caller.peer} is ${role}; a member or an admin can`
  if (action === 'spawn') return spawnFault(agent, isOwn, agent.realm === here)
  if (isOwn) return undefined
  if (agent.realm !== here)
    return `the agent belongs to another realm: ${action === 'stop' ? 'its realm, or the operator of its host, can' : 'only its realm can'}`
  return roleFault(role, agent)
}

const spawnFault = (agent: Subject, isOwn: boolean, isOfRealm: boolean): string | undefined => {
  if (!isOwn) return `a node spawns for itself alone, and the agent is to be owned by ${agent.owner}`
  return isOfRealm ? undefined : 'the agent is to belong to another realm than the caller'
}

/** On an agent of the caller's realm that another node spawned. */
const roleFault = (role: Role, agent: Subject): string | undefined =>
  role === 'admin'
    ? undefined
    : `it takes the role admin on agents of other nodes, and the caller is ${role}; ${agent.owner}, which spawned it, or an admin can`

const guestFault = (
  action: AgentAction,
  agent: Subject,
  { by, realm, role }: GuestStanding,
  isOwn: boolean,
  here: string,
): string | undefined => {
  if (agent.realm === here)
    return 'the agent belongs to this realm, and the caller is a guest; a member of the realm can'
  const isOfRealm = by === 'pin' ? isOwn : agent.realm === realm
  if (action === 'spawn') return spawnFault(agent, isOwn, isOfRealm) ?? memberFault(role)
  if (!isOfRealm)
    return by === 'pin'
      ? `a pinned node acts on its own agents alone; ${agent.owner}, which spawned it, can`
      : 'the agent belongs to another realm than the caller; that realm can'
  if (action === 'see') return undefined
  return memberFault(role) ?? (isOwn || role === undefined ? undefined : roleFault(role, agent))
}

const memberFault = (role: Role | undefined): string | undefined =>
  role === undefined || hasRole(role, 'member')
    ? undefined
    : `it takes the role member, and the caller is ${role} in its realm`

const doing: Record<AgentAction, string> = {
  spawn: 'spawning an agent',
  see: 'seeing an agent',
  use: 'running a command',
  stop: 'killing an agent',
}

/** FORBIDDEN with the words of `mayAct`. */
export const mustAct = (action: AgentAction, agent: Subject, caller: Caller, here: string): void => {
  const reason = mayAct(action, agent, caller, here)
  if (reason !== undefined) throw new GodelError({ code: 'FORBIDDEN', action: doing[action], reason })
}

/** An agent as a caller sees it: whole, in outline where it belongs to a realm that is not the caller's, or not at all. */
export const shownTo = (agent: Agent, caller: Caller, here: string): Agent | undefined => {
  if (mayAct('see', agent, caller, here) !== undefined) return undefined
  const isGuest = caller.kind === 'peer' && caller.standing.kind === 'guest'
  return isGuest || agent.realm === here || agent.owner === caller.peer ? agent : outlineOf(agent)
}

/** That it is there, how it is and whose it is: what the realm of its host may know of it. */
const outlineOf = (agent: Agent): Agent => {
  const { model: _, ...rest } = agent
  return { ...rest, role: 'guest', labels: {} }
}

/** What lets agents of other nodes run here: that their owners are not out, the grants of the realm's document, and the pins of this node. */
export interface Grants {
  /** The peers that are out of the realm. */
  readonly revoked: { has(peer: string): boolean }
  readonly realms: readonly { readonly id: string; readonly name: string }[]
  readonly grants: readonly { readonly realm: string; readonly scopes: readonly Scope[] }[]
  readonly pins: readonly { readonly peer: string; readonly scopes: readonly Scope[] }[]
}

/**
 * Why an agent that runs here may do so no longer; undefined where it may. The agents of a node that was revoked, and of a realm
 * whose grant was withdrawn, are ended like killed ones: their files stay for limits.killedWorkspaceMs, and their realm is told
 * if it can still be reached.
 */
export const outstayed = (
  agent: Subject,
  { revoked, realms, grants, pins }: Grants,
  { here, self }: Home,
): string | undefined => {
  if (agent.owner === self) return undefined
  if (revoked.has(agent.owner)) return `its owner ${agent.owner} has been revoked`
  if (agent.realm === here) return undefined
  const allows = ({ scopes }: { readonly scopes: readonly Scope[] }): boolean => scopes.includes('exec')
  if (pins.some((pin) => pin.peer === agent.owner && allows(pin))) return undefined
  const named = realms.find(({ id }) => id === agent.realm)
  if (named && grants.some((grant) => grant.realm === agent.realm && allows(grant))) return undefined
  return named ? `the grant of its realm ${named.name} was withdrawn` : 'the grant of its realm or node was withdrawn'
}

/** The node that an agent runs on, and its realm. */
interface Home {
  readonly here: string
  readonly self: string
}
