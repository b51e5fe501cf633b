/**
 * Reads TypeScript well enough to check house rules: which characters are code, which are comment, which are text. It
 * is a lexer, not a parser; what it cannot know (whether a slash divides or begins a regular expression) it takes from
 * the token before, as syntax highlighters do.
 */
export interface Import {
  specifier: string
  line: number
}

export interface SourceFile {
  /** Relative to the root of the project, with slashes. */
  readonly path: string
  readonly text: string
  readonly lines: readonly string[]
  /** The text with comments and the insides of strings, templates and regular expressions blanked. Same offsets. */
  readonly code: string
  /** The text with everything but comments blanked. Same offsets. */
  readonly comments: string
  /** Of every form: import, export from, import(), import type. */
  readonly imports: readonly Import[]
}

type Kind = 'code' | 'comment' | 'text'

/** A slash after one of these begins a regular expression; after anything else it divides. */
const beforeRegExp = /(?:^|[=([{,;:!&|?+\-*%<>~^]|\b(?:return|typeof|case|in|of|delete|void|throw|new|await|yield))\s*$/

const endOf = (text: string, pattern: RegExp, from: number): number => {
  pattern.lastIndex = from
  const found = pattern.exec(text)
  return found === null ? text.length : found.index + found[0].length
}

const quoted: Record<string, RegExp> = {
  "'": /(?<!\\)(?:\\\\)*'|\n/g,
  '"': /(?<!\\)(?:\\\\)*"|\n/g,
}

/** What each character is. Delimiters of strings count as code, so that `''` stays visible as a place where text was. */
export function classify(text: string): Kind[] {
  const kinds: Kind[] = Array.from({ length: text.length }, () => 'code')
  const mark = (from: number, to: number, kind: Kind): number => {
    kinds.fill(kind, from, to)
    return to
  }
  /** One entry per open template expression: how many braces are open within it. */
  const braces: number[] = []
  let codeSoFar = ''

  const template = (from: number): number => {
    let at = from
    while (at < text.length && text[at] !== '`' && text.slice(at, at + 2) !== '${') at += text[at] === '\\' ? 2 : 1
    mark(from, Math.min(at, text.length), 'text')
    if (text[at] === '`') return at + 1
    braces.push(0)
    return at + 2
  }

  const step = (at: number): number => {
    const two = text.slice(at, at + 2)
    const one = text[at] ?? ''
    if (two === '//') return mark(at, endOf(text, /(?=\n)/g, at), 'comment')
    if (two === '/*') return mark(at, endOf(text, /\*\//g, at + 2), 'comment')
    const quote = quoted[one]
    if (quote !== undefined) {
      const end = endOf(text, quote, at + 1)
      mark(at + 1, end - 1, 'text')
      return end
    }
    if (one === '`') return template(at + 1)
    if (one === '/' && beforeRegExp.test(codeSoFar)) {
      const end = endOf(text, /(?:\\.|\[(?:\\.|[^\]\\\n])*\]|[^/\\[\n])+\//g, at + 1)
      mark(at + 1, end - 1, 'text')
      return end
    }
    const open = braces.at(-1)
    if (open !== undefined && one === '{') braces[braces.length - 1] = open + 1
    if (open !== undefined && one === '}') {
      if (open === 0) {
        braces.pop()
        return template(at + 1)
      }
      braces[braces.length - 1] = open - 1
    }
    return at + 1
  }

  for (let at = 0; at < text.length;) {
    const next = step(at)
    // Only the end matters, to tell a division from a regular expression.
    codeSoFar = `${codeSoFar}${kinds[at] === 'comment' ? ' ' : text[next - 1]}`.slice(-16)
    at = next
  }
  return kinds
}

const importForms = [/\b(?:import|export)\b[^'";()]*?\bfrom\s*['"]/g, /\bimport\s*['"]/g, /\bimport\s*\(\s*['"]/g]

export const lineAt = (text: string, offset: number): number => text.slice(0, offset).split('\n').length

function findImports(text: string, code: string): Import[] {
  const found = new Map<number, Import>()
  for (const form of importForms) {
    for (const match of code.matchAll(form)) {
      const start = match.index + match[0].length
      const end = start + code.slice(start).search(/['"]/)
      found.set(start, { specifier: text.slice(start, end), line: lineAt(text, start) })
    }
  }
  return [...found.values()].sort((a, b) => a.line - b.line)
}

export function readSource(path: string, text: string): SourceFile {
  const kinds = classify(text)
  const keep = (kind: Kind): string =>
    [...kinds.keys()].map((at) => (kinds[at] === kind || text[at] === '\n' ? text[at] : ' ')).join('')
  const code = keep('code')
  return {
    path,
    text,
    lines: text.split('\n'),
    code,
    comments: keep('comment'),
    imports: findImports(text, code),
  }
}
