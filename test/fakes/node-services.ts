/**
 * A node for the API to speak for: agents in memory, and commands that are a few lines of this file. It keeps what it was asked,
 * so that a test can tell what happened and what did not.
 */
import type { NodeServices } from '../../src/api/services.ts'
import type { FailoverReport } from '../../src/base/failover.ts'
import type { Agent, ExecEvent, ExecSpec, SpawnRequest } from '../../src/base/agent.ts'
import type { AuditRecord, DrainReport, PeerReport } from '../../src/base/report.ts'
import { GodelError } from '../../src/base/errors.ts'
import { mintId } from '../../src/base/ids.ts'
import type { Decision } from '../../src/base/need.ts'
import { createFakeGovernance } from './node-governance.ts'

export const fakePeer = `12D3KooW${'A'.repeat(44)}`
export const otherPeer = `12D3KooW${'B'.repeat(44)}`
const realm = { id: 'ab'.repeat(32), name: 'lab' }

export interface FakeNode extends NodeServices {
  /** The audit log, which tests may add to. */
  readonly audited: AuditRecord[]
  /** What a look at the drain gives. */
  drained: DrainReport
  /** The peers that are listed. */
  known: PeerReport[]
  readonly agentsById: Map<string, Agent>
  /** Every call that changes something, by name. */
  readonly changes: string[]
  readonly spawned: SpawnRequest[]
  readonly execs: { agent: string; spec: ExecSpec; cancelled: boolean; chunks: number; ended: boolean }[]
  readonly uploads: Uint8Array[]
  addAgent(overrides?: Partial<Agent>): Agent
  decide(requestId: string): Decision
  readonly followers: () => number
  health(): { live: true; ready: boolean; status: 'starting' | 'ok' | 'stopping' }
  ready: boolean
  inRealm: boolean
}

export const fakeAgent = (overrides: Partial<Agent> = {}): Agent => ({
  id: mintId('ag', Date.now()),
  realm: realm.id,
  owner: fakePeer,
  role: 'worker',
  runtime: 'process',
  labels: {},
  status: 'idle',
  host: fakePeer,
  hostName: 'one',
  epoch: 1,
  isolation: 'bwrap',
  createdAtMs: 1_800_000_000_000,
  changedAtMs: 1_800_000_000_000,
  ...overrides,
})

export const fakeDecision = (requestId: string): Decision => ({
  requestId,
  atMs: 1_800_000_000_000,
  need: { requestId, runtime: 'process', capabilities: [], gpu: false, nodeLabels: {} },
  strategy: 'least-loaded',
  rule: 'strategy',
  pick: otherPeer,
  level: 'realm',
  considered: [
    { peer: fakePeer, node: 'one', level: 'realm', adAgeMs: 5, rejected: ['no GPU'] },
    { peer: otherPeer, node: 'two', level: 'realm', adAgeMs: 1_200, score: 0.75 },
  ],
  omitted: 0,
  attempts: [{ peer: otherPeer, node: 'two', epoch: 1, outcome: 'placed' }],
})

