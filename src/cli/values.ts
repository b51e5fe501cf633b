/** The values of options, read from text; what does not fit is INVALID_ARGUMENT with the option's name. */
import { GodelError } from '../base/errors.ts'

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
