/**
 * Everything that is checked without running the program: types, lint, format, dead code, the package, the house rules.
 * All of them run, also after one has failed, and each is named with how long it took.
 */
import { spawnSync } from 'node:child_process'
import { join } from 'node:path'

const root = join(import.meta.dirname, '..')
const runner = join(root, 'bin', 'run.cjs')

const steps: readonly [name: string, ...command: string[]][] = [
  ['types', 'tsc', '--noEmit', '-p', 'tsconfig.json'],
  ['lint', 'oxlint', '--deny-warnings'],
  ['format', 'prettier', '--check', '--log-level', 'warn', '.'],
  ['dead code', 'knip', '--no-progress'],
  ['build', 'scripts/build.ts'],
  ['package', 'publint', '--strict'],
  ['house rules', 'vitest', 'run', '--project', 'unit', 'test/tidy.test.ts'],
]

const run = ([name, ...command]: (typeof steps)[number]): boolean => {
  const startedAt = performance.now()
  const child = spawnSync(process.execPath, [runner, ...command], { cwd: root, encoding: 'utf8' })
  const seconds = ((performance.now() - startedAt) / 1_000).toFixed(1)
  const passed = child.status === 0
  console.log(`${passed ? 'ok    ' : 'FAILED'} ${name} (${command.join(' ')}) ${seconds} s`)
  if (!passed) console.log(`${child.stdout}${child.stderr}`)
  return passed
}

const failed = steps.filter((step) => !run(step)).map(([name]) => name)
console.log(failed.length === 0 ? `All ${steps.length} checks passed.` : `Failed: ${failed.join(', ')}.`)
process.exitCode = failed.length === 0 ? 0 : 1
