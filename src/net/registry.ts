/** The methods that this node answers, by name and version. */
import { GodelError } from '../base/errors.ts'
import type { BoundMethod } from './method.ts'

export interface Registry {
  register(methods: readonly BoundMethod[]): void
  /** METHOD_UNKNOWN, which names the versions that there are. */
  find(name: string, version: number): BoundMethod
}

export const createRegistry = (self: string): Registry => {
  const methods = new Map<string, Map<number, BoundMethod>>()
  return {
    register(rows) {
      for (const row of rows) {
        const { name, version } = row.method
        const versions = methods.get(name) ?? new Map<number, BoundMethod>()
        if (versions.has(version)) {
          throw new GodelError({
            code: 'CONFLICT',
            what: `method ${name} version ${version}`,
            reason: 'it is registered',
          })
        }
        methods.set(name, versions.set(version, row))
      }
    },
    find(name, version) {
      const versions = methods.get(name)
      const row = versions?.get(version)
      if (row !== undefined) return row
      const has = versions === undefined ? '' : ` (it has ${[...versions.keys()].map((v) => `v${v}`).join(', ')})`
      throw new GodelError({ code: 'METHOD_UNKNOWN', method: `${name} v${version}${has}`, peer: self })
    },
  }
}
