/**
 * The rooms `ownership` and `agents` of one node over a real net, in a realm that the test makes up: who is a member, who a guest
 * and what either may do is said by the test, as the mesh would. Commands are not run; an exec answers that it ran.
 */
import { mkdtemp, rm } from 'node:fs/promises'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import type { Advertisement, NodeTraits } from '../../src/base/advertisement.ts'
import { limits as defaults, type Limits } from '../../src/base/limits.ts'
import { silentLog } from '../../src/base/log.ts'
import { silentMeter } from '../../src/base/meter.ts'
import type { GuestStanding, Role } from '../../src/base/standing.ts'
import { createAdmission, type Admission } from '../../src/agents/admission.ts'
import { createAgents, type Agents } from '../../src/agents/agents.ts'
import { openHost, type Host } from '../../src/agents/host.ts'
import { createSandbox } from '../../src/agents/sandbox.ts'
import { createUploads } from '../../src/agents/uploads.ts'
import type { Watchdog } from '../../src/agents/watchdog.ts'
import { createWorkspaces } from '../../src/agents/workspaces.ts'
import { createNodeKey } from '../../src/identity/node-key.ts'
import type { Mesh } from '../../src/mesh/mesh.ts'
import type { PeerState, PeerView } from '../../src/mesh/view.ts'
import { startNet, type Net } from '../../src/net/net.ts'
import { feedCandidates } from '../../src/node/candidate-feed.ts'
import { guestsOf } from '../../src/node/outside.ts'
import { createRealClock } from '../../src/node/real-clock.ts'
import { startOwnership, type Ownership } from '../../src/ownership/ownership.ts'
import { openGrant } from '../../src/ownership/records.ts'
import { createCandidates } from '../../src/routing/candidates.ts'
import { openMemoryStore } from '../../src/store/memory.ts'
import { createFakeGuestView, type FakeGuestView } from '../fakes/guest-view.ts'
import { traitsOf } from './mesh.ts'

const clock = createRealClock()

export interface AgentNode {
  readonly name: string
  readonly peer: string
  readonly realm: string
  role: Role
  readonly net: Net
  readonly agents: Agents
  readonly host: Host
  readonly ownership: Ownership
  readonly admission: Admission
  readonly guests: FakeGuestView
  readonly traits: NodeTraits
  readonly slots: number
  /** Makes another node a member of this one's realm, in this one's eyes. */
  see(other: AgentNode, state?: PeerState): void
  close(): Promise<void>
}

const watchdog = {
  marks: () => ({}),
  started() {},
  ended() {},
  endExec: async () => {},
  endAgent: async () => {},
} as unknown as Watchdog

/** Grants the room to say what an advertisement of these traits says. */
export const adWith = (traits: NodeTraits, running = 0, maxConcurrent = 4): Advertisement =>
  ({
    ...traits,
    status: 'available',
    currentLoad: maxConcurrent === 0 ? 0 : running / maxConcurrent,
    running,
    maxConcurrent,
  }) as Advertisement

