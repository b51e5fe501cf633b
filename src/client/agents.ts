/** Agents from a program: spawn, list, show, end, and commands in them. */
import type { Agent, AgentStatus, ExecEvent, Requirements, SpawnRequest } from '../base/agent.ts'
import { sleep } from '../base/clock.ts'
import { GodelError, hasCode } from '../base/errors.ts'
import { mintId } from '../base/ids.ts'
import type { Upload } from '../base/report.ts'
import { execute, runToEnd, type ExecOptions, type ExecResult } from './exec.ts'
import { isLostAnswer, type Http } from './http.ts'
import { isFileUrl, uploadDirectory, uploadLocalRepository } from './workspace.ts'

/** The files that an agent begins with: a directory of this machine, a git URL, or a tree that was uploaded before. */
export type WorkspaceOption = { dir: string } | { git: string } | { upload: string }

export interface SpawnOptions {
  /** Minted here when it is missing. The same id is the same request, however often it is sent. */
  id?: string
  role?: string
  model?: string
  runtime?: string
  labels?: Record<string, string>
  requirements?: Requirements
  timeoutSeconds?: number
  workspace?: WorkspaceOption
}

export interface AgentFilter {
  status?: AgentStatus
  labels?: Record<string, string>
  /** The host, by name or PeerId. */
  node?: string
  model?: string
}

export interface AgentList {
  agents: Agent[]
  /** Nodes that were asked and did not answer; their agents may be missing above. */
  unanswered: { peer: string; node: string; reason: string }[]
}

interface Signal {
  signal?: AbortSignal
}

export class AgentsClient {
  readonly #http: Http

  constructor(http: Http) {
    this.#http = http
  }

  /**
   * Starts an agent where it fits best. A lost answer is asked for again with the same id, a few times.
   * NO_CANDIDATE with what each node lacked, WORKSPACE_FAILED, SPAWN_IN_DOUBT when the answer stays lost.
   */
  async spawn(options: SpawnOptions = {}, { signal }: Signal = {}): Promise<Agent> {
    const { workspace, ...rest } = options
    const id = options.id ?? mintId('ag', this.#http.clock.wallMs())
    const source = workspace && (await this.#workspace(workspace, signal))
    return spawnOnce(this.#http, { ...rest, id, ...(source && { workspace: source }) }, signal)
  }

  /** Files of this machine are sent first; a repository elsewhere is cloned by the host of the agent. */
  async #workspace(workspace: WorkspaceOption, signal?: AbortSignal): Promise<{ git: string } | { upload: string }> {
    if ('upload' in workspace) return workspace
    if ('git' in workspace && !isFileUrl(workspace.git)) return workspace
    const sent =
      'dir' in workspace
        ? await uploadDirectory(this.#http, workspace.dir, signal)
        : await uploadLocalRepository(this.#http, workspace.git, signal)
    return { upload: sent.upload }
  }

  list(filter: AgentFilter = {}): Promise<AgentList> {
    const { labels = {}, ...rest } = filter
    const query = new URLSearchParams(
      Object.entries(rest).filter((entry): entry is [string, string] => entry[1] !== undefined),
    )
    for (const [key, value] of Object.entries(labels)) query.append('label', `${key}=${value}`)
    return this.#http.call('GET', query.size === 0 ? '/v1/agents' : `/v1/agents?${query}`)
  }

  /** AGENT_NOT_FOUND. */
  get(id: string): Promise<Agent> {
    return this.#http.call('GET', `/v1/agents/${encodeURIComponent(id)}`)
  }

  /** Ends an agent. Its workspace is kept for a day, unless `purge` is true. */
  kill(id: string, { purge = false }: { purge?: boolean } = {}): Promise<Agent> {
    return this.#http.call('DELETE', `/v1/agents/${encodeURIComponent(id)}${purge ? '?purge=true' : ''}`)
  }

  /** Runs a command; see exec.ts. */
  exec(id: string, options: ExecOptions): AsyncGenerator<ExecEvent> {
    return execute(this.#http, id, options)
  }

  /** Runs a command to its end and gives its output and exit code. */
  run(
    id: string,
    command: string,
    args: string[] = [],
    options: Omit<ExecOptions, 'command' | 'args'> = {},
  ): Promise<ExecResult> {
    return runToEnd(this.#http, id, { ...options, command, args })
  }

  /** Sends a directory to the node, for a spawn with `workspace: { upload }` within the hour. */
  uploadWorkspace(dir: string, { signal }: Signal = {}): Promise<Upload> {
    return uploadDirectory(this.#http, dir, signal)
  }
}

const spawnOnce = async (http: Http, request: SpawnRequest & { id: string }, signal?: AbortSignal): Promise<Agent> => {
  const { clock, limits } = http
  for (let attempt = 1; ; attempt++) {
    try {
      const options = { body: request, timeoutMs: limits.clientSpawnTimeoutMs, ...(signal && { signal }) }
      return await http.call<Agent>('POST', '/v1/agents', options)
    } catch (error) {
      const lost =
        isLostAnswer(error) || hasCode(error, 'SPAWN_IN_DOUBT') || (attempt > 1 && hasCode(error, 'NODE_UNREACHABLE'))
      if (!lost) throw error
      if (attempt >= limits.clientAttemptsMax) {
        if (hasCode(error, 'SPAWN_IN_DOUBT')) throw error
        throw new GodelError(
          { code: 'SPAWN_IN_DOUBT', agent: request.id, node: await http.url().catch(() => 'the node') },
          { cause: error },
        )
      }
      await sleep(clock, limits.clientRetryMs * 2 ** (attempt - 1), signal)
    }
  }
}
