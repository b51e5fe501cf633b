/** The values of options, read from text; what does not fit is INVALID_ARGUMENT with the option's name. */
import { open } from 'node:fs/promises'
import { GodelError, reasonOf } from '../base/errors.ts'
import { isPeerId } from '../base/ids.ts'

const invalid = (option: string, reason: string) => new GodelError({ code: 'INVALID_ARGUMENT', field: option, reason })

/** A whole number within bounds. */
export const count =
  (option: string, { min = 0, max = Number.MAX_SAFE_INTEGER }: { min?: number; max?: number } = {}) =>
  (text: string): number => {
    const value = /^\d{1,15}$/.test(text) ? Number(text) : Number.NaN
    if (value >= min && value <= max) return value
    const bounds = max === Number.MAX_SAFE_INTEGER ? `from ${min} up` : `from ${min} to ${max}`
    throw invalid(option, `must be a whole number ${bounds}, not ${JSON.stringify(text)}`)
  }

/** A number that is not negative. */
export const amount =
  (option: string) =>
  (text: string): number => {
    const value = /^\d+(\.\d+)?$/.test(text) ? Number(text) : Number.NaN
    if (Number.isFinite(value)) return value
    throw invalid(option, `must be a number such as 0.5, not ${JSON.stringify(text)}`)
  }

const units: Record<string, number> = { s: 1, m: 60, h: 3_600, d: 86_400 }

/** `90`, `90s`, `30m`, `1h`, `2d`, in seconds. */
export const duration =
  (option: string, { max }: { max: number }) =>
  (text: string): number => {
    const [, number, unit] = /^(\d{1,9})([smhd]?)$/.exec(text) ?? []
    if (number === undefined)
      throw invalid(option, `must be a time such as 90s, 30m, 1h or 2d, not ${JSON.stringify(text)}`)
    const seconds = Number(number) * units[unit || 's']!
    if (seconds >= 1 && seconds <= max) return seconds
    throw invalid(option, `must be from 1s to ${Math.floor(max / 86_400)}d, not ${text}`)
  }

/** `KEY=VALUE`, gathered over all that are given. */
export const pair =
  (option: string) =>
  (text: string, previous: Record<string, string> = {}): Record<string, string> => {
    const at = text.indexOf('=')
    if (at < 1) throw invalid(option, `must be KEY=VALUE, not ${JSON.stringify(text)}`)
    return { ...previous, [text.slice(0, at)]: text.slice(at + 1) }
  }

/** One of a few words. */
export const word =
  <const W extends string>(option: string, words: readonly W[]) =>
  (text: string): W => {
    const found = words.find((each) => each === text)
    if (found !== undefined) return found
    throw invalid(option, `must be one of ${words.join(', ')}, not ${JSON.stringify(text)}`)
  }

/** One of a few words, gathered over all that are given, each once. */
export const gatheredWords =
  <const W extends string>(option: string, words: readonly W[]) =>
  (text: string, previous: W[] = []): W[] => [...new Set([...previous, word(option, words)(text)])]

/** A PeerId. */
export const peerId =
  (option: string) =>
  (text: string): string => {
    if (isPeerId(text)) return text
    throw invalid(option, `must be a peer id (12D3KooW...), not ${JSON.stringify(text)}`)
  }

/** A moment such as 2026-05-01T12:00:00Z, in Unix milliseconds. */
export const instant =
  (option: string) =>
  (text: string): number => {
    const value = /^\d{4}-\d{2}-\d{2}/.test(text) ? Date.parse(text) : Number.NaN
    if (value >= 0 && value <= Date.now()) return value
    const fault = value > Date.now() ? 'lies in the future' : 'must be a time such as 2026-05-01T12:00:00Z'
    throw invalid(option, `${fault}: ${JSON.stringify(text)}`)
  }

/** The value of an option that there must be. */
export const required = <T>(option: string, value: T | undefined, fault: string): T => {
  if (value === undefined) throw invalid(option, fault)
  return value
}

/** The text itself, or what `@FILE` holds, or standard input for `-`; trimmed, and never empty. */
export const textOf = async (option: string, given: string, { bytesMax }: { bytesMax: number }): Promise<string> => {
  const tooLong = () => invalid(option, `is longer than ${bytesMax} bytes`)
  const readAll = async (source: AsyncIterable<Uint8Array>): Promise<string> => {
    const parts: Uint8Array[] = []
    let bytes = 0
    for await (const part of source) {
      bytes += part.byteLength
      if (bytes > bytesMax) throw tooLong()
      parts.push(part)
    }
    return Buffer.concat(parts).toString('utf8')
  }
  const readFrom = async (path: string): Promise<string> => {
    try {
      await using file = await open(path)
      return await readAll(file.createReadStream() as AsyncIterable<Uint8Array>)
    } catch (error) {
      if (error instanceof GodelError) throw error
      throw invalid(option, `cannot be read: ${reasonOf(error)}`)
    }
  }
  const isFile = given.startsWith('@')
  const text = (given === '-' ? await readAll(process.stdin) : isFile ? await readFrom(given.slice(1)) : given).trim()
  if (Buffer.byteLength(text) > bytesMax) throw tooLong()
  if (text === '') throw invalid(option, `is empty: ${given === '-' ? 'nothing came from stdin' : given}`)
  return text
}

/** Any text, gathered over all that are given. */
export const gathered = (text: string, previous: string[] = []): string[] => [...previous, text]

/** `a,b,c`. */
export const list =
  (option: string) =>
  (text: string): string[] => {
    const parts = text.split(',').map((part) => part.trim())
    if (parts.every((part) => part !== '')) return parts
    throw invalid(option, `must be names with commas between them, not ${JSON.stringify(text)}`)
  }
