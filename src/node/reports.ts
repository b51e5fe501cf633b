/** What the API tells about this node, its peers and its realm, put together from the rooms. */
import type { Admission } from '../agents/admission.ts'
import type { Agents } from '../agents/agents.ts'
import type { IsolationProbe } from '../agents/sandbox.ts'
import type { NodeServices } from '../api/services.ts'
import type { NodeTraits } from '../base/advertisement.ts'
import type { Clock } from '../base/clock.ts'
import { GodelError } from '../base/errors.ts'
import { isPeerId } from '../base/ids.ts'
import type { NodeStatusReport, PeerReport, RealmReport } from '../base/report.ts'
import type { GuestPeer } from '../mesh/guest-view.ts'
import type { Mesh } from '../mesh/mesh.ts'
import type { PeerView } from '../mesh/view.ts'
import type { Net } from '../net/net.ts'
import { version } from './version.ts'

export type Stage = 'starting' | 'ok' | 'stopping'

interface ReportDeps {
  net: Net
  mesh: Mesh
  traits: NodeTraits
  isolation: IsolationProbe
  dataDir: string
  startedAtMs: number
  clock: Clock
  stage: { readonly now: Stage }
  api: () => string
  agents: Agents
  admission: Admission
  drain: NodeServices['drain']
  audit: NodeServices['audit']
  metrics: () => Promise<string>
}

/** The services that the API speaks for. */
export const createServices = (deps: ReportDeps): NodeServices => {
  const { net, mesh, traits, clock, stage, agents } = deps
  const realm = () => realmOf(mesh)
  return {
    health: () => ({ live: true, ready: stage.now === 'ok', status: stage.now }),
    identity: () => ({ peer: net.peer, name: traits.name, realm: realm(), version }),
    node: () => nodeReport(deps),
    peers: () => [
      ...[...mesh.view.entries()].map((entry) => peerReport(entry, deps)),
      ...[...mesh.guests.entries()].filter(({ peer }) => !mesh.view.get(peer)).map((entry) => guestReport(entry, deps)),
    ],
    realm: () => (mesh.isStandalone() ? undefined : realmReport(mesh)),
    failover: { report: mesh.detector.report, configure: mesh.detector.configure },
    invite: async (order) => {
      const expiresAtMs = clock.wallMs() + order.ttlMs
      return { token: await mesh.invite(order), role: order.role, uses: order.uses, expiresAtMs }
    },
    peerOf: (node) => peerOf(node, mesh),
    governance: mesh.governance,
    pins: mesh.pins,
    drain: deps.drain,
    audit: deps.audit,
    agents,
    metrics: deps.metrics,
  }
}

/** A PeerId stands for itself, known or not: whoever is to be put out may never have been seen from here. */
const peerOf = (node: string, { view }: Pick<Mesh, 'view'>): string => {
  if (isPeerId(node)) return node
  const found = [...view.entries()].filter((entry) => entry.ad.name === node)
  if (found.length === 1) return found[0]!.peer
  if (found.length === 0) throw new GodelError({ code: 'NOT_FOUND', what: 'node', id: node })
  const reason = `${found.length} nodes bear it: ${found.map(({ peer }) => peer).join(', ')}; say which by its PeerId`
  throw new GodelError({ code: 'CONFLICT', what: `the name ${node}`, reason })
}

/** Null for a node in none. */
const governedBy = ({ governance }: Mesh) => ({
  revocations: governance.revocations().length,
  realms: governance.foreignRealms().length,
})
const realmOf = (mesh: Mesh) => (mesh.isStandalone() ? null : { id: mesh.realm().id, name: mesh.realm().name })

