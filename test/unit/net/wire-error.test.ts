import fc from 'fast-check'
import { describe, expect, it } from 'vitest'
import { encode } from '../../../src/base/codec.ts'
import { GodelError, type ErrorDetail } from '../../../src/base/errors.ts'
import { decodeError, encodeError } from '../../../src/net/wire-error.ts'

describe('errors over the wire', () => {
  it('arrive with their fields', () => {
    const detail: ErrorDetail = {
      code: 'NO_CANDIDATE',
      need: 'a GPU',
      considered: [{ node: 'a', peer: 'p', reasons: ['no gpu'] }],
      attempts: 2,
    }
    expect(decodeError(encodeError(new GodelError(detail), 10_000), 'p').detail).toEqual(detail)
  })

  it('of a code that is not known, or with fields that do not fit, become REMOTE_ERROR', () => {
    for (const value of [
      { code: 'FROM_THE_FUTURE', message: 'x' },
      { code: 'STALE_EPOCH', agent: 'ag', epoch: '7', current: 8 },
      { code: 'NO_CANDIDATE', need: 'x', considered: [{ node: 1 }], attempts: 1 },
      { code: 'TOKEN_EXPIRED', expiredAt: 1e300 },
      { code: 'constructor' },
    ]) {
      expect(decodeError(encode(value), 'p').detail).toMatchObject({
        code: 'REMOTE_ERROR',
        peer: 'p',
        remoteCode: value.code,
      })
    }
  })

  it('beyond their bound arrive as their code', () => {
    const large = new GodelError({ code: 'INTERNAL', reason: 'x'.repeat(10_000) })
    expect(encodeError(large, 1_000).byteLength).toBeLessThan(1_000)
    expect(decodeError(encodeError(large, 1_000), 'p').detail).toMatchObject({
      code: 'REMOTE_ERROR',
      remoteCode: 'INTERNAL',
    })
  })

  it('of any value or bytes are errors of ours', () => {
    fc.assert(
      fc.property(fc.anything(), (value) => void expect(decodeError(safely(value), 'p')).toBeInstanceOf(GodelError)),
    )
    fc.assert(fc.property(fc.uint8Array(), (bytes) => void expect(decodeError(bytes, 'p')).toBeInstanceOf(GodelError)))
  })
})

const safely = (value: unknown): Uint8Array => {
  try {
    return encode(value)
  } catch {
    return encode(null)
  }
}
