/**
 * Files that only their owner may read. A new one is written under a temporary name, synced, and then linked to its own,
 * so that it is there whole or not at all, and so that of two processes that make it at once one wins and both read the
 * same. An existing one is checked on the opened file, not on the name.
 */
import { randomBytes } from 'node:crypto'
import { constants } from 'node:fs'
import { link, open, rename, unlink, type FileHandle } from 'node:fs/promises'
import { dirname } from 'node:path'
import { GodelError, reasonOf } from '../base/errors.ts'
import { limits } from '../base/limits.ts'

/**
 * The secret in the file `path`: 32 random bytes in base64url, made on first use.
 * KEY_FILE_INSECURE when others may read the file, KEY_FILE_INVALID when it holds something else or cannot be read.
 */
export const loadOrCreateSecret = async (path: string): Promise<string> => {
  const text = await loadOrCreatePrivateFile(path, () => `${randomBytes(32).toString('base64url')}\n`)
  const secret = text.trim()
  const bytes = Buffer.from(secret, 'base64url')
  if (bytes.byteLength !== 32 || bytes.toString('base64url') !== secret)
    throw invalid(path, 'it is not 32 bytes in base64url')
  return secret
}

/** The text of the private file `path`; where there is none, one with the text that `make` gives. Codes as above. */
export const loadOrCreatePrivateFile = async (path: string, make: () => string): Promise<string> => {
  try {
    const existing = await readPrivateFile(path)
    if (existing !== undefined) return existing
    await createPrivateFile(path, make())
    const created = await readPrivateFile(path)
    if (created !== undefined) return created
  } catch (error) {
    if (error instanceof GodelError) throw error
    throw invalid(path, reasonOf(error), error)
  }
  throw invalid(path, 'it was removed while it was read')
}

/** The text of the private file `path`; undefined where there is none. Codes as above. */
export const loadPrivateFile = async (path: string): Promise<string | undefined> => {
  try {
    return await readPrivateFile(path)
  } catch (error) {
    if (error instanceof GodelError) throw error
    throw invalid(path, reasonOf(error), error)
  }
}

/** Puts the file `from` in the place of `path`, durably and in one step. KEY_FILE_INVALID when that fails. */
export const replacePrivateFile = async (from: string, path: string): Promise<void> => {
  try {
    await rename(from, path)
    await syncDirectory(dirname(path))
  } catch (error) {
    throw invalid(path, reasonOf(error), error)
  }
}

const readPrivateFile = async (path: string): Promise<string | undefined> => {
  const file = await openExisting(path)
  if (file === undefined) return undefined
  try {
    const stat = await file.stat()
    if (!stat.isFile()) throw invalid(path, 'it is not a regular file')
    if ((stat.mode & 0o077) !== 0) {
      const mode = (stat.mode & 0o777).toString(8).padStart(4, '0')
      throw new GodelError({ code: 'KEY_FILE_INSECURE', path, mode })
    }
    if (stat.size > limits.keyFileBytesMax) throw invalid(path, `it is larger than ${limits.keyFileBytesMax} bytes`)
    return await file.readFile('utf8')
  } finally {
    await file.close()
  }
}

/** Without O_NONBLOCK, opening a named pipe would wait for a writer for ever. */
const openExisting = async (path: string): Promise<FileHandle | undefined> => {
  try {
    return await open(path, constants.O_RDONLY | constants.O_NONBLOCK)
  } catch (error) {
    if ((error as NodeJS.ErrnoException).code === 'ENOENT') return undefined
    throw error
  }
}

const createPrivateFile = async (path: string, text: string): Promise<void> => {
  const temporary = `${path}.${randomBytes(6).toString('hex')}.tmp`
  try {
    const file = await open(temporary, 'wx', 0o600)
    try {
      await file.chmod(0o600)
      await file.writeFile(text)
      await file.sync()
    } finally {
      await file.close()
    }
    await linkUnlessThere(temporary, path)
  } finally {
    await unlink(temporary).catch(() => {})
  }
  await syncDirectory(dirname(path))
}

const linkUnlessThere = async (from: string, to: string): Promise<void> => {
  try {
    await link(from, to)
  } catch (error) {
    if ((error as NodeJS.ErrnoException).code !== 'EEXIST') throw error
  }
}

const syncDirectory = async (path: string): Promise<void> => {
  const directory = await open(path, constants.O_RDONLY)
  try {
    await directory.sync()
  } finally {
    await directory.close()
  }
}

const invalid = (path: string, reason: string, cause?: unknown) =>
  new GodelError({ code: 'KEY_FILE_INVALID', path, reason }, { cause })
