/**
 * Room agents: agents on this node, and agents anywhere in the realm as if they were here.
 *
 * agents.ts      the service that the API offers, put together (this file); the caller never says where an agent is
 * placement.ts   spawn from the caller's side: route, reserve, start, next candidate; lost answers in settle.ts; need-of.ts
 * decisions.ts   the record of every placement
 * directory.ts   finding and listing agents across the realm
 * serving.ts     what this node does for its peers; methods.ts has the rows, rights.ts says who may do what with an agent
 * admission.ts   the truth about this node's slots
 * host.ts        the agents of this node: durable, the same after a restart; host-store.ts execs.ts
 * exec.ts        one command with its streams: exec-command.ts exec-input.ts exec-output.ts pipes.ts descriptors.ts interrupt.ts
 * sandbox.ts     the walls around a command; sandbox-mounts.ts what can be seen through them
 * watchdog.ts    the end of every process tree: watchdog-main.ts watchdog-protocol.ts processes.ts
 * workspaces.ts  the files of an agent; workspace-tar.ts as they arrive; uploads.ts on their way from a client
 */
import type { Agent, ExecEvent, ExecSpec, SpawnRequest } from '../base/agent.ts'
import { silentAudit, type Audit } from '../base/audit.ts'
import type { Clock } from '../base/clock.ts'
import { GodelError, hasCode } from '../base/errors.ts'
import { mintId } from '../base/ids.ts'
import type { Limits } from '../base/limits.ts'
import type { Log } from '../base/log.ts'
import type { Decision } from '../base/need.ts'
import type { GuestView } from '../mesh/guest-view.ts'
import type { Mesh } from '../mesh/mesh.ts'
import type { Net } from '../net/net.ts'
import type { BoundMethod } from '../net/method.ts'
import type { Ownership } from '../ownership/ownership.ts'
import type { Candidates } from '../routing/candidates.ts'
import type { Admission } from './admission.ts'
import { createDecisions, type Decisions } from './decisions.ts'
import { createDirectory, type AgentFilter, type Unanswered } from './directory.ts'
import type { Host } from './host.ts'
import { agentExec, agentKill, WORKSPACE_BULK } from './methods.ts'
import { createPlacement } from './placement.ts'
import { mustAct, type AgentAction, type Subject } from './rights.ts'
import { agentMethods, serveWorkspaces } from './serving.ts'
import type { Uploads } from './uploads.ts'

export interface Agents {
  /** See placement.ts. FORBIDDEN where this node is an observer. */
  spawn(request: SpawnRequest, signal?: AbortSignal): Promise<Agent>
  /** Every agent of the realm that fits the filter, and the nodes that did not answer. */
  list(filter: AgentFilter): Promise<{ agents: Agent[]; unanswered: Unanswered[] }>
  /** AGENT_NOT_FOUND. */
  get(agent: string): Promise<Agent>
  /** Ends an agent wherever it is. AGENT_NOT_FOUND, AGENT_LOST, FORBIDDEN. */
  kill(agent: string, options: { purge: boolean }): Promise<Agent>
  /**
   * Runs a command in an agent wherever it is. Reading slowly slows the command; aborting or leaving ends it.
   * AGENT_NOT_FOUND, AGENT_NOT_RUNNING, AGENT_LOST, FORBIDDEN, EXEC_FAILED, QUEUE_FULL, STREAM_LOST.
   */
  exec(
    agent: string,
    spec: ExecSpec,
    options: { signal: AbortSignal; stdin?: AsyncIterable<Uint8Array> },
  ): AsyncIterable<ExecEvent>
  /** Takes a tar of files for a spawn that follows. */
  receiveUpload(source: AsyncIterable<Uint8Array>): Promise<{ upload: string; bytes: number }>
  explain(request: SpawnRequest): Decision
  readonly decisions: Pick<Decisions, 'recent' | 'follow'>
  readonly methods: readonly BoundMethod[]
}

interface AgentsDeps {
  net: Net
  mesh: Mesh
  guests: GuestView
  ownership: Ownership
  candidates: Candidates
  host: Host
  admission: Admission
  uploads: Uploads
  audit?: Audit
  clock: Clock
  log: Log
  limits: Limits
}

