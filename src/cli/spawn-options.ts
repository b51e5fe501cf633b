/** The options of `agent spawn`, shared with `why-not`, and the request that they make. */
import { stat } from 'node:fs/promises'
import { resolve } from 'node:path'
import type { Command } from 'commander'
import type { Requirements } from '../base/agent.ts'
import { GodelError } from '../base/errors.ts'
import { limits } from '../base/limits.ts'
import type { SpawnOptions, WorkspaceOption } from '../client/agents.ts'
import type { CommonOptions } from './command.ts'
import { duration, pair, word } from './values.ts'

export interface SpawnFlags extends CommonOptions {
  role?: string
  model?: string
  runtime?: string
  label?: Record<string, string>
  gpu?: boolean
  gpuType?: string
  region?: string
  node?: string
  timeout?: number
  workspace?: string
  isolation?: 'none' | 'bwrap'
}

export const addSpawnOptions = (command: Command): Command =>
  command
    .option('--role <role>', 'what the agent is for')
    .option('--model <model>', 'the model that it uses')
    .option('--runtime <runtime>', 'what runs it (process)')
    .option('--label <key=value>', 'a label of the agent; may be repeated', pair('--label'))
    .option('--gpu', 'on a node that has a GPU')
    .option('--gpu-type <type>', 'on a node that has a GPU of this type')
    .option('--region <region>', 'on a node of this region')
    .option('--node <node>', 'on this node, by name or peer id')
    .option(
      '--timeout <time>',
      'its life: 90, 30m, 1h, 2d',
      duration('--timeout', { max: limits.agentTimeoutSecondsMax }),
    )
    .option('--workspace <dir|url>', 'its files: a directory of this machine, or a git URL')
    .option('--isolation <level>', 'none or bwrap: no less than this', word('--isolation', ['none', 'bwrap']))

const requirementsOf = ({ gpu, gpuType, region, node, isolation }: SpawnFlags): Requirements => ({
  ...((gpu || gpuType !== undefined) && { gpu: true }),
  ...(gpuType !== undefined && { gpuType }),
  ...(region !== undefined && { region }),
  ...(node !== undefined && { node }),
  ...(isolation !== undefined && { isolation }),
})

/** The request without its files. */
export const requestOf = (flags: SpawnFlags): Omit<SpawnOptions, 'workspace' | 'id'> => {
  const requirements = requirementsOf(flags)
  const { role, model, runtime, label, timeout } = flags
  return {
    ...(role !== undefined && { role }),
    ...(model !== undefined && { model }),
    ...(runtime !== undefined && { runtime }),
    ...(label !== undefined && { labels: label }),
    ...(timeout !== undefined && { timeoutSeconds: timeout }),
    ...(Object.keys(requirements).length > 0 && { requirements }),
  }
}

/** A directory if there is one of that name, else a git URL. INVALID_ARGUMENT for what is neither. */
export const workspaceOf = async (text: string): Promise<WorkspaceOption> => {
  if (text === '') throw new GodelError({ code: 'INVALID_ARGUMENT', field: '--workspace', reason: 'is empty' })
  const { isGitUrl } = await import('../client/workspace.ts')
  const dir = resolve(text)
  const found = await stat(dir).catch(() => undefined)
  if (found?.isDirectory()) return { dir }
  if (found === undefined && isGitUrl(text)) return { git: text }
  const reason = found === undefined ? 'is neither a directory nor a git URL' : 'is a file, and a directory is needed'
  throw new GodelError({ code: 'INVALID_ARGUMENT', field: `--workspace ${text}`, reason })
}
