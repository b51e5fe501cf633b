/** What commands print: results on stdout, errors on stderr, both for people or as JSON. */
import { styleText } from 'node:util'
import { errorNext, errorWhat, toGodelError } from '../base/errors.ts'
import { toProblem } from '../base/problem.ts'

/** Characters that a terminal acts upon, and those that turn the direction of the text around them. */
const CONTROL = /[\u0000-\u001f\u007f-\u009f\u200e\u200f\u202a-\u202e\u2066-\u2069\u2028\u2029]/g

const escapeControl = (character: string): string => {
  const code = character.charCodeAt(0)
  return code <= 0xff ? `\\x${code.toString(16).padStart(2, '0')}` : `\\u${code.toString(16).padStart(4, '0')}`
}

/** Text from elsewhere, made harmless for a terminal. */
export const clean = (text: string): string => text.replace(CONTROL, escapeControl)

/** The same for a text of ours with words from elsewhere in it, which may have several lines. */
const cleanLines = (text: string): string => text.split('\n').map(clean).join('\n')

type Style = Parameters<typeof styleText>[0]

/** Styled where stdout is a terminal that wants it (NO_COLOR is honoured). */
export const styled = (style: Style, text: string): string => styleText(style, text, { stream: process.stdout })

export const print = (text: string): void => void process.stdout.write(`${text}\n`)

/** Something beside the result that a person should know. */
export const note = (text: string): void => void process.stderr.write(`${cleanLines(text)}\n`)

/** JSON for a terminal as much as for a program: what JSON leaves as it is and a terminal acts upon is escaped too. */
const jsonOf = (value: unknown, indent?: number): string =>
  JSON.stringify(value, null, indent).replace(
    /[\u007f-\u009f\u2028\u2029]/g,
    (c) => `\\u${c.charCodeAt(0).toString(16).padStart(4, '0')}`,
  )

/** One document. */
export const printJson = (value: unknown): void => print(jsonOf(value, 2))

/** One line of a stream of documents. */
export const printJsonLine = (value: unknown): void => print(jsonOf(value))

/** `error: what. next`, or the problem document in one line. */
export const printError = (error: unknown, json: boolean): void => {
  const known = toGodelError(error)
  if (json) return void process.stderr.write(`${jsonOf(toProblem(known))}\n`)
  const label = styleText('red', 'error:', { stream: process.stderr })
  process.stderr.write(`${label} ${cleanLines(`${errorWhat(known.detail)}. ${errorNext(known.detail)}`)}\n`)
}

export const printWarning = (text: string): void => {
  const label = styleText('yellow', 'warning:', { stream: process.stderr })
  process.stderr.write(`${label} ${cleanLines(text)}\n`)
}

/** A table without lines; every cell is made harmless. */
export const printTable = async (head: string[], rows: string[][]): Promise<void> => {
  const { default: Table } = await import('cli-table3')
  const nothing = ['top', 'top-mid', 'top-left', 'top-right', 'bottom', 'bottom-mid', 'bottom-left', 'bottom-right']
  const lines = ['left', 'left-mid', 'mid', 'mid-mid', 'right', 'right-mid', 'middle']
  const table = new Table({
    head: head.map((title) => styled('bold', title)),
    chars: { ...Object.fromEntries([...nothing, ...lines].map((part) => [part, ''])), middle: '  ' },
    style: { 'padding-left': 0, 'padding-right': 0, head: [], border: [], compact: true },
  })
  table.push(...rows.map((row) => row.map(clean)))
  const text = table.toString()
  print(
    text
      .split('\n')
      .map((line) => line.trimEnd())
      .join('\n'),
  )
}

/** Names and values, one a line; undefined values are left out. */
export const printPairs = (pairs: [name: string, value: string | undefined][]): void => {
  const shown = pairs.filter((pair): pair is [string, string] => pair[1] !== undefined)
  const width = Math.max(...shown.map(([name]) => name.length))
  for (const [name, value] of shown) print(`${styled('bold', name.padEnd(width))}  ${clean(value)}`)
}

/** `3s`, `12m`, `5h`, `2d`. */
export const ageOf = (ms: number): string => {
  const seconds = Math.max(0, Math.round(ms / 1_000))
  if (seconds < 120) return `${seconds}s`
  if (seconds < 7_200) return `${Math.round(seconds / 60)}m`
  if (seconds < 172_800) return `${Math.round(seconds / 3_600)}h`
  return `${Math.round(seconds / 86_400)}d`
}

/** A time of day, with its date where that is not today. */
export const timeOf = (ms: number): string => {
  const date = new Date(ms)
  const [day, time] = [date.toLocaleDateString('sv-SE'), date.toLocaleTimeString('sv-SE')]
  return day === new Date().toLocaleDateString('sv-SE') ? time : `${day} ${time}`
}

export const labelsOf = (labels: Record<string, string>): string =>
  Object.entries(labels)
    .map(([key, value]) => `${key}=${value}`)
    .join(' ')

let onClosedPipe = (): void => process.exit(process.exitCode ?? 0)

/** What happens instead when nobody reads the output any more. */
export const whenPipeCloses = (fn: () => void): void => {
  onClosedPipe = fn
}

/** A reader that has had enough (`| head`) ends the program without a word. */
export const endOnClosedPipe = (): void => {
  for (const stream of [process.stdout, process.stderr])
    stream.on('error', (error: NodeJS.ErrnoException) => {
      if (error.code !== 'EPIPE') throw error
      onClosedPipe()
    })
}
