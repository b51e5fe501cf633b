/**
 * The files of agents: `<dataDir>/agents/<agent>/` with `workspace` and `home`. A tree is made beside its place and
 * moved there when it is complete, so that what is in place is whole.
 */
import { randomUUID } from 'node:crypto'
import { chmod, lstat, mkdir, readdir, rename, rm } from 'node:fs/promises'
import path from 'node:path'
import type { Clock } from '../base/clock.ts'
import { GodelError, hasCode, reasonOf } from '../base/errors.ts'
import { gitReason } from '../base/git.ts'
import { idPattern, mintId } from '../base/ids.ts'
import type { Limits } from '../base/limits.ts'
import type { Log } from '../base/log.ts'
import { runExec, type ExecDeps } from './exec.ts'
import type { Sandbox } from './sandbox.ts'
import { extractTar } from './workspace-tar.ts'

export interface AgentDirs {
  root: string
  workspace: string
  home: string
}

export type WorkspaceSourceFiles =
  { kind: 'empty' } | { kind: 'git'; url: string } | { kind: 'tar'; stream: AsyncIterable<Uint8Array> }

export interface Workspaces {
  /**
   * Makes the files of an agent, in place of any that it had. WORKSPACE_FAILED with what is wrong with the source,
   * TOO_LARGE, CANCELLED; the files are as before then.
   */
  prepare(agent: string, source: WorkspaceSourceFiles, signal: AbortSignal): Promise<AgentDirs>
  dirs(agent: string): AgentDirs
  /** Removes the files of an agent; there need not be any. */
  remove(agent: string): Promise<void>
  /** The agents that have files here, half-made ones included. */
  list(): Promise<string[]>
  /** Removes what was in the making when an earlier node ended. Only while nothing is being prepared. */
  removeUnfinished(): Promise<void>
}

export interface WorkspacesDeps {
  clock: Clock
  log: Log
  limits: ExecDeps['limits'] &
    Pick<Limits, 'workspaceBytesMax' | 'workspaceEntriesMax' | 'workspaceDepthMax' | 'gitCloneTimeoutMs'>
  sandbox: Sandbox
  watchdog: ExecDeps['watchdog']
}

const agentPattern = new RegExp(idPattern('ag'))

export const createWorkspaces = (deps: WorkspacesDeps, { dataDir }: { dataDir: string }): Workspaces => {
  const base = path.join(dataDir, 'agents')

  const dirsAt = (root: string): AgentDirs => ({
    root,
    workspace: path.join(root, 'workspace'),
    home: path.join(root, 'home'),
  })

  const rootOf = (agent: string): string => {
    if (!agentPattern.test(agent))
      throw new GodelError({ code: 'INVALID_ARGUMENT', field: 'agent', reason: 'is not the id of an agent' })
    return path.join(base, agent)
  }

  /** Half-made and half-removed trees bear the agent's id behind a dot word. */
  const asideOf = (agent: string, word: 'new' | 'old'): string => path.join(base, `.${word}-${agent}.${randomUUID()}`)

  const fill = async (agent: string, dirs: AgentDirs, source: WorkspaceSourceFiles, signal: AbortSignal) => {
    for (const dir of [dirs.root, dirs.workspace, dirs.home]) await mkdir(dir, { recursive: true, mode: 0o700 })
    if (source.kind === 'git') await cloneGit(deps, agent, dirs, source.url, signal)
    if (source.kind === 'tar') await extractTar(deps.limits, source.stream, dirs.workspace, signal)
  }

  const putInPlace = async (agent: string, made: string): Promise<void> => {
    const root = rootOf(agent)
    const old = asideOf(agent, 'old')
    const hadFiles = await rename(root, old).then(
      () => true,
      () => false,
    )
    await rename(made, root)
    if (hadFiles) await removeTree(old)
  }

  return {
    async prepare(agent, source, signal) {
      const { root } = dirsAt(rootOf(agent))
      const made = dirsAt(asideOf(agent, 'new'))
      try {
        signal.throwIfAborted()
        await fill(agent, made, source, signal)
        await putInPlace(agent, made.root)
      } catch (error) {
        await removeTree(made.root)
        if (signal.aborted)
          throw new GodelError({ code: 'CANCELLED', what: 'preparing the workspace' }, { cause: error })
        if (hasCode(error, 'WORKSPACE_FAILED', 'TOO_LARGE')) throw error
        throw new GodelError({ code: 'WORKSPACE_FAILED', reason: reasonOf(error) }, { cause: error })
      }
      return dirsAt(root)
    },
    dirs: (agent) => dirsAt(rootOf(agent)),
    async remove(agent) {
      const root = rootOf(agent)
      for (const name of await namesIn(base))
        if (name === agent || asideAgent(name) === agent) await removeTree(path.join(base, name))
      await removeTree(root)
    },
    async removeUnfinished() {
      for (const name of await namesIn(base)) if (asideAgent(name)) await removeTree(path.join(base, name))
    },
    async list() {
      const names = await namesIn(base)
      return [...new Set(names.map((name) => asideAgent(name) ?? name).filter((name) => agentPattern.test(name)))]
    },
  }
}

