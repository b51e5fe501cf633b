/**
 * Opening the database file of a store: made whole or not at all, refused when it is damaged, foreign or newer, brought
 * up to date by numbered migrations. SQLite checks neither the content of a page nor the order of keys, so that each row
 * carries a checksum of its own; it is compared here for all rows, and on each read.
 */
import { open, rename, rm, stat } from 'node:fs/promises'
import { dirname } from 'node:path'
import { DatabaseSync } from 'node:sqlite'
import { crc32 } from 'node:zlib'
import { GodelError, reasonOf } from '../base/errors.ts'
import { limits } from '../base/limits.ts'

/** The step at index i brings a database from version i to i + 1. A step that has been released never changes. */
const migrations: readonly string[] = [
  `CREATE TABLE kv (
     space TEXT NOT NULL,
     key TEXT NOT NULL,
     value BLOB NOT NULL,
     sum INTEGER NOT NULL,
     PRIMARY KEY (space, key)
   ) WITHOUT ROWID`,
]

/** "GODL", in the header of every database of ours, where `file` and SQLite look for it. */
const applicationId = 0x474f444c

/** The checksum of a row. It finds flipped bits, not forgers. */
export const rowSum = (space: string, key: string, value: Uint8Array): number => crc32(value, crc32(`${space}\0${key}`))

/**
 * The database at `path`, made if there is none, checked and up to date, held by this connection alone.
 * STORE_CORRUPT, STORE_TOO_NEW, or STORE_FAILED when the file system refuses.
 */
export const openDatabase = async (path: string): Promise<DatabaseSync> => {
  try {
    await ensureDatabase(path)
  } catch (error) {
    throw storeError(path, error)
  }
  const database = connect(path)
  try {
    verifyHeader(path, database)
    useLog(path, database)
    verifyContent(path, database)
    migrate(database)
    return database
  } catch (error) {
    closeQuietly(database)
    throw storeError(path, error)
  }
}

/** What SQLite or the file system threw, as STORE_CORRUPT or STORE_FAILED. */
export const storeError = (path: string, error: unknown): GodelError => {
  if (error instanceof GodelError) return error
  const code = (error as { errcode?: number }).errcode ?? 0
  const reason = reasonOf(error)
  const damaged = [sqliteCorrupt, sqliteNotADatabase].includes(code & 0xff)
  if (damaged) return corrupt(path, reason, error)
  const words = (code & 0xff) === sqliteBusy ? 'another process has it open' : reason
  return new GodelError({ code: 'STORE_FAILED', path, reason: words }, { cause: error })
}

export const corrupt = (path: string, reason: string, cause?: unknown): GodelError =>
  new GodelError({ code: 'STORE_CORRUPT', path, reason }, { cause })

/** Closing never hides the error that led to it. */
export const closeQuietly = (database: DatabaseSync): void => {
  try {
    database.close()
  } catch {
    // It is closed already, or the disk refuses: the next open recovers from the log.
  }
}

const sqliteBusy = 5
const sqliteCorrupt = 11
const sqliteNotADatabase = 26

/**
 * A new database is made under another name and renamed when it is whole, so that an empty or half-made file under the
 * real name always means damage. SQLite itself would take an empty file for a new database and throw away its log.
 */
const ensureDatabase = async (path: string): Promise<void> => {
  const size = await sizeOf(path)
  if (size === 0) throw corrupt(path, 'it is empty')
  if (size !== undefined) return
  if (await sizeOf(`${path}-wal`)) throw corrupt(path, 'it is missing, and its log is there')
  const temporary = `${path}.new`
  for (const suffix of ['', '-wal', '-journal']) await rm(temporary + suffix, { force: true })
  const file = await open(temporary, 'wx', 0o600)
  try {
    const database = connect(temporary)
    try {
      useLog(temporary, database)
      database.exec(`PRAGMA application_id = ${applicationId}`)
      migrate(database)
    } finally {
      database.close()
    }
    await file.sync()
  } finally {
    await file.close()
  }
  await rename(temporary, path)
  const directory = await open(dirname(path), 'r')
  try {
    await directory.sync()
  } finally {
    await directory.close()
  }
}

const sizeOf = async (path: string): Promise<number | undefined> => {
  try {
    return (await stat(path)).size
  } catch (error) {
    if ((error as NodeJS.ErrnoException).code === 'ENOENT') return undefined
    throw error
  }
}

/**
 * One connection for the life of the process. Exclusive locking keeps the index of the log in memory instead of a mapped
 * file, whose pages could fault on a full disk; mapping of the database itself is off for the same reason.
 */
const connect = (path: string): DatabaseSync => {
  let database: DatabaseSync | undefined
  try {
    database = new DatabaseSync(path, { timeout: 0 })
    database.exec(`
      PRAGMA locking_mode = EXCLUSIVE;
      PRAGMA mmap_size = 0;
      PRAGMA cell_size_check = ON;
      PRAGMA trusted_schema = OFF;
      PRAGMA temp_store = MEMORY;
      PRAGMA synchronous = FULL;
      PRAGMA fullfsync = ON;
      PRAGMA checkpoint_fullfsync = ON;
    `)
    return database
  } catch (error) {
    if (database !== undefined) closeQuietly(database)
    throw storeError(path, error)
  }
}

/** Write-ahead logging; it is written into the file, so that it comes after the file was found to be ours. */
const useLog = (path: string, database: DatabaseSync): void => {
  const mode = database.prepare('PRAGMA journal_mode = WAL').get()?.['journal_mode']
  if (mode !== 'wal') {
    const reason = `the file system does not take a write-ahead log (${String(mode)})`
    throw new GodelError({ code: 'STORE_FAILED', path, reason })
  }
  database.exec(`PRAGMA journal_size_limit = ${limits.storeLogBytesMax}`)
}

const pragma = (database: DatabaseSync, name: string): number => Number(database.prepare(`PRAGMA ${name}`).get()![name])

const verifyHeader = (path: string, database: DatabaseSync): void => {
  if (pragma(database, 'application_id') !== applicationId) throw corrupt(path, 'it is no store of godel-node')
  const version = pragma(database, 'user_version')
  if (version > migrations.length)
    throw new GodelError({ code: 'STORE_TOO_NEW', path, version, supported: migrations.length })
  if (version < 1) throw corrupt(path, 'it has no version')
}

/** The structure by SQLite's own check, then each row by its checksum and its place in the order. */
const verifyContent = (path: string, database: DatabaseSync): void => {
  const report = database.prepare('PRAGMA quick_check(1)').get()?.['quick_check']
  if (report !== 'ok') throw corrupt(path, String(report))
  try {
    for (const row of database.prepare('SELECT space, key, value, sum FROM kv').iterate()) {
      const { space, key, value, sum } = row
      const sound =
        typeof space === 'string' &&
        typeof key === 'string' &&
        value instanceof Uint8Array &&
        rowSum(space, key, value) === sum
      if (!sound) throw corrupt(path, 'the checksum of a row is wrong')
    }
  } catch (error) {
    // Whatever cannot even be read as a row: text that is not UTF-8, integers out of range, missing columns.
    const known = storeError(path, error)
    throw known.code === 'STORE_CORRUPT' ? known : corrupt(path, reasonOf(error), error)
  }
}

/** All missing steps in one transaction: an interrupted migration has not begun. */
const migrate = (database: DatabaseSync): void => {
  const version = pragma(database, 'user_version')
  if (version === migrations.length) return
  database.exec(`BEGIN IMMEDIATE;
    ${migrations.slice(version).join(';\n')};
    PRAGMA user_version = ${migrations.length};
    COMMIT`)
}
