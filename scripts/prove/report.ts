/** How a proof's result is shown, and kept in docs/proofs.md: the last one of each, with its date, between markers. */
import { median, spread } from '../bench/row.ts'
import { broken, verdictOf, type Figure, type Outcome, type Proof } from './proof.ts'

export interface Circumstances {
  readonly date: string
  readonly machine: string
  readonly versions: string
  readonly seed: number
  readonly tookS: number
  /** How much of all cores was busy, this proof and everything else on the machine together; 0..1. */
  readonly busy: number
}

const figure = (value: number): string =>
  Math.abs(value) >= 100 ? Math.round(value).toLocaleString('en') : String(Number(value.toPrecision(3)))

const row = ({ what, unit, values, bound }: Figure): string => {
  const cells = [
    what,
    values.length === 0 ? 'none' : `${figure(median(values))} ${unit}`,
    values.length === 0 ? '' : `${figure(Math.min(...values))}–${figure(Math.max(...values))}`,
    values.length === 0 ? '' : `${(spread(values) * 100).toFixed(0)} %`,
    String(values.length),
    bound === undefined ? '' : `${figure(bound)} ${unit}`,
  ]
  return `| ${cells.join(' | ')} |`
}

export const sectionOf = (name: string, { claim }: Proof, outcome: Outcome, about: Circumstances): string => {
  const { ran, notRun, figures } = outcome
  const wrong = broken(outcome).map(({ what }) => what)
  const words = verdictOf(outcome)
  const verdict = `${words[0]!.toUpperCase()}${words.slice(1)}${words === 'did not hold' ? `: ${wrong.join('; ')}` : ''}.`
  return [
    `### ${name}`,
    '',
    `${claim} **${verdict}**`,
    '',
    `- ${about.date}, seed ${about.seed}, ${Math.round(about.tookS)} s; ${about.machine}, ${Math.round(about.busy * 100)} % busy; ${about.versions}`,
    `- Ran: ${ran}.`,
    ...notRun.map((what) => `- Not run: ${what}.`),
    '',
    '| figure | median | range | spread | runs | bound |',
    '| --- | --- | --- | --- | --- | --- |',
    ...figures.map(row),
  ].join('\n')
}

const marks = (name: string) => [`<!-- proof ${name} -->`, `<!-- end of proof ${name} -->`] as const

/** The text with the section of that proof put in, in the place of the one before it or at the end. */
export const withSection = (text: string, name: string, section: string): string => {
  const [begin, end] = marks(name)
  const made = `${begin}\n\n${section}\n\n${end}`
  const [from, to] = [text.indexOf(begin), text.indexOf(end)]
  return from < 0 || to < from
    ? `${text.trimEnd()}\n\n${made}\n`
    : `${text.slice(0, from)}${made}${text.slice(to + end.length)}`
}