const asideAgent = (name: string): string | undefined => /^\.(?:new|old)-([^.]+)\./.exec(name)?.[1]

const namesIn = async (dir: string): Promise<string[]> => {
  try {
    return await readdir(dir)
  } catch (error) {
    if ((error as NodeJS.ErrnoException).code === 'ENOENT') return []
    throw error
  }
}

/** Removes a tree, directories without write permission included. Links are removed, never followed. */
export const removeTree = async (root: string): Promise<void> => {
  try {
    await rm(root, { recursive: true, force: true })
  } catch {
    await openDirectories(root)
    await rm(root, { recursive: true, force: true, maxRetries: 3 })
  }
}

/** What disappears meanwhile is fine: a removal that failed in one place may still be going on in another. */
const openDirectories = async (dir: string): Promise<void> => {
  try {
    if (!(await lstat(dir)).isDirectory()) return
    await chmod(dir, 0o700)
    for (const child of await readdir(dir, { withFileTypes: true }))
      if (child.isDirectory()) await openDirectories(path.join(dir, child.name))
  } catch (error) {
    if ((error as NodeJS.ErrnoException).code !== 'ENOENT') throw error
  }
}

/** `git@host:path`, or a URL of one of the schemes that name another machine. */
const gitUrlPattern = /^(?:(?:https?|git|ssh):\/\/[^/\s]+\/\S*|[\w.-]+@[\w.-]+:(?!\/\/)[^\s]+)$/

/** Clones inside of a sandbox, since a repository can make git do more than copy files. */
const cloneGit = async (
  deps: WorkspacesDeps,
  agent: string,
  dirs: AgentDirs,
  url: string,
  signal: AbortSignal,
): Promise<void> => {
  if (!gitUrlPattern.test(url))
    throw new GodelError({
      code: 'WORKSPACE_FAILED',
      reason: `${withoutSecrets(url)} is not a git URL of http, https, git or ssh`,
    })
  const { limits, clock } = deps
  const events = runExec(deps, {
    agent,
    epoch: 0,
    execId: mintId('ex', clock.wallMs()),
    sandbox: deps.sandbox,
    dirs,
    spec: {
      command: 'git',
      args: ['-c', 'core.hooksPath=/dev/null', 'clone', '--no-recurse-submodules', '--', url, '.'],
      env: gitEnv,
      timeoutSeconds: Math.ceil(limits.gitCloneTimeoutMs / 1000),
    },
    stdin: undefined,
    signal,
  })
  let said = ''
  for await (const event of events) {
    if (event.type === 'output') said = (said + Buffer.from(event.data).toString()).slice(-1_024)
    if (event.type !== 'exit' || event.code === 0) continue
    const why =
      event.cause === 'timeout'
        ? `it took more than ${limits.gitCloneTimeoutMs} ms`
        : (gitReason(said) ?? 'git said nothing')
    throw new GodelError({ code: 'WORKSPACE_FAILED', reason: withoutSecrets(`git clone ${url} failed: ${why}`) })
  }
  await checkSize(limits, dirs.workspace)
}

const gitEnv = {
  GIT_TERMINAL_PROMPT: '0',
  GIT_ALLOW_PROTOCOL: 'https:http:git:ssh',
  GIT_ASKPASS: 'true',
  GIT_SSH_COMMAND: 'ssh -o BatchMode=yes -o StrictHostKeyChecking=accept-new',
  GIT_CONFIG_NOSYSTEM: '1',
}

const withoutSecrets = (text: string): string => text.replace(/(\w+:\/\/)[^/@\s]*@/g, '$1')

const checkSize = async (limits: WorkspacesDeps['limits'], root: string): Promise<void> => {
  let bytes = 0
  let entries = 0
  for (const entry of await readdir(root, { recursive: true, withFileTypes: true })) {
    if (++entries > limits.workspaceEntriesMax)
      throw new GodelError({
        code: 'WORKSPACE_FAILED',
        reason: `it has more than ${limits.workspaceEntriesMax} entries`,
      })
    if (entry.isFile()) bytes += (await lstat(path.join(entry.parentPath, entry.name))).size
    if (bytes > limits.workspaceBytesMax)
      throw new GodelError({ code: 'TOO_LARGE', what: 'the workspace', bytes, limitBytes: limits.workspaceBytesMax })
  }
}