const nodeReport = (deps: ReportDeps): NodeStatusReport => {
  const { net, mesh, traits, isolation, dataDir, startedAtMs, admission } = deps
  const peers = { alive: 0, suspect: 0, down: 0, left: 0, recovering: 0 }
  for (const entry of mesh.view.entries()) if (!entry.self) peers[entry.state]++
  const capacity = admission.capacity()
  const standalone = mesh.isStandalone()
  return {
    peer: net.peer,
    name: traits.name,
    version,
    realm: realmOf(mesh),
    ...(!standalone && { role: mesh.membership().role }),
    startedAtMs,
    dataDir,
    api: deps.api(),
    listen: net.addresses(),
    capacity,
    traits,
    peers,
    detector: mesh.detector.health(),
    agents: { running: capacity.running },
    draining: deps.drain.report().draining,
    certificateExpiresAtMs: mesh.membership().expiresAtMs,
    notes: mesh.notes(),
    trust: {
      ...(standalone ? { revocations: 0, realms: 0 } : governedBy(mesh)),
      pins: mesh.pins.list().length,
    },
    isolation: { level: isolation.level, ...(isolation.reason !== undefined && { reason: isolation.reason }) },
  }
}

const peerReport = (entry: PeerView, { net, mesh, clock }: ReportDeps): PeerReport => ({
  ...briefly(entry),
  ...presenceReport(entry, mesh, clock),
  connected: entry.self || net.isConnected(entry.peer),
  ...connectionOf(entry.peer, net),
  addresses: entry.self ? net.addresses() : mesh.addressesOf(entry.peer),
})

/** How it is, why, and how the way to it is. */
const presenceReport = ({ peer, state, verdict, restarts, restartedAtMs }: PeerView, mesh: Mesh, clock: Clock) => {
  const { link, rttMs } = mesh.detector.linkOf(peer) ?? {}
  const wall = (monotonicMs: number) => Math.round(clock.wallMs() - (clock.monotonicMs() - monotonicMs))
  return {
    state,
    ...(verdict && { verdict: { ...verdict, accusers: [...verdict.accusers] } }),
    ...(link !== undefined && { link }),
    ...(rttMs !== undefined && { rttMs: Math.round(rttMs * 10) / 10 }),
    restarts,
    ...(restartedAtMs !== undefined && { restartedAtMs: wall(restartedAtMs) }),
  }
}

const briefly = ({ peer, ad, ageMs, self }: PeerView) => ({
  peer,
  name: ad.name,
  status: ad.status,
  ...(ad.region !== undefined && { region: ad.region }),
  currentLoad: ad.currentLoad,
  running: ad.running,
  maxConcurrent: ad.maxConcurrent,
  gpu: ad.gpu,
  capabilities: ad.capabilities,
  runtimes: ad.runtimes,
  isolation: ad.isolation,
  cost: ad.cost,
  labels: ad.labels,
  adAgeMs: ageMs,
  incarnation: ad.incarnation,
  sequence: ad.sequence,
  self,
})

/** A node from outside the realm: a guest as far as it shows itself. */
const guestReport = (guest: GuestPeer, deps: ReportDeps): PeerReport => ({
  ...peerReport({ ...guest, self: false, restarts: 0 }, deps),
  level: guest.level,
  ...(guest.realmName !== undefined && { realmName: guest.realmName }),
})

const connectionOf = (peer: string, net: Net): { connection?: string } => {
  const found = net.connectionKind(peer)
  if (found === undefined) return {}
  return { connection: found.kind === 'direct' ? 'direct' : `relayed through ${found.through}` }
}

const realmReport = (mesh: Mesh): RealmReport => {
  const { id, name, document } = mesh.realm()
  const { role, expiresAtMs } = mesh.membership()
  return {
    id,
    name,
    ...(document.namespace !== undefined && { namespace: document.namespace }),
    federation: document.federation,
    version: document.version,
    issuedAtMs: document.issuedAtMs,
    role,
    certificateExpiresAtMs: expiresAtMs,
    issuers: document.issuers.flatMap(({ peer, roles, untilMs }) => {
      if (untilMs !== undefined) return []
      const name = mesh.view.get(peer)?.ad.name
      return [{ peer, ...(name !== undefined && { name }), roles }]
    }),
    revocations: mesh.governance.revocations(),
    realms: mesh.governance.foreignRealms(),
    notes: mesh.notes(),
    roots: document.roots,
  }
}
