/**
 * What the pages promise is there: each test that they cite, by file and name; each command and option that they show; each
 * file, page and heading that they link to.
 */
import { existsSync, readdirSync, readFileSync } from 'node:fs'
import { dirname, join } from 'node:path'
import { describe, expect, test } from 'vitest'

const root = join(import.meta.dirname, '..', '..')
const read = (path: string): string => readFileSync(join(root, path), 'utf8')
const docs = readdirSync(join(root, 'docs'))
  .filter((name) => name.endsWith('.md'))
  .map((name) => `docs/${name}`)
const pages = ['README.md', 'CHANGELOG.md', ...docs]

/** A citation is a test file as code, a colon, and names in curly quotes: `test/a.test.ts`: “one”, “two”. */
const citations = (text: string): { file: string; name: string }[] =>
  [...text.matchAll(/`(test\/[\w/.-]+\.test\.ts)`((?:[:,] ?“[^”]+”)*)/g)].flatMap(([, file, names]) => [
    { file: file!, name: '' },
    ...[...names!.matchAll(/“([^”]+)”/g)].map(([, name]) => ({ file: file!, name: name! })),
  ])

const isThere = ({ file, name }: { file: string; name: string }): boolean =>
  existsSync(join(root, file)) &&
  (name === '' || ["'", '"', '`'].some((mark) => read(file).includes(mark + name + mark)))

/** The words of each command, as cli/main.ts has them: two spaces of indent for the first, six for those of a group. */
const commands = new Set<string>()
const groups = new Set<string>()
for (const line of read('src/cli/main.ts').split('\n')) {
  const [, indent = '', word = '', isGroup] = /^( {2}| {6})'?([a-z][a-z-]*)'?: \{( summary:)?/.exec(line) ?? []
  if (indent.length === 2 && isGroup === undefined) groups.add(word)
  if (indent.length === 2 && isGroup !== undefined) commands.add(word)
  if (indent.length === 6) commands.add(`${[...groups].at(-1)} ${word}`)
}
const options = readdirSync(join(root, 'src/cli')).map((name) => read(`src/cli/${name}`)).join('\n') // prettier-ignore

/** Command lines: in code, from `godel-node` to the end of the code, the line, or a pipe. */
const commandLines = (text: string): string[] =>
  [...text.matchAll(/```[\s\S]*?```|`[^`\n]+`/g)].flatMap(([code]) =>
    [...code.matchAll(/(?:^|[\s`])godel-node ((?!\/)[^`\n|>]*)/g)].map(([, line]) => line!.replace(/ #.*$/, '').trim()),
  )

const faultOf = (line: string): string | undefined => {
  const [first = '', second = ''] = line.split(' ')
  const name = groups.has(first) && second !== '' && !second.startsWith('-') ? `${first} ${second}` : first
  if (!name.startsWith('-') && !commands.has(name) && !(groups.has(name) && second === '')) return `no command ${name}`
  const own = line.split(' -- ')[0]!
  return [...own.matchAll(/(?<=\s)--[a-z][a-z-]*/g)].map(([option]) => option).find((option) => !isOption(option))
}
const isOption = (option: string): boolean =>
  ['--help', '--version'].includes(option) || new RegExp(`'(?:-\\w, )?${option}(?![\\w-])`).test(options)

const slugOf = (heading: string): string =>
  heading.toLowerCase().replaceAll(/[^\w\s-]/g, '').trim().replaceAll(/\s+/g, '-') // prettier-ignore

const brokenLinks = (page: string): string[] =>
  [...read(page).matchAll(/\]\((?!https?:)([^)\s]+)\)/g)].flatMap(([, link]) => {
    const [path = '', anchor] = link!.split('#')
    const target = path === '' ? page : join(dirname(page), path)
    if (!existsSync(join(root, target))) return [link!]
    const headings = [...read(target).matchAll(/^#+ (.*)$/gm)].map(([, heading]) => slugOf(heading!))
    return anchor === undefined || headings.includes(anchor) ? [] : [link!]
  })

describe('the pages', () => {
  test.each(pages)('%s cites tests that are there', (page) => {
    expect(citations(read(page)).filter((cited) => !isThere(cited))).toEqual([])
  })

  test('on threats cite one in every row', () => {
    const rows = read('docs/threat-model.md')
      .split(/^## Threats, answers, tests$/m)[1]!
      .split(/^## What is not protected$/m)[0]!
      .split('\n')
      .filter((line) => line.startsWith('| ') && !/^\| (threat|what is tried|-)/.test(line))
    expect(rows.length).toBeGreaterThan(70)
    expect(rows.filter((row) => !citations(row).some(({ name }) => name !== ''))).toEqual([])
  })

  test.each(pages)('%s shows commands and options that are there', (page) => {
    expect(commandLines(read(page)).flatMap((line) => (faultOf(line) ? [`${line}: ${faultOf(line)}`] : []))).toEqual([])
  })

  test.each(pages)('%s links to what is there', (page) => {
    expect(brokenLinks(page)).toEqual([])
  })

  test('name every command, in the README', () => {
    const [, table = ''] = read('README.md').split(/^## Commands$/m)
    const words = new Set([...table.split(/^## /m)[0]!.matchAll(/[a-z][a-z-]+/g)].map(([word]) => word))
    expect([...commands].flatMap((name) => name.split(' ')).filter((word) => !words.has(word))).toEqual([])
  })
})

describe('the reader of pages', () => {
  test('finds what is not there', () => {
    expect(citations('`test/unit/docs.test.ts`: “finds what is not there”, “x”').map(isThere)).toEqual([
      true,
      true,
      false,
    ])
    expect(citations('`test/none.test.ts`').map(isThere)).toEqual([false])
    const lines = commandLines(
      '`godel-node drain --timeout 1s`, `godel-node fly`\n```\n$ godel-node realm share b --no --json\n```',
    )
    expect(lines.map(faultOf)).toEqual([undefined, 'no command fly', '--no'])
    expect(commands.size).toBeGreaterThan(25)
  })
})
