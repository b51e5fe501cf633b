/**
 * The house rules, checked on every file. The rules are in `tidy/rules.ts`, the ranks of the rooms in `tidy/rooms.ts`.
 */
import { readdirSync, readFileSync } from 'node:fs'
import { join, relative } from 'node:path'
import { describe, expect, test } from 'vitest'
import { rules, snippetFiles } from './tidy/rules.ts'
import { classify, readSource } from './tidy/source.ts'

const root = join(import.meta.dirname, '..')

const sources = ['src', 'test', 'scripts'].flatMap((folder) =>
  readdirSync(join(root, folder), { recursive: true, withFileTypes: true })
    .filter((entry) => entry.isFile() && entry.name.endsWith('.ts'))
    .map((entry) => join(entry.parentPath, entry.name))
    .map((path) => readSource(relative(root, path), readFileSync(path, 'utf8'))),
)

describe('the house rules', () => {
  test('there are files to check', () => {
    expect(sources.map((file) => file.path)).toContain('src/base/errors.ts')
  })

  test.each(rules.map((rule) => [rule.name, rule] as const))('%s', (_name, rule) => {
    expect(rule.check(sources)).toEqual([])
  })
})

describe('each rule', () => {
  const bad = rules.flatMap((rule) => rule.bad.map((snippet) => [rule.name, snippet, rule] as const))
  const good = rules.flatMap((rule) => rule.good.map((snippet) => [rule.name, snippet, rule] as const))

  test('has a snippet that breaks it and one that does not', () => {
    expect(rules.filter((rule) => rule.bad.length === 0 || rule.good.length === 0)).toEqual([])
  })

  test.each(bad)('%s: broken by %o', (_name, snippet, rule) => {
    expect(rule.check(snippetFiles(snippet))).toHaveLength(1)
  })

  test.each(good)('%s: kept by %o', (_name, snippet, rule) => {
    expect(rule.check(snippetFiles(snippet))).toEqual([])
  })
})

describe('the reader of sources', () => {
  const codeOf = (text: string): string =>
    classify(text)
      .map((kind, at) => (kind === 'code' ? text[at] : '.'))
      .join('')

  test.each([
    ["a = 'x\\'y' + b", "a = '....' + b"],
    ['a = "//" // c', 'a = ".." ....'],
    ['a /* b\n */ + c', 'a ........ + c'],
    ['a = `x${f({ b: `y` })}z` + c', 'a = `.${f({ b: `.` })}.` + c'],
    ['a = b / c / d', 'a = b / c / d'],
    ['a = /[/\'"]\\/x/g.test(b)', 'a = /......../g.test(b)'],
    ['return /`/', 'return /./'],
    ["a = '\\\\'; b", "a = '..'; b"],
  ])('tells code from text and comment in %s', (text, code) => {
    expect(codeOf(text)).toBe(code)
  })

  test('finds imports of every form, and none in text or comments', () => {
    const text = [
      "import a from 'a'",
      "import type { B } from 'b'",
      'export {\n  c,\n} from "c"',
      "import 'd'",
      "const e = await import('e')",
      "// import f from 'f'",
      "const g = `import g from 'g'`",
    ].join('\n')
    expect(readSource('x.ts', text).imports.map((found) => found.specifier)).toEqual(['a', 'b', 'c', 'd', 'e'])
  })
})
