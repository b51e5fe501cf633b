/**
 * Room node: the composition root. Every part is built once, in order, and stopped in reverse.
 *
 * node.ts               starts and stops a node (this file)
 * options.ts            what a node is started with, and its traits
 * data-directory.ts     the files of a data directory
 * reports.ts            what the API tells about the node and its peers
 * drain.ts              the wish that it takes nothing new, and what still runs
 * candidate-feed.ts     from the mesh's views to the candidates of routing
 * outside.ts            nodes of other realms, and the end of what they may run here
 * listen-port.ts        where to listen when nobody said
 * start-memory.ts       gives back the memory that only starting needed
 * doctor.ts             what stands in the way on this host
 * real-clock.ts file-log.ts file-audit.ts prometheus-meter.ts   the ports of `base` over the real thing; version.ts its version
 */
import { randomUUID } from 'node:crypto'
import { rm, writeFile } from 'node:fs/promises'
import { createAdmission, type Admission } from '../agents/admission.ts'
import { createAgents, type Agents } from '../agents/agents.ts'
import { runExec } from '../agents/exec.ts'
import { openHost, type Host } from '../agents/host.ts'
import { createPipes } from '../agents/pipes.ts'
import { createSandbox, gpuDevices, probeIsolation, type IsolationProbe } from '../agents/sandbox.ts'
import { createUploads, type Uploads } from '../agents/uploads.ts'
import { startWatchdog } from '../agents/watchdog.ts'
import { createWorkspaces } from '../agents/workspaces.ts'
import { startApi } from '../api/api.ts'
import type { NodeTraits } from '../base/advertisement.ts'
import type { Audit } from '../base/audit.ts'
import { every, type Clock } from '../base/clock.ts'
import { reasonOf, type GodelError } from '../base/errors.ts'
import { limits } from '../base/limits.ts'
import type { Log } from '../base/log.ts'
import { toProblem, type Problem } from '../base/problem.ts'
import { loadOrCreateKey } from '../identity/node-key.ts'
import { issuersOf } from '../identity/realm-document.ts'
import { createRootKeys } from '../identity/root-keys.ts'
import { loadOrCreateSecret } from '../identity/secret-file.ts'
import { startMesh, type Mesh } from '../mesh/mesh.ts'
import { startNet, type Net } from '../net/net.ts'
import { startOwnership, type Ownership } from '../ownership/ownership.ts'
import { openGrant } from '../ownership/records.ts'
import { createCandidates } from '../routing/candidates.ts'
import { lockDataDir } from '../store/data-dir.ts'
import { openSqliteStore } from '../store/sqlite.ts'
import type { Store } from '../store/store.ts'
import { feedCandidates } from './candidate-feed.ts'
import { pathsIn } from './data-directory.ts'
import { drainReport, openDrain } from './drain.ts'
import { openFileAudit } from './file-audit.ts'
import { openFileLog } from './file-log.ts'
import { listenAddresses, rememberPort } from './listen-port.ts'
import { acceptedPeers, checkOptions, slotsOf, traitsOf, type NodeOptions } from './options.ts'
import { guestsOf, watchGrants } from './outside.ts'
import { createPrometheusMeter } from './prometheus-meter.ts'
import { createRealClock } from './real-clock.ts'
import { createServices, type Stage } from './reports.ts'
import { releaseStartMemory } from './start-memory.ts'

export type NodeEvent =
  { event: 'peer'; peerId: string; name: string; state: string } | { event: 'failed'; problem: Problem }

export interface RunningNode {
  readonly peerId: string
  readonly name: string
  /** Null where it is in none. */
  readonly realm: { id: string; name: string } | null
  /** The API's URL. */
  readonly api: string
  /** The multiaddrs that others can dial. */
  readonly listen: string[]
  readonly dataDir: string
  readonly isolation: { level: string; reason?: string }
  /** A join token for one host, where this node may invite. */
  readonly join?: { token: string; expiresAtMs: number }
  /** Tells what happens from now on. After `failed` the node can go on no longer and has to be stopped. */
  onEvent(fn: (event: NodeEvent) => void): void
  /** Leaves the realm in good order and ends everything; what was accepted is there at the next start. */
  stop(): Promise<void>
}

/** Starts a node. Every refusal of its parts comes through as it is; what was started by then is stopped again. */
export const startNode = async (options: NodeOptions): Promise<RunningNode> => {
  checkOptions(options, limits)
  await using unwinding = new AsyncDisposableStack()
  const parts = await build(options, unwinding)
  const { net, mesh, api, traits, isolation, failed } = parts
  const join = await invitation(mesh, parts.clock)
  const stack = unwinding.move()
  let stopped: Promise<void> | undefined
  return {
    peerId: net.peer,
    name: traits.name,
    realm: mesh.isStandalone() ? null : { id: mesh.realm().id, name: mesh.realm().name },
    api: api.url,
    listen: net.addresses(),
    dataDir: options.dataDir,
    isolation,
    ...(join && { join }),
    onEvent: (fn) => {
      mesh.view.onChange(({ peer, ad, state, self }, previous) => {
        if (!self && state !== previous?.state) fn({ event: 'peer', peerId: peer, name: ad.name, state })
      })
      void failed.then((error) => fn({ event: 'failed', problem: toProblem(error) }))
    },
    stop: () => (stopped ??= stack.disposeAsync()),
  }
}

