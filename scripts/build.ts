/**
 * Builds `dist/` from `src/` with the TypeScript compiler. The new tree takes the place of the old one when it is
 * whole, so that a build which fails leaves what was there.
 */
import { spawnSync } from 'node:child_process'
import { existsSync, renameSync, rmSync } from 'node:fs'
import { join } from 'node:path'

const root = join(import.meta.dirname, '..')
const dist = join(root, 'dist')
const next = join(root, `dist.${process.pid}.tmp`)
const old = `${next}.old`
const compiler = join(root, 'node_modules', 'typescript', 'bin', 'tsc')

if (!existsSync(compiler)) {
  // An install without development dependencies: the launcher runs the sources.
  console.log('TypeScript is not installed: nothing was built, and godel-node runs from its sources.')
  process.exit(0)
}

const tsc = spawnSync(process.execPath, [compiler, '-p', 'tsconfig.build.json', '--outDir', next], {
  cwd: root,
  stdio: ['ignore', 'inherit', 'inherit'],
})
if (tsc.status !== 0) {
  rmSync(next, { recursive: true, force: true })
  process.exit(1)
}
if (existsSync(dist)) renameSync(dist, old)
renameSync(next, dist)
rmSync(old, { recursive: true, force: true })
