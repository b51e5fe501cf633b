/**
 * The ways in which the program gets onto a machine, each gone through as a person would, with that machine's own Node
 * and npm: a clean checkout, npx in it, a packed tarball in another project, a global install.
 */
import { execFile } from 'node:child_process'
import { cp, mkdir, mkdtemp, readFile, rm, writeFile } from 'node:fs/promises'
import { tmpdir } from 'node:os'
import { dirname, join } from 'node:path'
import { promisify } from 'node:util'
import { afterAll, beforeAll, describe, expect, test } from 'vitest'
import { outerNode, outerPath } from '../../scripts/outer-node.ts'

const run = promisify(execFile)
const root = join(import.meta.dirname, '..', '..')
const installMs = 300_000

const outer = outerNode()
const { version } = JSON.parse(await readFile(join(root, 'package.json'), 'utf8'))

let scratch = ''
const inScratch = (...path: string[]): string => join(scratch, ...path)

/** What a person's shell has: without what npm adds for the scripts that it runs, and with each start of Node noted. */
const shell = (seen?: string): NodeJS.ProcessEnv => {
  const own = Object.entries(process.env).filter(
    ([name]) => !/^(?:npm_|NODE$|NODE_OPTIONS$|INIT_CWD$|VITEST|GODEL_)/.test(name),
  )
  const note = seen === undefined ? {} : { NODE_OPTIONS: `--require ${inScratch('note.cjs')}`, SEEN: seen }
  return { ...Object.fromEntries(own), PATH: outerPath(), ...note }
}

const npm = (args: string[], cwd: string) =>
  run('npm', [...args, '--prefer-offline', '--no-audit', '--no-fund'], { cwd, env: shell(), maxBuffer: 2 ** 26 })

/** Runs a command that prints our version, and gives what it printed and the Node that the CLI itself ran on. */
const versionBy = async (file: string, args: string[], cwd: string): Promise<{ printed: string; major: number }> => {
  const seen = inScratch(`seen-${crypto.randomUUID()}`)
  const { stdout } = await run(file, args, { cwd, env: shell(seen) })
  const starts = (await readFile(seen, 'utf8')).trim().split('\n')
  return { printed: stdout.trim(), major: Number(starts.at(-1)) }
}

const ours = { printed: expect.stringContaining(version), major: expect.toSatisfy((major: number) => major >= 24) }

beforeAll(async () => {
  const own = outer?.version ?? 'missing'
  process.stderr.write(
    `The machine's own Node is ${own}${outer && outer.major < 24 ? '' : ', so no older one is tried'}.\n`,
  )
  scratch = await mkdtemp(join(tmpdir(), 'godel-packaging-'))
  // The last to note itself is the one that runs the CLI: npm and the launcher come before it.
  await writeFile(
    inScratch('note.cjs'),
    "if (/godel-node|godel$|swarmctl/.test(process.argv[1] ?? ''))\n" +
      "  require('fs').appendFileSync(process.env.SEEN, process.versions.node.split('.')[0] + '\\n')\n",
  )
  const { stdout } = await run('git', ['ls-files', '-co', '--exclude-standard', '-z'], { cwd: root })
  for (const file of stdout.split('\0').filter((name) => name !== '')) {
    await mkdir(dirname(inScratch('checkout', file)), { recursive: true })
    await cp(join(root, file), inScratch('checkout', file)).catch((error: NodeJS.ErrnoException) => {
      if (error.code !== 'ENOENT') throw error // listed, and deleted in the work tree
    })
  }
  await npm(['ci'], inScratch('checkout'))
  await npm(['pack', '--pack-destination', scratch], inScratch('checkout'))
}, installMs)

afterAll(() => rm(scratch, { recursive: true, force: true }), installMs)

const tarball = (): string => inScratch(`godel-node-${version}.tgz`)

describe('a clean checkout', () => {
  test('runs by its launcher', async () => {
    const cwd = inScratch('checkout')
    expect(await versionBy(outer?.path ?? process.execPath, ['bin/godel-node.cjs', '--version'], cwd)).toEqual(ours)
  })

  test('runs by npx', async () => {
    expect(await versionBy('npx', ['godel-node', '--version'], inScratch('checkout'))).toEqual(ours)
  })

  test('runs from its sources where it was not built', async () => {
    await rm(inScratch('checkout', 'dist'), { recursive: true })
    const cwd = inScratch('checkout')
    expect(await versionBy(outer?.path ?? process.execPath, ['bin/godel-node.cjs', '--version'], cwd)).toEqual(ours)
  })
})

describe('the packed tarball', () => {
  test('holds the built program and its papers, and neither sources nor tests', async () => {
    const { stdout } = await run('tar', ['-tzf', tarball()])
    const files = stdout
      .trim()
      .split('\n')
      .map((name) => name.replace(/^package\//, ''))
    for (const wanted of [
      'bin/godel-node.cjs',
      'bin/runtime.cjs',
      'dist/cli/main.js',
      'LICENSE',
      'README.md',
      'docs/operating.md',
    ]) {
      expect(files).toContain(wanted)
    }
    expect(files.filter((name) => /^(?:src|test|scripts|node_modules)\//.test(name))).toEqual([])
  })

  describe('in an empty project', () => {
    const project = (): string => inScratch('project')

    beforeAll(async () => {
      await mkdir(project())
      await writeFile(
        join(project(), 'package.json'),
        JSON.stringify({ name: 'elsewhere', version: '1.0.0', type: 'module' }),
      )
      await npm(['install', tarball()], project())
    }, installMs)

    test.each(['godel-node', 'godel', 'swarmctl'])('runs by npx as %s', async (name) => {
      expect(await versionBy('npx', [name, '--version'], project())).toEqual(ours)
    })

    test('gives the SDK at run time', async () => {
      await writeFile(
        join(project(), 'use.js'),
        "import { GodelClient } from 'godel-node/sdk'\nconsole.log(typeof GodelClient)\n",
      )
      const { stdout } = await run(process.execPath, ['use.js'], { cwd: project(), env: shell() })
      expect(stdout.trim()).toBe('function')
    })

    test('gives the SDK its types', async () => {
      await writeFile(
        join(project(), 'types.ts'),
        "import { GodelClient } from 'godel-node/sdk'\n" +
          'export type Client = InstanceType<typeof GodelClient>\n' +
          '// @ts-expect-error: a type that were `any` would take this\n' +
          'export const client: Client = 1\n',
      )
      const options = ['--strict', '--noEmit', '--module', 'nodenext', '--target', 'es2024', '--lib', 'es2024,dom']
      const compiler = join(root, 'node_modules', 'typescript', 'bin', 'tsc')
      const args = [compiler, ...options, '--skipLibCheck', '--types', '', 'types.ts']
      await expect(run(process.execPath, args, { cwd: project(), env: shell() })).resolves.toBeDefined()
    })
  })
})

describe('a global install', () => {
  const prefix = (): string => inScratch('global')

  beforeAll(() => npm(['install', '--global', '--prefix', prefix(), tarball()], scratch), installMs)

  test.each(['godel-node', 'godel', 'swarmctl'])('puts %s into the path', async (name) => {
    expect(await versionBy(join(prefix(), 'bin', name), ['--version'], scratch)).toEqual(ours)
  })
})
