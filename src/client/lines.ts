/** Bytes into lines. A line that spans many chunks is joined once, and one beyond the bound is refused. */
import { GodelError } from '../base/errors.ts'

const NEWLINE = 0x0a

/** The lines of `source` as UTF-8, without their ends; TOO_LARGE for one of more than `lineBytesMax`. */
export async function* linesOf(source: AsyncIterable<Uint8Array>, lineBytesMax: number): AsyncGenerator<string> {
  let parts: Buffer[] = []
  let held = 0
  for await (const part of source) {
    const chunk = Buffer.from(part.buffer, part.byteOffset, part.byteLength)
    let from = 0
    for (let at = chunk.indexOf(NEWLINE); at !== -1; at = chunk.indexOf(NEWLINE, from)) {
      parts.push(chunk.subarray(from, at))
      yield textOf(parts)
      parts = []
      held = 0
      from = at + 1
    }
    if (from === chunk.byteLength) continue
    parts.push(chunk.subarray(from))
    held += chunk.byteLength - from
    if (held > lineBytesMax)
      throw new GodelError({ code: 'TOO_LARGE', what: 'a line', bytes: held, limitBytes: lineBytesMax })
  }
  if (held > 0) yield textOf(parts)
}

const textOf = (parts: Buffer[]): string => (parts.length === 1 ? parts[0]! : Buffer.concat(parts)).toString('utf8')

export interface ServerEvent {
  id?: string
  event: string
  data: string
}

/** Server-sent events (the HTML standard, section 9.2), as far as a node sends them: id, event, data; comments are skipped. */
export async function* eventsOf(lines: AsyncIterable<string>): AsyncGenerator<ServerEvent> {
  let fields: { id?: string; event?: string; data?: string } = {}
  for await (const line of lines) {
    const text = line.replace(/\r$/, '')
    if (text === '') {
      if (fields.data !== undefined) yield { event: 'message', ...fields, data: fields.data }
      fields = {}
      continue
    }
    const [, name, value] = /^([^:]*):? ?(.*)$/.exec(text) ?? []
    if (name === 'data') fields.data = fields.data === undefined ? value! : `${fields.data}\n${value}`
    else if (name === 'id' || name === 'event') fields[name] = value!
  }
}
