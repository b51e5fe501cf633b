import { describe, expect, test } from 'vitest'
import {
  errorCodes,
  errorNext,
  errorStatus,
  errorWhat,
  GodelError,
  hasCode,
  isErrorCode,
  reasonOf,
  toGodelError,
  type ErrorCode,
  type RejectedCandidate,
  type ErrorDetail,
} from '../../../src/base/errors.ts'

/** Fields that are no text, by name; every other field is given as its own name in angle brackets. */
const values: Record<string, unknown> = {
  expiredAt: 1_800_000_000_000,
  considered: [{ node: '<node>', peer: '<peer>', reasons: ['full', 'draining'] }],
  reasons: ['<reason>', '<reason>'],
  seeds: ['<seed>', '<seed>'],
}

/** An error of a code with any field that its words ask for; says which they were. */
const exampleOf = (code: ErrorCode) => {
  const asked = new Set<string>()
  const fields = new Proxy(
    { code },
    {
      get: (target, name: string) => {
        if (name === 'code') return target.code
        asked.add(name)
        return values[name] ?? `<${name}>`
      },
    },
  )
  return { detail: fields as unknown as ErrorDetail, asked }
}

describe.each(errorCodes)('the error %s', (code) => {
  test('says what happened with the facts of the case, and then what to do next', () => {
    const { detail, asked } = exampleOf(code)
    const { message } = new GodelError(detail)
    expect(message).toBe(`${errorWhat(detail)}. ${errorNext(detail)}`)
    expect(errorWhat(detail)).toMatch(/^\S.{8,}[^.\s]$/s)
    expect(errorNext(detail)).toMatch(/^(?:["A-Z]|godel-node ).{8,}\.$/s)
    expect(message).not.toMatch(/undefined|\[object/)
    expect(asked.size).toBeGreaterThan(0)
  })

  test('has an HTTP status of a failure, and is known as a code', () => {
    expect(errorStatus(code)).toBeGreaterThanOrEqual(400)
    expect(errorStatus(code)).toBeLessThan(600)
    expect(isErrorCode(code)).toBe(true)
    expect(new GodelError(exampleOf(code).detail).code).toBe(code)
  })
})

test('an error that went through JSON says the same', () => {
  const considered = [{ node: 'n', peer: 'p', reasons: ['full', 'too far'] }]
  const detail: ErrorDetail = { code: 'NO_CANDIDATE', need: 'a GPU', considered, attempts: 1 }
  const copy = JSON.parse(JSON.stringify(detail)) as ErrorDetail
  expect(new GodelError(copy).message).toBe(new GodelError(detail).message)
  expect(new GodelError(copy).message).toContain('n: full, too far')
  expect(new GodelError({ ...detail, considered: [] }).message).toContain('knows of no candidate')
})

test('that no node can take a need with a named node tells of that node alone, or that there is none', () => {
  const other = { node: 'a', peer: 'p', reasons: ['not the named node', 'full'] }
  const said = (...considered: RejectedCandidate[]) =>
    errorWhat({ code: 'NO_CANDIDATE', need: 'a GPU', considered, attempts: 0 })
  expect(said(other, { node: 'b', peer: 'q', reasons: ['draining'] })).toMatch(/\(b: draining\)$/)
  expect(said(other)).toContain('no node of that name is known here')
})

test.each(['', 'toString', '__proto__', 'constructor', 'invalid_argument', 7, null, undefined])(
  '%j is no code',
  (value) => {
    expect(isErrorCode(value)).toBe(false)
  },
)

test('a thrown value of any kind becomes an error with a code, and keeps its cause', () => {
  const own = new GodelError({ code: 'CANCELLED', what: 'it' })
  expect(toGodelError(own)).toBe(own)
  const foreign = new Error('boom')
  expect(toGodelError(foreign)).toMatchObject({ code: 'INTERNAL', detail: { reason: 'boom' }, cause: foreign })
  expect(toGodelError('words')).toMatchObject({ code: 'INTERNAL', detail: { reason: 'words' } })
  expect([reasonOf(foreign), reasonOf(5), reasonOf(undefined)]).toEqual(['boom', '5', 'undefined'])
})

test('an error is asked for its code among several', () => {
  const error: unknown = new GodelError({ code: 'TOKEN_USED_UP', uses: 3 })
  const codes: ErrorCode[] = ['TOKEN_EXPIRED', 'TOKEN_USED_UP']
  expect(hasCode(error, ...codes)).toBe(true)
  expect(hasCode(error, 'TOKEN_EXPIRED')).toBe(false)
  expect(hasCode({ code: 'TOKEN_USED_UP' }, 'TOKEN_USED_UP')).toBe(false)
})
