/**
 * Builds `dist/` from `src/` with the TypeScript compiler. The new tree takes the place of the old one when it is
 * whole, so that a build which fails leaves what was there. The commands of this package are linked beside those of its
 * dependencies: npx finds them there at once, where it would else install the whole checkout into its cache first.
 */
import { spawnSync } from 'node:child_process'
import { existsSync, readFileSync, renameSync, rmSync, symlinkSync } from 'node:fs'
import { join } from 'node:path'

const root = join(import.meta.dirname, '..')
const dist = join(root, 'dist')
const next = join(root, `dist.${process.pid}.tmp`)
const old = `${next}.old`
const compiler = join(root, 'node_modules', 'typescript', 'bin', 'tsc')

const linkCommands = (): void => {
  const { bin } = JSON.parse(readFileSync(join(root, 'package.json'), 'utf8')) as { bin: Record<string, string> }
  for (const [command, path] of Object.entries(bin)) {
    const link = join(root, 'node_modules', '.bin', command)
    rmSync(link, { force: true })
    symlinkSync(join('..', '..', path), link)
  }
}

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
linkCommands()
