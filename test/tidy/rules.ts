/**
 * The house rules, one small function each. A rule comes with snippets that break it and snippets that do not, and the
 * test runs those too: a rule that cannot fail would be noticed.
 */
import {
  batchingRooms,
  clockOfTheSdk,
  linesMax,
  mapLines,
  mayImport,
  pureRooms,
  startsTheNode,
  timedRooms,
} from './rooms.ts'
import { lineAt, readSource, type SourceFile } from './source.ts'

/** Path to content, as in a snippet of a project. */
export type Snippet = Record<string, string>

export interface Rule {
  readonly name: string
  /** What breaks the rule, as `path:line what`. */
  readonly check: (files: readonly SourceFile[]) => string[]
  readonly bad: readonly Snippet[]
  readonly good: readonly Snippet[]
}

export const snippetFiles = (snippet: Snippet): SourceFile[] =>
  Object.entries(snippet).map(([path, text]) => readSource(path, text))

const at = (file: SourceFile, line: number, what: string): string => `${file.path}:${line} ${what}`
const inSrc = (file: SourceFile): boolean => file.path.startsWith('src/')
const isTest = (file: SourceFile): boolean => file.path.startsWith('test/')

/** `src/net/frame.ts` is in the room `net`; `src/index.ts` is in none. */
const roomOf = (path: string): string | undefined => /^src\/([^/]+)\//.exec(path)?.[1]
const baseName = (path: string): string => path.slice(path.lastIndexOf('/') + 1)
const isIn = (file: SourceFile, rooms: readonly string[]): boolean => rooms.includes(roomOf(file.path) ?? '')

/** The path of the file that a relative import names. */
const target = (file: SourceFile, specifier: string): string =>
  new URL(specifier, `file:///${file.path}`).pathname.slice(1)

const eachMatch = (file: SourceFile, text: string, pattern: RegExp, what: (found: string) => string): string[] =>
  [...text.matchAll(pattern)].map((match) => at(file, lineAt(text, match.index), what(match[0].trim())))

const eachImport = (file: SourceFile, breach: (specifier: string) => string | undefined): string[] =>
  file.imports.flatMap(({ specifier, line }) => {
    const what = breach(specifier)
    return what === undefined ? [] : [at(file, line, what)]
  })

/** A rule about the code of the files for which `applies` holds: `pattern` may not occur. */
const never = (
  name: string,
  applies: (file: SourceFile) => boolean,
  pattern: RegExp,
  examples: Pick<Rule, 'bad' | 'good'>,
): Rule => ({
  name,
  check: (files) =>
    files.filter(applies).flatMap((file) => eachMatch(file, file.code, pattern, (found) => `has ${found}`)),
  ...examples,
})

/** A rule about imports from outside the project: `pattern` only in `rooms`. */
const onlyIn = (
  name: string,
  pattern: RegExp,
  rooms: readonly string[],
  examples: Pick<Rule, 'bad' | 'good'>,
): Rule => ({
  name,
  check: (files) =>
    files
      .filter((file) => inSrc(file) && !isIn(file, rooms))
      .flatMap((file) =>
        eachImport(file, (specifier) => (pattern.test(specifier) ? `imports ${specifier}` : undefined)),
      ),
  ...examples,
})

function rankBreach(file: SourceFile, specifier: string): string | undefined {
  const from = roomOf(file.path)
  if (from === undefined || !specifier.startsWith('.')) return undefined
  const path = target(file, specifier)
  const to = roomOf(path)
  if (to === undefined) return `imports ${path}, which is in no room`
  if (to === from || mayImport[from]?.includes(to)) return undefined
  if (to === 'node' && startsTheNode.test(file.path)) return undefined
  return `imports from ${to}, which ${from} does not stand above`
}

const ranks: Rule = {
  name: 'a room imports only from the rooms that it stands above',
  check: (files) => files.flatMap((file) => eachImport(file, (specifier) => rankBreach(file, specifier))),
  bad: [
    { 'src/base/ids.ts': "import { a } from '../net/net.ts'" },
    { 'src/routing/route.ts': "import type { Store } from '../store/store.ts'" },
    { 'src/net/net.ts': "export * from '../mesh/mesh.ts'" },
    { 'src/cli/spawn.ts': "const node = await import('../node/node.ts')" },
    { 'src/client/client.ts': "import {\n  a,\n  b,\n} from '../agents/agents.ts'" },
    { 'src/store/store.ts': "import '../../scripts/build.ts'" },
  ],
  good: [
    { 'src/mesh/mesh.ts': "import { a } from '../net/net.ts'\nimport { b } from './view.ts'" },
    { 'src/cli/start.ts': "const { startNode } = await import('../node/node.ts')" },
    { 'src/cli/start-options.ts': "import type { NodeOptions } from '../node/options.ts'" },
    { 'src/base/ids.ts': "// import { a } from '../net/net.ts'\nconst text = `import { a } from '../net/net.ts'`" },
    { 'src/index.ts': "export { GodelError } from './base/errors.ts'" },
  ],
}

