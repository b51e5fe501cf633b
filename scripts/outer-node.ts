/**
 * The `node` that a person on this machine would get, as opposed to the one that npm puts before it: the package that
 * carries Node also links it as `node_modules/.bin/node`, and npm's scripts have that folder in front of their PATH.
 */
import { spawnSync } from 'node:child_process'
import { existsSync } from 'node:fs'
import { delimiter, join, sep } from 'node:path'

/** The entries of PATH that a person's shell has. */
export const outerPath = (): string =>
  (process.env['PATH'] ?? '')
    .split(delimiter)
    .filter((folder) => !folder.includes(`${sep}node_modules${sep}`) && !folder.includes('node-gyp-bin'))
    .join(delimiter)

export interface OuterNode {
  path: string
  /** As `v20.20.2`. */
  version: string
  major: number
}

/** The machine's own Node, or undefined where it has none but ours. */
export function outerNode(): OuterNode | undefined {
  const path = outerPath()
    .split(delimiter)
    .map((folder) => join(folder, 'node'))
    .find((file) => existsSync(file))
  if (path === undefined) return undefined
  const version = spawnSync(path, ['-p', 'process.version'], { encoding: 'utf8' }).stdout.trim()
  return { path, version, major: Number(/^v(\d+)/.exec(version)?.[1]) }
}
