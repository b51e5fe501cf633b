/** A store that keeps everything at once and in memory, without a turn of the event loop, which simulated time knows nothing of. */
import type { Store } from '../../src/store/store.ts'

export const openSimStore = (): Store => {
  const spaces = new Map<string, Map<string, Uint8Array>>()
  return {
    get: (space, key) => spaces.get(space)?.get(key)?.slice(),
    scan(space, { prefix = '', from = '', limit = Infinity } = {}) {
      const keys = [...(spaces.get(space)?.keys() ?? [])]
      const wanted = keys.filter((key) => key.startsWith(prefix) && key >= from).toSorted()
      return wanted.slice(0, limit).map((key) => [key, spaces.get(space)!.get(key)!.slice()])
    },
    commit(writes) {
      for (const { space, key, value } of writes) {
        const values = spaces.get(space) ?? new Map<string, Uint8Array>()
        spaces.set(space, values)
        if (value === null) values.delete(key)
        else values.set(key, Uint8Array.from(value))
      }
      return Promise.resolve()
    },
    close: () => Promise.resolve(),
  }
}