/** A token for the next host; a node that is no issuer has none. */
const invitation = async (mesh: Mesh, clock: Clock) => {
  if (mesh.isStandalone()) return undefined
  if (!issuersOf(mesh.realm(), 'member').includes(mesh.view.self().peer)) return undefined
  const expiresAtMs = clock.wallMs() + limits.tokenTtlMs
  return { token: await mesh.invite({ uses: 1, ttlMs: limits.tokenTtlMs, role: 'member' }), expiresAtMs }
}

const build = async (options: NodeOptions, stack: AsyncDisposableStack) => {
  const { dataDir } = options
  const paths = pathsIn(dataDir)
  const clock = createRealClock()
  const lock = await lockDataDir(dataDir)
  stack.defer(() => lock.release())
  const { log, close: closeLog } = openFileLog(
    { clock, limits },
    { path: paths.log, level: options.logLevel ?? 'info' },
  )
  stack.defer(closeLog)
  const audit = openFileAudit({ clock, log, limits }, { path: paths.audit })
  stack.defer(audit.close)
  const { meter, text: metrics } = createPrometheusMeter()

  const key = await loadOrCreateKey(paths.nodeKey)
  const apiKey = await loadOrCreateSecret(paths.apiKey)
  const failure = Promise.withResolvers<GodelError>()
  const store = await openSqliteStore({ log, onFailed: failure.resolve }, { path: paths.store })
  stack.defer(() => store.close())

  const isolation = await probeIsolation()
  const traits = traitsOf(options, isolation.level)
  const startedAtMs = clock.wallMs()
  const stage: { now: Stage } = { now: 'starting' }

  const net = await startNet(
    { key, limits, clock, log, meter, audit },
    { listen: await listenAddresses(options, store, limits), relay: options.relay, mdns: options.mdns },
  )
  stack.defer(() => net.close())
  await rememberPort(net.addresses(), store)

  // Admission comes before the mesh, which tells of it, and tells the mesh when there is something to tell.
  const told: { mesh?: Mesh } = {}
  const onChange = () => told.mesh?.advertise()
  const drain = openDrain({ store, onChange })
  const admission = createAdmission(
    {
      ...{ clock, limits, peer: net.peer, traits, onChange },
      realm: () => told.mesh?.realm().id,
      draining: drain.draining,
    },
    { slots: slotsOf(options, limits) },
  )
  // While it starts or stops, a node is known and takes nothing: what it advertises then is that it is draining.
  const capacity = () =>
    stage.now === 'ok' ? admission.capacity() : { ...admission.capacity(), status: 'draining' as const }
  const mesh = await startMesh(
    {
      ...{ net, key, store, clock, log, meter, limits, audit, capacity, traits },
      rootKey: () => loadOrCreateKey(paths.rootKey),
      roots: createRootKeys(paths.rootKey),
      onFailed: failure.resolve,
    },
    { realm: options.realm, join: options.join, bootstrap: options.bootstrap, announce: options.announce },
  )
  stack.defer(() => mesh.close())
  told.mesh = mesh
  await pinAccepted(mesh, options)
  mesh.onRevoked(admission.forget)

  const rooms = await startRooms({ dataDir, net, mesh, store, clock, log, audit, traits, isolation, admission }, stack)
  const services = createServices({
    net,
    mesh,
    traits,
    isolation,
    dataDir,
    startedAtMs,
    clock,
    stage,
    api: () => api.url,
    agents: rooms.agents,
    admission,
    drain: { set: drain.set, report: () => drainReport({ drain, host: rooms.host, admission, limits }) },
    audit,
    metrics,
  })
  const api = await startApi(
    { services, clock, log: log.child({ room: 'api' }), meter, limits },
    { port: options.apiPort, host: '127.0.0.1', socketPath: paths.apiSocket, apiKey },
  )
  stack.defer(() => api.close())
  const address = JSON.stringify({ url: api.url, socket: api.socket, pid: process.pid })
  await writeFile(paths.apiAddress, address, { mode: 0o600 })
  stack.defer(() => rm(paths.apiAddress, { force: true }))

  stage.now = 'ok'
  mesh.advertise()
  const started = clock.after(limits.startMemoryMs, releaseStartMemory)
  stack.defer(() => started.cancel())
  log.info('node started', {
    peer: net.peer,
    name: traits.name,
    realm: mesh.isStandalone() ? null : mesh.realm().id,
    listen: net.addresses(),
    api: api.url,
  })
  stack.defer(async () => {
    // The first thing of a stop: nothing new is taken, and the realm hears of it while everything can still be said.
    stage.now = 'stopping'
    await mesh.leave()
    log.info('node stopped', { peer: net.peer })
  })
  return { net, mesh, api, traits, isolation, clock, failed: failure.promise }
}