export const startAgentNode = async (spec: {
  name: string
  realm: string
  role?: Role
  slots?: number
  traits?: Partial<NodeTraits>
  limits?: Partial<Limits>
}): Promise<AgentNode> => {
  const { name, realm, slots = 4 } = spec
  const limits: Limits = { ...defaults, ...spec.limits }
  const log = silentLog
  const net = await startNet(
    { key: createNodeKey(), limits, clock, log, meter: silentMeter },
    { listen: ['/ip4/127.0.0.1/tcp/0'] },
  )
  const { peer } = net
  const traits = traitsOf(name, spec.traits)
  const dataDir = await mkdtemp(join(tmpdir(), `godel-${name}-`))
  const members = new Map<string, PeerView>()
  const listeners = new Set<(entry: PeerView) => void>()
  const put = (entry: PeerView): void => {
    members.set(entry.peer, entry)
    for (const listener of listeners) listener(entry)
  }
  put({ peer, state: 'alive', ad: adWith(traits, 0, slots), ageMs: 0, self: true, restarts: 0 })
  const view = {
    self: () => members.get(peer)!,
    get: (other: string) => members.get(other),
    byName: (wanted: string) => [...members.values()].find(({ ad }) => ad.name === wanted),
    entries: () => members.values(),
    alive: () => [...members.values()].filter(({ state }) => state === 'alive'),
    onChange(fn: (entry: PeerView) => void) {
      listeners.add(fn)
      return () => void listeners.delete(fn)
    },
  }
  const own: { role: Role } = { role: spec.role ?? 'member' }
  const mesh = {
    view,
    realm: () => ({ id: realm, name: realm.slice(0, 4) }),
    membership: () => ({ role: own.role }),
    advertise() {},
    acceptAd: async () => {},
    ownAd: async () => Uint8Array.of(1),
    refresh: async () => {},
    rpc: { ...net.rpc, reach: async () => {} },
  } as unknown as Mesh
  const { rpc } = mesh
  const guests = createFakeGuestView()
  const store = openMemoryStore()
  const candidates = createCandidates()
  const unfeed = feedCandidates({ view, guests, candidates, clock, limits })
  const admission = createAdmission({ clock, limits, peer, traits, realm: () => realm, onChange: () => {} }, { slots })
  const ownership = await startOwnership({
    ...{ peer, realm: () => realm, rpc, sealer: net, view, guests, guestsOf: guestsOf(net), store, clock, log, limits },
  })
  const workspaces = createWorkspaces({ clock, log, limits, sandbox: createSandbox('none'), watchdog }, { dataDir })
  const host = await openHost({
    ...{ peer, realm, store, clock, log, limits, admission, workspaces, watchdog, traits },
    isolation: traits.isolation,
    async *runExec({ execId, epoch }) {
      yield { type: 'started', execId, epoch }
      yield { type: 'exit', seq: 0, code: 0, signal: null }
    },
    publish: ownership.publish,
    openGrant: (grant) => openGrant(net, grant),
  })
  const uploads = createUploads({ clock, limits }, { dataDir })
  const agents = createAgents({
    ...{ net, mesh, guests, ownership, candidates, host, admission, uploads, clock, log, limits },
  })
  net.rpc.register(ownership.methods)
  net.rpc.register(agents.methods)
  return {
    ...{ name, peer, realm, net, agents, host, ownership, admission, guests, traits, slots },
    get role() {
      return own.role
    },
    set role(role: Role) {
      own.role = role
    },
    see: (other, state = 'alive') =>
      put({ peer: other.peer, state, ad: adWith(other.traits, 0, other.slots), ageMs: 0, self: false, restarts: 0 }),
    async close() {
      unfeed()
      ownership.close()
      host.close()
      await net.close()
      await rm(dataDir, { recursive: true, force: true })
    },
  }
}

const connected = async (a: AgentNode, b: AgentNode): Promise<void> => {
  await a.net.dial(b.peer, b.net.addresses())
  while (!b.net.isConnected(a.peer)) await new Promise((resolve) => setImmediate(resolve))
}

/** Two members of one realm, connected, each with its role. */
export const inOneRealm = async (a: AgentNode, b: AgentNode): Promise<void> => {
  await connected(a, b)
  a.see(b)
  b.see(a)
  a.net.admit(b.peer, { kind: 'member', role: b.role })
  b.net.admit(a.peer, { kind: 'member', role: a.role })
}

/** `visitor` becomes a guest of `host` and sees it, as nodes of two realms that have agreed; the other way round nothing is granted. */
export const letIn = async (host: AgentNode, visitor: AgentNode, grant: Partial<GuestStanding> = {}): Promise<void> => {
  await connected(visitor, host)
  const by = grant.by ?? 'realm'
  const standing: GuestStanding = {
    ...{ kind: 'guest', by, realm: by === 'pin' ? undefined : visitor.realm },
    ...{ scopes: ['capacity', 'exec'], agentsPerNode: 8, ...grant },
  }
  host.net.admit(visitor.peer, standing)
  const back = { ...standing, realm: by === 'pin' ? undefined : host.realm, scopes: [], agentsPerNode: 0 }
  visitor.net.admit(host.peer, back)
  visitor.guests.set({
    peer: host.peer,
    level: by === 'pin' ? 'unregistered' : 'cross-realm',
    realm: back.realm,
    realmName: back.realm && host.realm.slice(0, 4),
    state: 'alive',
    ad: adWith(host.traits, 0, host.slots),
    ageMs: 0,
    usable: true,
  })
}
