/**
 * Sandboxes: how a command of an agent is launched so that it sees its own workspace and nothing else of the host.
 * Level `bwrap` builds on bubblewrap (https://github.com/containers/bubblewrap): namespaces of its own for users, pids,
 * mounts, ipc and host name; the network is the host's. Level `none` runs the command as the node's user with a clean
 * environment; it is no boundary.
 */
import { execFile } from 'node:child_process'
import { existsSync } from 'node:fs'
import path from 'node:path'
import type { Isolation } from '../base/advertisement.ts'
import { GodelError, reasonOf } from '../base/errors.ts'
import { limits as defaults, type Limits } from '../base/limits.ts'
import { agentHome, hostMounts, hostPath, sandboxPath, workspacePath } from './sandbox-mounts.ts'

/** The ids that every command has inside a sandbox, on every host, whoever runs the node. */
const sandboxId = '1000'

export interface SandboxCommand {
  agent: string
  /** Directories of the host. */
  workspace: string
  home: string
  command: string
  args: string[]
  /** Relative to the workspace, or absolute inside the sandbox. */
  cwd?: string
  env: Record<string, string>
  /** Variables that mark the process tree; they win over `env`. */
  marks: Record<string, string>
}

/** What to hand to `spawn`. */
export interface Launch {
  file: string
  args: string[]
  env: Record<string, string>
  /** A directory of the host. */
  cwd: string
  /**
   * Level `bwrap` only: the launch reports on descriptor 3 (see `bootScript`) and on 5 (the JSON status of bwrap), and
   * reads `inputs[i]` from descriptor 6 + i. Descriptor 4 is the script's own.
   */
  reports: boolean
  inputs: readonly string[]
}

export interface Sandbox {
  readonly level: Isolation
  /** INVALID_ARGUMENT when a word or a value cannot be passed on (it holds a NUL). */
  launch(command: SandboxCommand): Launch
}

export interface SandboxOptions {
  /** Directories of the host that stay out of sight even where they lie inside an exposed one: the data directory. */
  hide?: readonly string[]
  /** Device files that agents may use, such as those of `gpuDevices()`. */
  devices?: readonly string[]
}

/**
 * What runs as pid 1 of a sandbox. Being pid 1 it ignores TERM by the rules of the kernel, reaps orphans, and takes the
 * whole namespace with it when it ends. bwrap itself tells a signal from an exit code no better than a shell does, so
 * the report does: `ready`, then what the shell says of a signal (nothing for an exit, for INT and for PIPE), then `end`.
 */
export const bootScript = `exec 4>&2 2>&3 3>&-
cd -- "$1" 2>/dev/null || { echo directory >&2; exit 125; }
shift
(
  case $1 in */*)
    [ -e "$1" ] || exit 1
    [ -f "$1" ] && [ -x "$1" ] || exit 2
    exit 0
  esac
  set -f; IFS=:
  for d in $PATH; do [ -f "$d/$1" ] && [ -x "$d/$1" ] && exit 0; done
  exit 1
)
case $? in 0) ;; 1) echo missing >&2; exit 127 ;; *) echo denied >&2; exit 126 ;; esac
unset OLDPWD
echo ready >&2
(exec "$@" 2>&4 4>&-)
set -- $?
echo end >&2
exit "$1"
`

/** A sandbox of the given level. Makes no check of its own that the level works: see `probeIsolation`. */
export const createSandbox = (level: Isolation, options: SandboxOptions = {}): Sandbox => {
  const launch = level === 'bwrap' ? bwrapLauncher(options) : launchBare
  return {
    level,
    launch(command) {
      refuseNul(command)
      return launch(command)
    },
  }
}

/** A NUL would end a word early, and in the option list of bwrap it would begin another option. */
const refuseNul = (command: SandboxCommand): void => {
  const check = (field: string, text: string) => {
    if (text.includes('\0')) throw new GodelError({ code: 'INVALID_ARGUMENT', field, reason: 'holds a NUL character' })
  }
  check('command', command.command)
  check('cwd', command.cwd ?? '')
  for (const arg of command.args) check('args', arg)
  for (const [name, value] of Object.entries({ ...command.env, ...command.marks })) check('env', `${name}${value}`)
}

const baseEnv = (home: string, searchPath: string): Record<string, string> => ({
  PATH: searchPath,
  HOME: home,
  LANG: process.env['LANG'] ?? 'C.UTF-8',
  USER: 'agent',
  LOGNAME: 'agent',
})

const launchBare = (command: SandboxCommand): Launch => ({
  file: command.command,
  args: command.args,
  env: {
    ...baseEnv(command.home, process.env['PATH'] ?? sandboxPath([])),
    ...command.env,
    ...command.marks,
  },
  cwd: hostPath(command, command.cwd ?? '.'),
  reports: false,
  inputs: [],
})

