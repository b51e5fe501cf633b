/** What stands in the way of a node on this host. Each check says how it is, why, and what to do; none of them throws. */
import { execFile } from 'node:child_process'
import { randomUUID } from 'node:crypto'
import { readdir, rm, stat, statfs, writeFile } from 'node:fs/promises'
import { dirname, join } from 'node:path'
import { promisify } from 'node:util'
import { probeIsolation } from '../agents/sandbox.ts'
import { reasonOf } from '../base/errors.ts'
import { limits } from '../base/limits.ts'
import { pathsIn } from './data-directory.ts'

export interface Check {
  name: string
  level: 'ok' | 'warn' | 'fail'
  reason: string
  /** What to do about it. */
  next?: string
}

const NODE_MAJOR = 24
/** No clock is right that is before this program was written. */
const EARLIEST_MS = Date.UTC(2026, 0, 1)

/** Checks the host and the data directory, which need not be there yet; no node has to run. */
export const checkHost = async ({ dataDir }: { dataDir: string }): Promise<Check[]> => [
  checkRuntime(),
  await checkSandbox(),
  await checkDirectory(dataDir),
  await checkKeys(dataDir),
  await checkSpace(dataDir),
  await checkGit(),
  await checkClock(dataDir),
]

const checkRuntime = (): Check => {
  const name = 'Node.js'
  const reason = `${process.version} on ${process.platform} ${process.arch}`
  if (Number(process.versions.node.split('.')[0]) < NODE_MAJOR)
    return { name, level: 'fail', reason, next: `Install Node.js ${NODE_MAJOR} or later.` }
  if (process.platform !== 'linux')
    return { name, level: 'warn', reason, next: 'Linux is the platform; elsewhere agents run without a sandbox.' }
  return { name, level: 'ok', reason }
}

const checkSandbox = async (): Promise<Check> => {
  const name = 'sandbox'
  const probe = await probeIsolation()
  if (probe.level !== 'none')
    return { name, level: 'ok', reason: `bubblewrap ${probe.version ?? ''} works`.replace('  ', ' ') }
  const allowing =
    probe.version === undefined
      ? 'Install bubblewrap (apt install bubblewrap, dnf install bubblewrap).'
      : 'Allow unprivileged user namespaces (sysctl kernel.apparmor_restrict_unprivileged_userns=0, or a profile for bwrap).'
  const next = `${allowing} Until then agents run with the rights of this user, and agents of other nodes are refused.`
  return { name, level: 'warn', reason: probe.reason ?? 'there is none', next }
}

/** The directory, or the nearest one above it that is there. */
const existing = async (path: string): Promise<string> => {
  const found = await stat(path).catch(() => undefined)
  return found !== undefined || dirname(path) === path ? path : existing(dirname(path))
}

const checkDirectory = async (dataDir: string): Promise<Check> => {
  const name = 'data directory'
  try {
    const present = await existing(dataDir)
    const found = await stat(present)
    if (!found.isDirectory())
      return {
        name,
        level: 'fail',
        reason: `${present} is not a directory`,
        next: 'Choose another one with --data-dir.',
      }
    const probe = join(present, `.probe-${randomUUID()}`)
    await writeFile(probe, '', { flag: 'wx', mode: 0o600 })
    await rm(probe)
    if (present !== dataDir) return { name, level: 'ok', reason: `${dataDir} will be made at the first start` }
    const loose = found.mode & 0o077
    if (loose === 0) return { name, level: 'ok', reason: `${dataDir} can be written and is closed to others` }
    const reason = `${dataDir} is open to others (mode ${(found.mode & 0o777).toString(8)})`
    return { name, level: 'warn', reason, next: `chmod 700 ${dataDir}; the next start does so too.` }
  } catch (error) {
    return {
      name,
      level: 'fail',
      reason: reasonOf(error),
      next: 'Make it writable for this user, or choose another one with --data-dir.',
    }
  }
}

const checkKeys = async (dataDir: string): Promise<Check> => {
  const name = 'keys'
  const paths = pathsIn(dataDir)
  const loose: string[] = []
  let present = 0
  for (const path of [paths.nodeKey, paths.rootKey, paths.apiKey]) {
    const found = await stat(path).catch(() => undefined)
    if (found !== undefined) present++
    if (found !== undefined && (found.mode & 0o077) !== 0) loose.push(path)
  }
  if (present === 0) return { name, level: 'ok', reason: 'none yet; the first start makes them' }
  if (loose.length === 0) return { name, level: 'ok', reason: `${present} of them, readable by their owner alone` }
  const next = `chmod 600 ${loose.join(' ')}, and consider them as known to others. The node does not start before.`
  return { name, level: 'fail', reason: `${loose.join(', ')} can be read by others`, next }
}

const GIB = 1024 ** 3

const checkSpace = async (dataDir: string): Promise<Check> => {
  const name = 'disk'
  try {
    const path = await existing(dataDir)
    const { bavail, bsize } = await statfs(path)
    const freeBytes = bavail * bsize
    const reason = `${(freeBytes / GIB).toFixed(1)} GiB free at ${path}`
    const next = 'Free some space, or choose a --data-dir on another disk.'
    if (freeBytes < limits.diskFreeBytesMin) return { name, level: 'fail', reason, next }
    if (freeBytes < limits.diskFreeBytesWanted) return { name, level: 'warn', reason, next }
    return { name, level: 'ok', reason }
  } catch (error) {
    return { name, level: 'warn', reason: `the free space cannot be read: ${reasonOf(error)}`, next: 'See df.' }
  }
}

const checkGit = async (): Promise<Check> => {
  const name = 'git'
  try {
    const { stdout } = await promisify(execFile)('git', ['--version'], { timeout: limits.rpcDefaultTimeoutMs })
    return { name, level: 'ok', reason: stdout.trim() }
  } catch (error) {
    const next = 'Install git, if agents are to start with --workspace GIT_URL here.'
    return { name, level: 'warn', reason: `git cannot be run: ${reasonOf(error).split('\n')[0]}`, next }
  }
}

/** A clock that is far off makes certificates and tokens look expired, or not valid yet. */
const checkClock = async (dataDir: string): Promise<Check> => {
  const name = 'clock'
  const nowMs = Date.now()
  const now = new Date(nowMs).toISOString()
  const next = 'Set it, and keep it right with NTP (timedatectl set-ntp true).'
  if (nowMs < EARLIEST_MS) return { name, level: 'fail', reason: `it says ${now}, which is over`, next }
  const newestMs = await newestIn(dataDir)
  if (newestMs > nowMs + limits.clockSkewMs)
    return {
      name,
      level: 'fail',
      reason: `it says ${now}, and files of the node are from ${new Date(newestMs).toISOString()}`,
      next,
    }
  return { name, level: 'ok', reason: now }
}

const newestIn = async (dataDir: string): Promise<number> => {
  const names = await readdir(dataDir).catch(() => [])
  const times = await Promise.all(
    names.map(async (file) => (await stat(join(dataDir, file)).catch(() => undefined))?.mtimeMs ?? 0),
  )
  return Math.max(0, ...times)
}