export const createFakeNode = (): FakeNode => {
  const agentsById = new Map<string, Agent>()
  const changes: string[] = []
  let failover: FailoverReport = {
    ...{ healthCheckIntervalMs: 1_000, failureThreshold: 3, recoveryTimeMs: 5_000 },
    source: 'default',
  }
  const execs: FakeNode['execs'] = []
  const spawned: SpawnRequest[] = []
  const uploads: Uint8Array[] = []
  const decisions: Decision[] = []
  const listeners = new Set<() => void>()
  const audited: AuditRecord[] = []

  const find = (id: string): Agent => {
    const agent = agentsById.get(id)
    if (agent === undefined) throw new GodelError({ code: 'AGENT_NOT_FOUND', agent: id })
    return agent
  }
  const add = (overrides: Partial<Agent> = {}): Agent => {
    const agent = fakeAgent(overrides)
    agentsById.set(agent.id, agent)
    return agent
  }

  const node: FakeNode = {
    agentsById,
    changes,
    execs,
    spawned,
    uploads,
    addAgent: add,
    ready: true,
    inRealm: true,
    decide(requestId) {
      const decision = fakeDecision(requestId)
      decisions.push(decision)
      for (const wake of listeners) wake()
      return decision
    },
    followers: () => listeners.size,
    health: () => ({ live: true, ready: node.ready, status: node.ready ? 'ok' : 'starting' }),
    identity: () => ({ peer: fakePeer, name: 'one', realm, version: '0.1.0' }),
    node: () => ({
      peer: fakePeer,
      name: 'one',
      version: '0.1.0',
      realm,
      role: 'admin',
      startedAtMs: 1_800_000_000_000,
      dataDir: '/nowhere',
      api: 'http://127.0.0.1:7373',
      listen: ['/ip4/127.0.0.1/tcp/4001'],
      capacity: { status: 'available', currentLoad: 0.25, running: 2, maxConcurrent: 8 },
      traits: {
        name: 'one',
        labels: {},
        capabilities: [],
        runtimes: [{ kind: 'process', version: '1' }],
        gpu: { count: 0, types: [] },
        cost: {},
        isolation: 'bwrap',
        acceptUnsandboxed: false,
        shareable: false,
        shareFraction: 0,
      },
      peers: { alive: 1, suspect: 0, down: 0, left: 0, recovering: 0 },
      detector: { health: 0, slow: false, watched: 1 },
      agents: { running: 2 },
      isolation: { level: 'bwrap' },
    }),
    peers: () => node.known,
    known: [
      {
        peer: otherPeer,
        name: 'two\u001b[31m',
        state: 'alive',
        status: 'available',
        currentLoad: 0,
        running: 0,
        maxConcurrent: 8,
        gpu: { count: 1, types: ['nvidia-a100'] },
        capabilities: [],
        runtimes: [],
        isolation: 'bwrap',
        cost: {},
        labels: {},
        adAgeMs: 1_200,
        incarnation: 1,
        sequence: 1,
        self: false,
        restarts: 0,
        connected: true,
        addresses: [],
      },
    ],
    realm: () =>
      node.inRealm
        ? {
            ...realm,
            federation: null,
            version: 1,
            issuedAtMs: 1_800_000_000_000,
            role: 'admin',
            certificateExpiresAtMs: 1_800_600_000_000,
            issuers: [{ peer: fakePeer, roles: ['admin'] }],
            roots: [],
          }
        : undefined,
    ...createFakeGovernance({ self: fakePeer, other: otherPeer, changes }),
    audited,
    audit: {
      record: (entry) =>
        void audited.push({ seq: audited.length + 1, atMs: 1_800_000_000_000 + audited.length, ...entry }),
      read: ({ limit, sinceMs = 0 }) => audited.filter((entry) => entry.atMs >= sinceMs).slice(-limit),
    },
    drained: { draining: false, empty: true, running: [], staying: [], reserved: 0 },
    drain: {
      async set(draining) {
        changes.push(draining ? 'drain' : 'undrain')
        node.drained = { ...node.drained, draining }
      },
      report: () => node.drained,
    },
    async invite({ uses, ttlMs, role }) {
      changes.push('invite')
      return { token: 'GDL1.token', uses, role, expiresAtMs: 1_800_000_000_000 + ttlMs }
    },
    failover: {
      report: () => failover,
      async configure({ scope, ...change }) {
        changes.push('configure')
        if (scope === 'realm')
          throw new GodelError({ code: 'FORBIDDEN', action: 'changing the realm', reason: 'no root key is here' })
        failover = { ...failover, ...change, source: 'node' }
        return failover
      },
    },
    metrics: async () => 'up 1\n',
    agents: {
      async spawn(request) {
        changes.push('spawn')
        spawned.push(request)
        if (request.requirements?.gpuType === 'none-such')
          throw new GodelError({
            code: 'NO_CANDIDATE',
            need: 'a GPU',
            considered: [{ node: 'one', peer: fakePeer, reasons: ['no GPU'] }],
            attempts: 0,
          })
        const known = agentsById.get(request.id!)
        return known ?? add({ id: request.id!, labels: request.labels ?? {}, role: request.role ?? 'worker' })
      },
      async list({ labels = {}, status, node: host }) {
        const fits = (agent: Agent) =>
          Object.entries(labels).every(([key, value]) => agent.labels[key] === value) &&
          (status === undefined || agent.status === status) &&
          (host === undefined || agent.hostName === host)
        return {
          agents: [...agentsById.values()].filter(fits),
          unanswered: [{ peer: otherPeer, node: 'two', reason: 'silent' }],
        }
      },
      get: async (id) => find(id),
      async kill(id, { purge }) {
        changes.push(purge ? 'purge' : 'kill')
        const agent = { ...find(id), status: 'stopped' as const }
        agentsById.set(id, agent)
        return agent
      },
      async *exec(id, spec, { signal, stdin }) {
        changes.push('exec')
        find(id)
        const record = { agent: id, spec, cancelled: false, chunks: 0, ended: false }
        execs.push(record)
        const onAbort = () => (record.cancelled = true)
        signal.addEventListener('abort', onAbort)
        try {
          yield { type: 'started', execId: spec.execId!, epoch: 1 }
          const state = { seq: 0 }
          for await (const event of runFake(spec, state, stdin, signal)) {
            if (event.type === 'output') record.chunks++
            yield event
          }
        } finally {
          record.ended = true
        }
      },
      async receiveUpload(source) {
        changes.push('upload')
        const parts: Uint8Array[] = []
        for await (const part of source) parts.push(part)
        const all = Buffer.concat(parts)
        uploads.push(all)
        return { upload: mintId('up', Date.now()), bytes: all.byteLength }
      },
      explain: () => fakeDecision(mintId('rq', Date.now())),
      decisions: {
        recent: (limit) => decisions.slice(-limit).toReversed(),
        async *follow(signal) {
          let at = decisions.length
          let wake = Promise.withResolvers<void>()
          const onWake = () => wake.resolve()
          listeners.add(onWake)
          signal.addEventListener('abort', onWake)
          try {
            while (!signal.aborted) {
              while (at < decisions.length) yield decisions[at++]!
              wake = Promise.withResolvers()
              if (at < decisions.length || signal.aborted) continue
              await wake.promise
            }
          } finally {
            listeners.delete(onWake)
          }
        },
      },
    },
  }
  return node
}

