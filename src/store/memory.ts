/** The in-memory twin of the SQLite engine: the same promises but the one that it survives the process. */
import { GodelError } from '../base/errors.ts'
import { checkWrites, type Store } from './store.ts'

interface Space {
  readonly values: Map<string, Uint8Array>
  /** The keys in order; undefined after a key came or went. */
  sorted: string[] | undefined
}

/** A store that is gone with the process. */
export const openMemoryStore = (): Store => {
  const spaces = new Map<string, Space>()
  let closed = false
  const ensureOpen = () => {
    if (closed) throw new GodelError({ code: 'STORE_FAILED', path: 'memory', reason: 'it is closed' })
  }
  const spaceOf = (name: string): Space => {
    let space = spaces.get(name)
    if (space === undefined) spaces.set(name, (space = { values: new Map(), sorted: undefined }))
    return space
  }

  return {
    get(space, key) {
      ensureOpen()
      return spaces.get(space)?.values.get(key)?.slice()
    },
    scan(name, { prefix = '', from = '', limit = Infinity } = {}) {
      ensureOpen()
      const space = spaces.get(name)
      if (space === undefined) return []
      space.sorted ??= [...space.values.keys()].toSorted(byBytes)
      const found: [string, Uint8Array][] = []
      for (const key of space.sorted) {
        if (found.length >= limit) break
        if (!key.startsWith(prefix) || byBytes(key, from) < 0) continue
        found.push([key, space.values.get(key)!.slice()])
      }
      return found
    },
    async commit(writes) {
      ensureOpen()
      checkWrites(writes)
      for (const { space: name, key, value } of writes) {
        const space = spaceOf(name)
        if (value === null ? space.values.has(key) : !space.values.has(key)) space.sorted = undefined
        if (value === null) space.values.delete(key)
        else space.values.set(key, Uint8Array.from(value))
      }
      await new Promise<void>((resolve) => setImmediate(resolve))
    },
    async close() {
      closed = true
    },
  }
}

/** JavaScript compares UTF-16 units, which puts U+1F600 before U+FF00; UTF-8 bytes do not. */
const byBytes = (a: string, b: string): number => Buffer.compare(Buffer.from(a), Buffer.from(b))