/** Puts the room together around a host that is open already. */
export const createAgents = (deps: AgentsDeps): Agents => {
  const { net, mesh, guests, ownership, candidates, host, admission, uploads, clock, log, limits } = deps
  const { peer } = net
  const { view, rpc } = mesh
  const directory = createDirectory({ rpc, view, guests, ownership, clock, limits })
  const decisions = createDecisions({ kept: limits.decisionsKept })

  const sendFiles = async (
    target: string,
    reservation: string,
    upload: string,
    signal?: AbortSignal,
  ): Promise<void> => {
    const source = uploads.open(upload)
    if (target === peer) await host.stage(reservation, peer, source, signal ?? new AbortController().signal)
    else {
      await rpc.reach(target, { ...(signal && { signal }) })
      await net.bulk.send(target, WORKSPACE_BULK, { reservation }, source, { ...(signal && { signal }) })
    }
  }

  const placement = createPlacement({
    peer,
    mesh,
    guests,
    candidates,
    rpc,
    sealer: net,
    ownership,
    directory,
    decisions,
    sendFiles,
    clock,
    log,
    limits,
  })
  serveWorkspaces({ net, host })

  /**
   * Whether this node may do that, by its own role. The host of an agent checks it too; one in another realm may not know the
   * role of the caller, and a spawn is refused before anybody is asked. FORBIDDEN.
   */
  const check = (action: AgentAction, subject: Subject): void =>
    mustAct(action, subject, { kind: 'self', peer, role: mesh.membership().role }, mesh.realm().id)

  const isAbroad = (host: string): boolean => host !== peer && view.get(host) === undefined

  /** An agent that can be talked to. */
  const reachable = async (id: string, signal?: AbortSignal): Promise<Agent> => {
    const agent = await directory.get(id, signal)
    if (agent.status === 'stopped') throw new GodelError({ code: 'AGENT_NOT_FOUND', agent: id })
    if (agent.status === 'lost') throw new GodelError({ code: 'AGENT_LOST', agent: id, host: agent.hostName })
    if (isAbroad(agent.host)) check('use', agent)
    return agent
  }

  const execAt = (at: { host: string; epoch: number }, id: string, spec: ExecSpec, options: ExecOptions) => {
    const outgoing = options.stdin && inChunks(options.stdin, limits.execChunkBytes)
    return rpc.stream(
      at.host,
      agentExec,
      { agent: id, epoch: at.epoch, spec },
      { signal: options.signal, ...(outgoing && { outgoing }) },
    )
  }

  return {
    async spawn(request, signal) {
      check('spawn', { owner: peer, realm: mesh.realm().id })
      const upload = request.workspace && 'upload' in request.workspace ? request.workspace.upload : undefined
      let inDoubt = false
      try {
        return await placement.spawn(request, signal)
      } catch (error) {
        inDoubt = hasCode(error, 'SPAWN_IN_DOUBT')
        throw error
      } finally {
        // What is in doubt will be asked for again, with the same files.
        if (upload !== undefined && !inDoubt) await uploads.remove(upload)
      }
    },
    list: directory.list,
    get: (id) => directory.get(id),
    async kill(id, { purge }) {
      const agent = await directory.get(id)
      if (agent.status === 'lost') throw new GodelError({ code: 'AGENT_LOST', agent: id, host: agent.hostName })
      // "Stop" is always allowed to the operator of the host; elsewhere it goes by the role.
      if (isAbroad(agent.host)) check('use', agent)
      directory.forget(id)
      return rpc.call(agent.host, agentKill, { agent: id, purge }, { timeoutMs: limits.rpcDefaultTimeoutMs })
    },
    async *exec(id, spec, options) {
      const named: ExecSpec = {
        ...spec,
        execId: spec.execId ?? mintId('ex', clock.wallMs()),
        stdin: options.stdin !== undefined,
      }
      const hint = directory.hint(id)
      if (hint && !isAbroad(hint.host) && options.stdin === undefined) {
        let begun = false
        try {
          for await (const event of execAt(hint, id, named, options)) {
            begun = true
            yield event
          }
          return
        } catch (error) {
          // Nothing ran yet where the hint was wrong: look the agent up and try once more.
          if (begun || !hasCode(error, 'AGENT_NOT_FOUND', 'STALE_EPOCH', 'PEER_UNREACHABLE')) throw error
          directory.forget(id)
        }
      }
      yield* execAt(await reachable(id, options.signal), id, named, options)
    },
    receiveUpload: (source) => uploads.receive(source),
    explain: placement.explain,
    decisions,
    methods: agentMethods({ mesh, host, admission, ownership, limits, audit: deps.audit ?? silentAudit }),
  }
}

interface ExecOptions {
  signal: AbortSignal
  stdin?: AsyncIterable<Uint8Array>
}

/** Cuts input to the size of a frame; the bytes are not copied. */
async function* inChunks(source: AsyncIterable<Uint8Array>, bytes: number): AsyncIterable<{ data: Uint8Array }> {
  for await (const part of source)
    for (let at = 0; at < part.byteLength; at += bytes) yield { data: part.subarray(at, at + bytes) }
}