const untilAborted = (signal: AbortSignal): Promise<never> =>
  new Promise((_resolve, reject) => {
    const stop = () => reject(new GodelError({ code: 'CANCELLED', what: 'the exec' }))
    if (signal.aborted) stop()
    signal.addEventListener('abort', stop, { once: true })
  })

const readable = async (stdin: AsyncIterable<Uint8Array> | undefined): Promise<Buffer> => {
  const parts: Uint8Array[] = []
  for await (const part of stdin ?? []) parts.push(part)
  return Buffer.concat(parts)
}

/** The commands of this host. */
async function* runFake(
  { command, args = [] }: ExecSpec,
  state: { seq: number },
  stdin: AsyncIterable<Uint8Array> | undefined,
  signal: AbortSignal,
): AsyncIterable<ExecEvent> {
  const output = (data: Uint8Array, stream: 'stdout' | 'stderr' = 'stdout'): ExecEvent => ({
    type: 'output',
    stream,
    seq: state.seq++,
    data,
  })
  const exit = (code: number | null, ended: string | null = null): ExecEvent => ({
    type: 'exit',
    seq: state.seq++,
    code,
    signal: ended,
  })
  switch (command) {
    case 'echo':
      yield output(Buffer.from(`${args.join(' ')}\n`))
      return yield exit(0)
    case 'both':
      yield output(Buffer.from('out\n'))
      yield output(Buffer.from('err\n'), 'stderr')
      return yield exit(Number(args[0] ?? 0))
    case 'bytes':
      yield output(Uint8Array.from({ length: 256 }, (_, index) => index))
      return yield exit(0)
    case 'cat':
      for await (const part of stdin ?? []) yield output(part)
      return yield exit(0)
    case 'length':
      yield output(Buffer.from(String((await readable(stdin)).byteLength)))
      return yield exit(0)
    case 'take-one':
      for await (const part of stdin ?? []) {
        yield output(Buffer.from(String(part.byteLength > 0)))
        break
      }
      return yield exit(0)
    case 'signal':
      return yield exit(null, args[0]!)
    case 'timeout':
      return yield { type: 'exit', seq: 0, code: null, signal: 'SIGTERM', cause: 'timeout' }
    case 'hang':
      yield output(Buffer.from('up\n'))
      return await untilAborted(signal)
    case 'flood':
      for (let left = Number(args[0]); left > 0; left--) {
        if (signal.aborted) return
        yield output(new Uint8Array(64 * 1024))
      }
      return yield exit(0)
    case 'break':
      yield output(Buffer.from('some\n'))
      throw new GodelError({ code: 'STREAM_LOST', peer: otherPeer, reason: 'the cable was cut' })
    default:
      throw new GodelError({ code: 'EXEC_FAILED', command, reason: 'there is no such command' })
  }
}
