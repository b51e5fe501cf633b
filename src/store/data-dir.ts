/**
 * One running node per data directory. The lock is the operating system's, held through an SQLite file that is opened
 * exclusively: it goes with the process however that dies, so that there is no stale lock to judge, and children do not
 * inherit it. The process id beside it is only for the message.
 */
import { chmod, mkdir, open, readFile, rename, rm, stat } from 'node:fs/promises'
import { dirname, join } from 'node:path'
import { DatabaseSync } from 'node:sqlite'
import { GodelError, reasonOf } from '../base/errors.ts'
import { closeQuietly } from './database.ts'

export interface DataDirLock {
  /** Lets go of the directory. May be called twice. */
  release(): Promise<void>
}

/**
 * Holds `dir` for this process, made with mode 0700 if there is none. DATA_DIR_LOCKED with the holder's process id (0 where
 * that is not known yet) when another holder lives, STORE_FAILED when the directory cannot be used.
 */
export const lockDataDir = async (dir: string): Promise<DataDirLock> => {
  const lockPath = join(dir, 'lock.db')
  const pidPath = join(dir, 'node.pid')
  await makeDirectory(dir, lockPath)
  const lock = hold(lockPath)
  if (lock === undefined) throw new GodelError({ code: 'DATA_DIR_LOCKED', path: dir, pid: await readPid(pidPath) })
  try {
    // Never opened and closed through another handle: POSIX drops all locks of a process on a file when it closes any.
    await chmod(lockPath, 0o600)
    await writePid(pidPath)
  } catch (error) {
    closeQuietly(lock)
    throw unusable(lockPath, error)
  }
  let held = true
  return {
    async release() {
      if (!held) return
      held = false
      await rm(pidPath, { force: true }).catch(() => {})
      closeQuietly(lock)
    },
  }
}

const makeDirectory = async (dir: string, path: string): Promise<void> => {
  try {
    await makeMissing(dir)
  } catch (error) {
    throw unusable(path, error)
  }
}

/** Like a recursive mkdir, which never ends below a file system that has no directories to give, such as /proc. */
const makeMissing = async (dir: string): Promise<void> => {
  try {
    await mkdir(dir, { mode: 0o700 })
  } catch (error) {
    const { code } = error as NodeJS.ErrnoException
    if (code === 'EEXIST' && (await stat(dir)).isDirectory()) return
    const parent = dirname(dir)
    if (code !== 'ENOENT' || parent === dir || (await stat(parent).catch(() => undefined)) !== undefined) throw error
    await makeMissing(parent)
    await mkdir(dir, { mode: 0o700 })
  }
}

/** The open lock, or undefined when somebody else holds it. */
const hold = (path: string): DatabaseSync | undefined => {
  let lock: DatabaseSync | undefined
  try {
    lock = new DatabaseSync(path, { timeout: 0 })
    lock.exec('PRAGMA journal_mode = MEMORY; PRAGMA locking_mode = EXCLUSIVE; BEGIN EXCLUSIVE')
    return lock
  } catch (error) {
    if (lock !== undefined) closeQuietly(lock)
    if (((error as { errcode?: number }).errcode ?? 0) % 256 === sqliteBusy) return undefined
    throw unusable(path, error)
  }
}

const sqliteBusy = 5

const writePid = async (path: string): Promise<void> => {
  const temporary = `${path}.new`
  const file = await open(temporary, 'w', 0o600)
  try {
    await file.writeFile(`${process.pid}\n`)
  } finally {
    await file.close()
  }
  await rename(temporary, path)
}

const readPid = async (path: string): Promise<number> => {
  const pid = Number.parseInt(await readFile(path, 'utf8').catch(() => ''), 10)
  return Number.isSafeInteger(pid) && pid > 0 ? pid : 0
}

const unusable = (path: string, error: unknown) =>
  new GodelError({ code: 'STORE_FAILED', path, reason: reasonOf(error) }, { cause: error })