/** What is pinned already stays as it is: an operator may have changed it since. */
const pinAccepted = async ({ pins }: Mesh, options: NodeOptions): Promise<void> => {
  const known = new Set(pins.list().map(({ peer }) => peer))
  for (const { peer, addresses } of acceptedPeers(options))
    if (!known.has(peer))
      await pins.register({ peer, addresses, scopes: ['capacity', 'exec'], agentsPerNode: limits.guestAgentsPerNode })
}

interface RoomDeps {
  dataDir: string
  net: Net
  mesh: Mesh
  store: Store
  clock: Clock
  log: Log
  audit: Audit
  traits: NodeTraits
  isolation: IsolationProbe
  admission: Admission
}

/** Ownership and agents: what a node does once it is in its realm. */
const startRooms = async (deps: RoomDeps, stack: AsyncDisposableStack): Promise<{ agents: Agents; host: Host }> => {
  const { dataDir, net, mesh, store, clock, log, traits, isolation, admission } = deps
  const { peer } = net
  const { view, rpc } = mesh
  const { guests, pins } = mesh
  const candidates = createCandidates()
  stack.defer(feedCandidates({ view, guests, candidates, clock, limits }))

  const ownership = await startOwnership({
    peer,
    realm: () => mesh.realm().id,
    rpc,
    sealer: net,
    view,
    guests,
    guestsOf: guestsOf(net),
    store,
    clock,
    log: log.child({ room: 'ownership' }),
    limits,
  })
  stack.defer(() => ownership.close())

  const agentLog = log.child({ room: 'agents' })
  const nodeMark = randomUUID()
  const watchdog = await startWatchdog({ log: agentLog, clock, limits }, { dataDir, nodeMark })
  stack.defer(() => watchdog.close())
  const pipes = await createPipes({ log: agentLog, limits }, { dataDir })
  stack.defer(() => pipes.close())
  const sandbox = createSandbox(isolation.level, { hide: [dataDir], devices: traits.gpu.count > 0 ? gpuDevices() : [] })
  const workspaces = createWorkspaces({ clock, log: agentLog, limits, sandbox, watchdog }, { dataDir })
  const uploads = createUploads({ clock, limits }, { dataDir })
  const host = await openHost({
    peer,
    realm: mesh.realm().id,
    store,
    clock,
    log: agentLog,
    limits,
    admission,
    workspaces,
    watchdog,
    runExec: (order) => runExec({ clock, log: agentLog, limits, watchdog, pipes }, { ...order, sandbox }),
    traits,
    isolation: isolation.level,
    publish: ownership.publish,
    openGrant: (grant) => openGrant(net, grant),
  })
  stack.defer(() => host.close())
  stack.defer(watchGrants({ host, mesh, peer, pins: pins.list, clock, log: agentLog, limits }))

  const agents = createAgents({
    net,
    mesh,
    guests,
    ownership,
    candidates,
    host,
    admission,
    uploads,
    audit: deps.audit,
    clock,
    log: agentLog,
    limits,
  })
  rpc.register(ownership.methods)
  rpc.register(agents.methods)
  keepRecordsFresh({ host, mesh, clock, log: agentLog, uploads, ownership }, stack)
  return { agents, host }
}

/**
 * The homes are told anew when members come or go, because homes move with them and because a node that was cut off learns
 * here, first of all, which of its agents have been superseded; and in any case now and then.
 */
const keepRecordsFresh = (
  deps: { host: Host; mesh: Mesh; clock: Clock; log: Log; uploads: Uploads; ownership: Ownership },
  stack: AsyncDisposableStack,
): void => {
  const { host, mesh, clock, log, uploads, ownership } = deps
  const failed = (error: unknown) => log.warn('housekeeping failed', { error: reasonOf(error) })
  let soon: { cancel(): void } | undefined
  const publishSoon = () => {
    soon ??= clock.after(limits.recordSettleMs, () => {
      soon = undefined
      Promise.all([host.publishAll(), ownership.handOn()]).catch(failed)
    })
  }
  const off = mesh.view.onChange((entry, previous) => {
    if (entry.state !== previous?.state) publishSoon()
  })
  const refresh = every(
    clock,
    () => limits.recordRefreshMs,
    () => host.publishAll(),
    failed,
  )
  const sweep = every(
    clock,
    () => limits.sweepIntervalMs,
    () => Promise.all([host.sweep(), uploads.sweep()]).then(() => {}),
    failed,
  )
  publishSoon()
  stack.defer(() => {
    off()
    soon?.cancel()
    refresh.stop()
    sweep.stop()
  })
}
