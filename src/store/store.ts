/**
 * Room store: what a node must not forget. One small port, one SQLite engine, one in-memory twin; a contract suite runs
 * against both. What `commit` has resolved survives `kill -9` the moment after.
 *
 * store.ts     the port: spaces of keys and values, atomic commits, what may be a key (main file)
 * sqlite.ts    the engine over node:sqlite: write-ahead log, full sync, group commit, fail-stop
 * database.ts  opening a database file: is it ours, is it sound, which version, what brings it up to date
 * memory.ts    the twin that keeps nothing
 * data-dir.ts  the lock by which one running node holds a data directory
 */
import { GodelError } from '../base/errors.ts'
import { limits } from '../base/limits.ts'

/** One change. `value: null` deletes. */
export interface Write {
  space: string
  key: string
  value: Uint8Array | null
}

export interface ScanOptions {
  /** Only keys that begin so. */
  prefix?: string
  /** Only keys from this one on, itself included. To go on after a page, take its last key and `\u0000`. */
  from?: string
  /** At most so many. */
  limit?: number
}

/** A failed store refuses everything with STORE_FAILED (or STORE_CORRUPT): the node is to stop and start again. */
export interface Store {
  /** A copy of the value; sees every write that was handed to `commit` so far, durable or not. */
  get(space: string, key: string): Uint8Array | undefined
  /** Keys and values in the order of the keys' UTF-8 bytes; sees what `get` sees. */
  scan(space: string, options?: ScanOptions): [key: string, value: Uint8Array][]
  /**
   * Applies the writes in order, all or none, and resolves when they are durable. INVALID_ARGUMENT or TOO_LARGE, with
   * nothing written, for a space, key or value out of bounds; STORE_FAILED when the disk refuses, after which the store
   * has failed: whether the writes of that moment took effect is known after the next open only.
   */
  commit(writes: readonly Write[]): Promise<void>
  /** Makes durable what was handed in, and closes. May be called twice. */
  close(): Promise<void>
}

/** INVALID_ARGUMENT or TOO_LARGE when the writes cannot be kept as they are. */
export const checkWrites = (writes: readonly Write[]): void => {
  for (const { space, key, value } of writes) {
    checkKey('space', space)
    checkKey('key', key)
    if (value !== null && value.byteLength > limits.storeValueBytesMax)
      throw new GodelError({
        code: 'TOO_LARGE',
        what: `the value of ${space}/${key}`,
        bytes: value.byteLength,
        limitBytes: limits.storeValueBytesMax,
      })
  }
}

/** A lone surrogate has no UTF-8, so that two such keys would become one on disk. */
const checkKey = (field: string, text: string): void => {
  if (text.length > limits.storeKeyBytesMax || Buffer.byteLength(text) > limits.storeKeyBytesMax)
    throw new GodelError({
      code: 'INVALID_ARGUMENT',
      field,
      reason: `is longer than ${limits.storeKeyBytesMax} bytes`,
    })
  if (!text.isWellFormed())
    throw new GodelError({ code: 'INVALID_ARGUMENT', field, reason: 'is not well-formed Unicode' })
}