const bwrapLauncher = (options: SandboxOptions): ((command: SandboxCommand) => Launch) => {
  const mounts = hostMounts(options.hide ?? [])
  const accounts = [
    `root:x:0:0:root:/root:/bin/sh\nagent:x:${sandboxId}:${sandboxId}:agent:${agentHome}:/bin/sh\n` +
      'nobody:x:65534:65534:nobody:/nonexistent:/usr/sbin/nologin\n',
    `root:x:0:\nagent:x:${sandboxId}:\nnogroup:x:65534:\n`,
  ]
  return (command) => {
    const env = { ...baseEnv(agentHome, sandboxPath(mounts.toolDirs)), ...command.env, ...command.marks }
    // The options go through a descriptor: the environment may hold secrets, which must not be seen in the host's `ps`,
    // and must not be bwrap's own environment either, where LD_PRELOAD would run code outside of the sandbox.
    const bwrapOptions = [
      ...['--unshare-user', '--uid', sandboxId, '--gid', sandboxId, '--cap-drop', 'ALL'],
      ...['--unshare-pid', '--as-pid-1', '--unshare-ipc', '--unshare-uts'],
      ...['--die-with-parent', '--new-session', '--json-status-fd', '5', '--clearenv'],
      ...mounts.options,
      ...['--ro-bind-data', '7', '/etc/passwd', '--ro-bind-data', '8', '/etc/group'],
      ...(options.devices ?? []).flatMap((device) => ['--dev-bind-try', device, device]),
      ...['--bind', command.workspace, workspacePath, '--bind', command.home, agentHome, '--chdir', '/'],
      ...['--remount-ro', '/'],
      ...Object.entries(env).flatMap(([name, value]) => ['--setenv', name, value]),
    ]
    const cwd = path.posix.resolve(workspacePath, command.cwd ?? '.')
    return {
      file: 'bwrap',
      args: ['--args', '6', '--', '/bin/sh', '-c', bootScript, 'sh', cwd, command.command, ...command.args],
      env: { PATH: process.env['PATH'] ?? sandboxPath([]), ...command.marks },
      cwd: '/',
      reports: true,
      inputs: [bwrapOptions.map((option) => `${option}\0`).join(''), ...accounts],
    }
  }
}

/** What this host can isolate. `reason` says why it is `none`. */
export interface IsolationProbe {
  level: Isolation
  version?: string
  reason?: string
}

/** Runs `true` in a sandbox once, with the very namespaces and mounts of a real one. Never throws. */
export const probeIsolation = async ({
  sandboxProbeMs,
}: Pick<Limits, 'sandboxProbeMs'> = defaults): Promise<IsolationProbe> => {
  if (process.platform !== 'linux') return { level: 'none', reason: `there is no bubblewrap for ${process.platform}` }
  let version: string
  try {
    version = (await run('bwrap', ['--version'], sandboxProbeMs)).replace(/^bubblewrap\s+/, '').trim()
  } catch (error) {
    return { level: 'none', reason: `bwrap cannot be run: ${reasonOf(error)}` }
  }
  try {
    await run('bwrap', probeArgs(), sandboxProbeMs)
    return { level: 'bwrap', version }
  } catch (error) {
    return { level: 'none', version, reason: `bwrap does not work here: ${reasonOf(error)}` }
  }
}

const probeArgs = (): string[] => [
  ...['--unshare-user', '--uid', sandboxId, '--gid', sandboxId, '--cap-drop', 'ALL'],
  ...['--unshare-pid', '--as-pid-1', '--unshare-ipc', '--unshare-uts', '--die-with-parent', '--new-session'],
  ...hostMounts([]).options,
  ...['--chdir', '/', '--', '/bin/sh', '-c', 'exit 0'],
]

const run = (file: string, args: string[], timeoutMs: number): Promise<string> =>
  new Promise((resolve, reject) => {
    execFile(file, args, { timeout: timeoutMs, env: { PATH: process.env['PATH'] ?? '' } }, (error, stdout, stderr) => {
      if (error === null) return resolve(stdout)
      reject(new Error(stderr.trim().split('\n')[0] || error.message.split('\n')[0], { cause: error }))
    })
  })

/** The device files of graphics processors on this host. */
export const gpuDevices = (): string[] =>
  ['/dev/dri', '/dev/kfd', '/dev/nvidiactl', '/dev/nvidia-uvm', '/dev/nvidia-uvm-tools', '/dev/nvidia-modeset']
    .concat(Array.from({ length: 16 }, (_, index) => `/dev/nvidia${index}`))
    .filter((device) => existsSync(device))
