/**
 * The durable engine. `commit` writes into an open transaction at once, so that reads see it; one COMMIT at the end of the
 * event loop's turn makes everything of that turn durable with one sync, and only then the promises resolve. A COMMIT that
 * fails leaves it open what is on disk, so nothing is tried again: the store fails for good, and the next open decides.
 */
import type { StatementSync } from 'node:sqlite'
import { GodelError } from '../base/errors.ts'
import type { Log } from '../base/log.ts'
import { closeQuietly, corrupt, openDatabase, rowSum, storeError } from './database.ts'
import { checkWrites, type Store, type Write } from './store.ts'

interface Waiter {
  resolve(): void
  reject(error: GodelError): void
}

/**
 * Opens the store in the file `path`, made if there is none. STORE_CORRUPT, STORE_TOO_NEW, STORE_FAILED.
 * `onFailed` is called once when the store fails while in use: the node is to stop.
 */
export const openSqliteStore = async (
  { log, onFailed }: { log: Log; onFailed: (error: GodelError) => void },
  { path }: { path: string },
): Promise<Store> => {
  const database = await openDatabase(path)
  const begin = database.prepare('BEGIN IMMEDIATE')
  const end = database.prepare('COMMIT')
  const select = database.prepare('SELECT value, sum FROM kv WHERE space = ? AND key = ?')
  const range = database.prepare('SELECT key, value, sum FROM kv WHERE space = ? AND key >= ? ORDER BY key')
  const upsert = database.prepare(
    'INSERT INTO kv (space, key, value, sum) VALUES (?, ?, ?, ?) ON CONFLICT DO UPDATE SET value = excluded.value, sum = excluded.sum',
  )
  const remove = database.prepare('DELETE FROM kv WHERE space = ? AND key = ?')

  /** Why everything is refused; undefined while the store works. */
  let refusal: GodelError | undefined
  /** The commits of the open transaction; undefined when none is open. */
  let group: Waiter[] | undefined

  const fail = (error: unknown): GodelError => {
    if (refusal !== undefined) return refusal
    refusal = storeError(path, error)
    closeQuietly(database) // rolls back
    const waiting = group ?? []
    group = undefined
    log.error('the store failed', { path, code: refusal.code, error: refusal.message })
    for (const waiter of waiting) waiter.reject(refusal)
    onFailed(refusal)
    return refusal
  }

  const guarded = <T>(work: () => T): T => {
    if (refusal !== undefined) throw refusal
    try {
      return work()
    } catch (error) {
      throw fail(error)
    }
  }

  const flush = () => {
    if (group === undefined) return
    const done = group
    try {
      end.run()
    } catch (error) {
      fail(error)
      return
    }
    group = undefined
    for (const waiter of done) waiter.resolve()
  }

  const apply = (writes: readonly Write[]) => {
    if (group === undefined) {
      begin.run()
      group = []
      setImmediate(flush)
    }
    for (const { space, key, value } of writes) {
      if (value === null) remove.run(space, key)
      else upsert.run(space, key, value, rowSum(space, key, value))
    }
  }

  return {
    get: (space, key) =>
      guarded(() => {
        const row = select.get(space, key)
        return row === undefined ? undefined : soundValue(path, space, key, row)
      }),

    scan: (space, options = {}) => guarded(() => scanRange(path, range, space, options)),

    commit(writes) {
      if (refusal !== undefined) return Promise.reject(refusal)
      try {
        checkWrites(writes)
      } catch (error) {
        return Promise.reject(error)
      }
      if (writes.length === 0 && group === undefined) return Promise.resolve()
      try {
        guarded(() => apply(writes))
      } catch (error) {
        return Promise.reject(error)
      }
      return new Promise((resolve, reject) => group!.push({ resolve, reject }))
    },

    async close() {
      if (refusal !== undefined) return
      flush()
      if (refusal !== undefined) return
      refusal = new GodelError({ code: 'STORE_FAILED', path, reason: 'it is closed' })
      closeQuietly(database)
    },
  }
}

const scanRange = (
  path: string,
  range: StatementSync,
  space: string,
  { prefix = '', from = '', limit = Infinity }: { prefix?: string; from?: string; limit?: number },
): [string, Uint8Array][] => {
  const found: [string, Uint8Array][] = []
  if (limit <= 0) return found
  const start = Buffer.compare(Buffer.from(prefix), Buffer.from(from)) > 0 ? prefix : from
  for (const row of range.iterate(space, start)) {
    const key = row['key'] as string
    if (!key.startsWith(prefix)) break
    found.push([key, soundValue(path, space, key, row)])
    if (found.length >= limit) break
  }
  return found
}

/** The value of a row, if its checksum holds. */
const soundValue = (path: string, space: string, key: string, row: Record<string, unknown>): Uint8Array => {
  const value = row['value']
  if (value instanceof Uint8Array && rowSum(space, key, value) === row['sum']) return value
  throw corrupt(path, `the checksum of a row in ${space} is wrong`)
}
