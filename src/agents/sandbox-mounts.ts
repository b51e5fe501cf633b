/**
 * What a sandbox shows of its host: system directories and tools, read-only, and nothing that belongs to a person, to
 * the node or to another agent.
 */
import { existsSync, lstatSync, readlinkSync, readdirSync, realpathSync } from 'node:fs'
import { homedir } from 'node:os'
import path from 'node:path'

/** Where an agent finds its files, on every host: agents key their sessions by path. */
export const workspacePath = '/workspace'
export const agentHome = '/agent'

export interface HostMounts {
  /** Options of bwrap, in order. */
  options: string[]
  /** Directories of tools that lie outside of the usual search path. */
  toolDirs: string[]
}

const systemDirs = ['/bin', '/sbin', '/lib', '/lib32', '/lib64', '/libx32']
const toolTrees = ['/opt', '/nix/store', '/gnu/store', '/home/linuxbrew/.linuxbrew']

/** Parts of /etc that programs need to resolve names, check certificates, find libraries and know the time zone. */
const etcParts = [
  ...['resolv.conf', 'hosts', 'host.conf', 'gai.conf', 'nsswitch.conf', 'networks', 'services', 'protocols'],
  ...['ssl', 'ca-certificates', 'ca-certificates.conf', 'pki', 'crypto-policies', 'alternatives'],
  ...['ld.so.cache', 'ld.so.conf', 'ld.so.conf.d', 'localtime', 'timezone', 'locale.conf', 'locale.alias'],
  ...['os-release', 'debian_version', 'mime.types', 'magic', 'fonts', 'bash.bashrc', 'inputrc', 'terminfo'],
  ...['perl', 'python3', 'maven', 'java', 'OpenCL', 'vulkan', 'glvnd'],
]

/** The mounts for this host. `hide` are directories that stay empty even inside of an exposed one. */
export const hostMounts = (hide: readonly string[]): HostMounts => {
  const tools = nodePrefixes()
  const options = ['--ro-bind', '/usr', '/usr', ...systemDirs.flatMap(systemDir)]
  for (const tree of toolTrees) if (existsSync(tree)) options.push('--ro-bind', tree, tree)
  for (const { mount } of tools) options.push('--ro-bind-try', mount, mount)
  options.push(...etcMounts())
  options.push(
    '--proc',
    '/proc',
    ...procMasks(),
    '--dev',
    '/dev',
    '--perms',
    '1777',
    '--tmpfs',
    '/tmp',
    '--tmpfs',
    '/run',
  )
  options.push('--perms', '1777', '--tmpfs', '/var/tmp', '--symlink', '../run', '/var/run')
  const exposed = ['/usr', ...toolTrees, ...tools.map((tool) => tool.mount)]
  for (const dir of hide.map(realPath)) if (exposed.some((tree) => isWithin(tree, dir))) options.push('--tmpfs', dir)
  return { options, toolDirs: tools.map((tool) => tool.dir) }
}

/** On a merged /usr, /bin and its like are links. */
const systemDir = (dir: string): string[] => {
  if (!existsSync(dir)) return []
  return lstatSync(dir).isSymbolicLink() ? ['--symlink', readlinkSync(dir), dir] : ['--ro-bind', dir, dir]
}

const etcMounts = (): string[] => {
  const java = readdirSync('/etc').filter((name) => /^java-[\w.-]+$/.test(name))
  return [...etcParts, ...java].flatMap((part) => {
    const file = path.join('/etc', part)
    // The source is resolved: /etc/resolv.conf often is a link into /run, which the sandbox does not have.
    return existsSync(file) ? ['--ro-bind-try', realPath(file), file] : []
  })
}

/**
 * /proc/sys and its like ask for no capability but for the user id, and the sandbox of a node that runs as root has
 * the user id of root outside of its namespace: without these masks it could rewrite kernel.core_pattern.
 */
const procMasks = (): string[] => {
  const readOnly = ['/proc/sys', '/proc/sysrq-trigger', '/proc/irq', '/proc/bus', '/proc/fs', '/proc/mtrr']
  const empty = ['/proc/acpi', '/proc/scsi']
  return [
    ...readOnly.flatMap((file) => (existsSync(file) ? ['--ro-bind', file, file] : [])),
    ...empty.flatMap((file) => (existsSync(file) ? ['--tmpfs', file, '--remount-ro', file] : [])),
  ]
}

/**
 * Where `node` and its companions live, when that is outside of /usr: the node of the search path first, then the one
 * that runs this program. The prefix is shown where it holds an installation (bin/node); else the binary alone.
 */
const nodePrefixes = (): { dir: string; mount: string }[] => {
  const found: { dir: string; mount: string }[] = []
  for (const binary of [which('node'), process.execPath]) {
    if (binary === undefined) continue
    const real = realPath(binary)
    if (isWithin('/usr', real) || toolTrees.some((tree) => isWithin(tree, real))) continue
    const dir = path.dirname(real)
    const prefix = path.dirname(dir)
    const mount = path.basename(dir) === 'bin' && isOnlyTools(prefix) ? prefix : real
    if (!found.some((tool) => tool.mount === mount)) found.push({ dir, mount })
  }
  return found
}

/** False where the directory may hold a person's files: a home, or anything above one. */
const isOnlyTools = (prefix: string): boolean =>
  ![homedir(), '/root', '/home', process.cwd()].some((dir) => isWithin(prefix, dir)) && path.dirname(prefix) !== '/home'

const which = (name: string): string | undefined =>
  (process.env['PATH'] ?? '')
    .split(':')
    .filter((dir) => path.isAbsolute(dir))
    .map((dir) => path.join(dir, name))
    .find((file) => existsSync(file))

const realPath = (file: string): string => {
  try {
    return realpathSync(file)
  } catch {
    return file
  }
}

const isWithin = (tree: string, file: string): boolean => file === tree || file.startsWith(`${tree}/`)

/** The search path of a sandbox. */
export const sandboxPath = (toolDirs: readonly string[]): string =>
  ['/usr/local/sbin', '/usr/local/bin', '/usr/sbin', '/usr/bin', '/sbin', '/bin', ...toolDirs].join(':')

/** A path as a command names it, as a path of the host, where there is no sandbox: /workspace and /agent still hold. */
export const hostPath = (dirs: { workspace: string; home: string }, file: string): string => {
  if (isWithin(workspacePath, file)) return path.join(dirs.workspace, file.slice(workspacePath.length))
  if (isWithin(agentHome, file)) return path.join(dirs.home, file.slice(agentHome.length))
  return path.resolve(dirs.workspace, file)
}