const knownRooms: Rule = {
  name: 'every folder of src is a room that has a rank',
  check: (files) =>
    files
      .filter((file) => inSrc(file) && !Object.hasOwn(mayImport, roomOf(file.path) ?? ''))
      .filter((file) => file.path !== 'src/index.ts')
      .map((file) => at(file, 1, 'is in no known room')),
  bad: [{ 'src/shared/a.ts': '' }, { 'src/main.ts': '' }, { 'src/constructor/a.ts': '' }],
  good: [{ 'src/net/net.ts': '', 'src/index.ts': '' }],
}

const drawers: Rule = {
  name: 'no folder is named after a kind of syntax',
  check: (files) =>
    files
      .filter((file) => /(?:^|\/)(?:types?|utils?|helpers?|interfaces?|constants|common|misc)\//.test(file.path))
      .map((file) => at(file, 1, 'is in a drawer')),
  bad: [{ 'src/net/utils/a.ts': '' }, { 'test/helpers/a.ts': '' }, { 'src/types/a.ts': '' }],
  good: [{ 'src/net/frame.ts': '' }],
}

const length: Rule = {
  name: `no file has more than ${linesMax} lines`,
  check: (files) =>
    files
      .filter((file) => file.lines.length - 1 > linesMax)
      .map((file) => at(file, file.lines.length - 1, `is the last of more than ${linesMax} lines`)),
  bad: [{ 'src/net/net.ts': '\n'.repeat(linesMax + 1) }],
  good: [{ 'src/net/net.ts': '\n'.repeat(linesMax) }],
}

const opensWithMap = (file: SourceFile): boolean => file.text.startsWith('/**\n * Room ')

function mapBreaches(room: string, files: readonly SourceFile[]): string[] {
  const main = files.filter(opensWithMap)
  const [file] = main
  if (file === undefined) return [`src/${room}: no file opens with "/**", " * Room ${room}: " and a map of the room`]
  if (main.length > 1) return [`src/${room}: ${main.map((each) => each.path).join(' and ')} each open with a map`]
  const map = file.text.slice(0, file.text.indexOf('*/'))
  const lines = map.split('\n').length - 1
  // `agent-*.ts` stands for all that it matches.
  const named = (map.match(/[\w.*-]+\.[a-z]+\b/g) ?? []).map(
    (name) => new RegExp(`^${name.replaceAll('.', '\\.').replaceAll('*', '.+')}$`),
  )
  return [
    ...(map.startsWith(`/**\n * Room ${room}: `) ? [] : [at(file, 2, `does not begin with " * Room ${room}: "`)]),
    ...(lines >= mapLines.min && lines <= mapLines.max
      ? []
      : [at(file, 2, `has a map of ${lines} lines, not of ${mapLines.min} to ${mapLines.max}`)]),
    ...files
      .filter((each) => each !== file && !named.some((pattern) => pattern.test(baseName(each.path))))
      .map((each) => at(file, 2, `has a map without ${baseName(each.path)}`)),
  ]
}

const aMap = '/**\n * Room net: bytes.\n *\n * net.ts    this file\n * frame.ts  framing\n * wire.ts   more\n */\n'

const maps: Rule = {
  name: 'every room has one main file, which opens with a map of all its files',
  check: (files) =>
    Object.entries(Object.groupBy(files.filter(inSrc), (file) => roomOf(file.path) ?? ''))
      .filter(([room]) => room !== '')
      .flatMap(([room, inRoom]) => mapBreaches(room, inRoom ?? [])),
  bad: [
    { 'src/net/net.ts': 'export const a = 1\n' },
    { 'src/net/net.ts': aMap, 'src/net/other.ts': '' },
    { 'src/net/net.ts': aMap, 'src/net/frame.ts': aMap },
    { 'src/mesh/mesh.ts': aMap },
    { 'src/net/net.ts': '/**\n * Room net: bytes.\n */\n' },
    { 'src/net/net.ts': `/**\n * Room net: bytes.\n${' * more\n'.repeat(mapLines.max)} */\n` },
    { 'src/net/net.ts': aMap, 'src/net/re.ts': '' },
    { 'src/net/net.ts': aMap.replace('wire.ts', 'wire-*.ts'), 'src/net/other-wire.ts': '' },
  ],
  good: [
    { 'src/net/net.ts': aMap, 'src/net/frame.ts': '/** Framing. */\n', 'src/net/deep/wire.ts': '' },
    { 'src/net/net.ts': aMap.replace('wire.ts', 'wire-*.ts'), 'src/net/wire-error.ts': '' },
  ],
}

const libp2p = onlyIn(
  'only net imports libp2p and its streams',
  /^(?:libp2p|it-[\w-]+|@libp2p\/.*|@chainsafe\/.*|@multiformats\/.*)$/,
  ['net'],
  {
    bad: [
      { 'src/mesh/mesh.ts': "import { createLibp2p } from 'libp2p'" },
      { 'src/identity/node-key.ts': "import type { PeerId } from '@libp2p/interface'" },
      { 'src/agents/a.ts': "await import('it-pipe')" },
      { 'src/cli/a.ts': "import { multiaddr } from '@multiformats/multiaddr'" },
    ],
    good: [
      { 'src/net/net.ts': "import { createLibp2p } from 'libp2p'" },
      { 'src/identity/node-key.ts': "import { base58btc } from 'multiformats/bases/base58'" },
      { 'src/mesh/mesh.ts': "// import { createLibp2p } from 'libp2p'" },
    ],
  },
)

const sqlite = onlyIn('only store imports node:sqlite', /^node:sqlite$/, ['store'], {
  bad: [{ 'src/agents/a.ts': "import { DatabaseSync } from 'node:sqlite'" }],
  good: [{ 'src/store/sqlite.ts': "import { DatabaseSync } from 'node:sqlite'" }],
})

const pure = onlyIn(
  'base and routing touch no file, socket or process',
  /^node:(?!crypto$|util$|buffer$)/,
  Object.keys(mayImport).filter((room) => !pureRooms.includes(room)),
  {
    bad: [
      { 'src/routing/route.ts': "import { readFile } from 'node:fs/promises'" },
      { 'src/base/a.ts': "import 'node:net'" },
    ],
    good: [{ 'src/base/hash.ts': "import { hash } from 'node:crypto'" }, { 'src/net/net.ts': "import 'node:net'" }],
  },
)

const time = never(
  'only node and cli read the time and start timers',
  (file) => inSrc(file) && !isIn(file, timedRooms) && file.path !== clockOfTheSdk,
  /\bDate\.now\b|\bnew Date\(\s*\)|(?<!new )(?<![\w.])Date\(|(?<!\.)\b(?:setTimeout|setInterval)\b|\bglobalThis\.set\w+|\bperformance\.\w+|\bprocess\.hrtime\b|\bprocess\.uptime\b|\bAbortSignal\.timeout\b/g,
  {
    bad: [
      { 'src/mesh/a.ts': 'const now = Date.now()' },
      { 'src/mesh/a.ts': 'const now = new Date()' },
      { 'src/net/a.ts': 'setTimeout(() => {}, 5)' },
      { 'src/net/a.ts': 'const start = setInterval' },
      { 'src/store/a.ts': 'const start = performance.now()' },
      { 'src/store/a.ts': 'const start = process.hrtime.bigint()' },
      { 'src/client/a.ts': 'fetch(url, { signal: AbortSignal.timeout(5) })' },
    ],
    good: [
      { 'src/node/a.ts': 'setTimeout(() => {}, 5)', 'src/cli/a.ts': 'Date.now()', 'src/client/clock.ts': 'Date.now()' },
      { 'src/base/a.ts': 'const text = new Date(at).toISOString()' },
      { 'src/mesh/a.ts': "clock.setTimeout(5) // not setTimeout\nlog.info('no Date.now()')" },
    ],
  },
)

const timers: Rule = {
  name: 'no room but node and cli imports timers',
  check: onlyIn('', /^(?:node:)?timers(?:\/promises)?$/, timedRooms, { bad: [], good: [] }).check,
  bad: [{ 'src/mesh/a.ts': "import { setTimeout as sleep } from 'node:timers/promises'" }],
  good: [{ 'src/node/a.ts': "import { setTimeout as sleep } from 'node:timers/promises'" }],
}

const immediate = never(
  'only net, store and api wait for the end of a tick',
  (file) => inSrc(file) && !isIn(file, batchingRooms),
  /\bsetImmediate\b/g,
  {
    bad: [{ 'src/agents/a.ts': 'setImmediate(flush)' }],
    good: [{ 'src/net/a.ts': 'setImmediate(flush)', 'src/store/a.ts': 'setImmediate(flush)' }],
  },
)

const console = never(
  'only cli writes to the console',
  (file) => inSrc(file) && !isIn(file, ['cli']),
  /\bconsole\.\w+/g,
  {
    bad: [{ 'src/node/a.ts': "console.log('hello')" }],
    good: [{ 'src/cli/a.ts': "console.log('hello')" }, { 'src/net/a.ts': '// console.log(frame)' }],
  },
)

const errors = never('only GodelError is thrown', inSrc, /\bthrow new (?!GodelError\b)\w*Error\b|\bthrow ['"`]/g, {
  bad: [
    { 'src/net/a.ts': "throw new Error('no')" },
    { 'src/net/a.ts': 'throw new TypeError(reason)' },
    { 'src/net/a.ts': 'throw new AggregateError([])' },
    { 'src/net/a.ts': "throw 'no'" },
  ],
  good: [
    { 'src/net/a.ts': "throw new GodelError({ code: 'NOT_FOUND' })\nthrow error\nstream.abort(new Error('closing'))" },
  ],
})

const enums = never('no enums', () => true, /\benum\s+\w+\s*\{/g, {
  bad: [{ 'src/net/a.ts': 'export const enum Kind { A }' }, { 'test/unit/a.ts': 'enum Kind { A }' }],
  good: [{ 'src/net/a.ts': "const enum_ = { A: 1 } // enum Kind { A }\nconst t = 'enum Kind {'" }],
})

const defaults = never(
  'no default exports',
  (file) => file.path !== 'vitest.config.ts',
  /\bexport\s+default\b|\bas\s+default\b/g,
  {
    bad: [{ 'src/net/a.ts': 'export default function a() {}' }, { 'src/net/a.ts': 'export { a as default }' }],
    good: [{ 'src/net/a.ts': 'export const a = 1', 'vitest.config.ts': 'export default {}' }],
  },
)

const barrels: Rule = {
  name: 'no barrels but src/index.ts and src/client/index.ts',
  check: (files) =>
    files
      .filter((file) => inSrc(file) && !['src/index.ts', 'src/client/index.ts'].includes(file.path))
      .flatMap((file) => [
        ...(baseName(file.path) === 'index.ts' ? [at(file, 1, 'is a barrel')] : []),
        ...eachMatch(file, file.code, /\bexport\s*(?:type\s*)?\*/g, (found) => `has ${found}`),
      ]),
  bad: [{ 'src/net/index.ts': '' }, { 'src/net/net.ts': "export * from './frame.ts'" }],
  good: [{ 'src/index.ts': "export * from './base/errors.ts'", 'src/client/index.ts': '' }],
}

const leftovers: Rule = {
  name: 'no comment puts work off',
  check: (files) =>
    files.flatMap((file) =>
      eachMatch(file, file.comments, /\b(?:TODO|FIXME|XXX|HACK)\b/g, (found) => `has a comment with ${found}`),
    ),
  bad: [{ 'src/net/a.ts': '// TODO: frames' }, { 'test/unit/a.ts': 'const a = 1 /* FIXME */' }],
  good: [{ 'src/net/a.ts': "const word = 'TODO' // what is left" }],
}

const extensions: Rule = {
  name: 'a relative import names the file with its extension',
  check: (files) =>
    files.flatMap((file) =>
      eachImport(file, (specifier) =>
        /^\.\.?\//.test(specifier) && !/\.(?:ts|cjs|json)$/.test(specifier) ? `imports ${specifier}` : undefined,
      ),
    ),
  bad: [{ 'src/net/a.ts': "import { b } from './b'" }, { 'src/net/a.ts': "import { b } from './b.js'" }],
  good: [{ 'src/net/a.ts': "import { b } from './b.ts'\nimport { c } from 'c'" }],
}

const testNames: Rule = {
  name: 'the name of a test states a behaviour, without "should"',
  check: (files) =>
    files
      .filter((file) => isTest(file) && file.path.endsWith('.test.ts'))
      .flatMap((file) =>
        [...file.code.matchAll(/\b(?:test|it|describe)(?:\.[\w.]+(?:\([^()]*\))?)?\s*\(\s*['"`]/g)].flatMap((match) => {
          const from = match.index + match[0].length
          const name = file.text.slice(from, from + Math.max(0, file.code.slice(from).search(/['"`]/)))
          return /\bshould\b/i.test(name) ? [at(file, lineAt(file.code, match.index), `is named "${name}"`)] : []
        }),
      ),
  bad: [
    { 'test/unit/a.test.ts': "test('should refuse', () => {})" },
    { 'test/unit/a.test.ts': "describe('a node', () => {\n  it.each(rows)('it Should refuse', () => {})\n})" },
  ],
  good: [
    { 'test/unit/a.test.ts': "test('a draining node is never chosen', () => {\n  expect('should').toBe(1)\n})" },
    { 'src/net/a.ts': "test('should')" },
  ],
}

export const rules: readonly Rule[] = [
  ranks,
  knownRooms,
  drawers,
  length,
  maps,
  libp2p,
  sqlite,
  pure,
  time,
  timers,
  immediate,
  console,
  errors,
  enums,
  defaults,
  barrels,
  leftovers,
  extensions,
  testNames,
]
