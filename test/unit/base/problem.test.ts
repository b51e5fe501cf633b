/** Problem documents: an error survives the way there and back. */
import { describe, expect, test } from 'vitest'
import { GodelError, type ErrorDetail } from '../../../src/base/errors.ts'
import { fromProblem, toProblem } from '../../../src/base/problem.ts'

const url = 'http://127.0.0.1:7373'

describe('an error as a problem document', () => {
  test.each<ErrorDetail>([
    { code: 'INVALID_ARGUMENT', field: 'labels.task', reason: 'must be string' },
    { code: 'AGENT_NOT_RUNNING', agent: 'ag_1', status: 'stopped' },
    { code: 'NO_CANDIDATE', need: 'a GPU', considered: [{ node: 'a', peer: 'p', reasons: ['no GPU'] }], attempts: 2 },
    { code: 'MEDIA_TYPE_REFUSED', mediaType: 'text/plain', accepted: 'application/json' },
    { code: 'TOKEN_EXPIRED', expiredAt: 1_800_000_000_000 },
  ])('$code comes back as it was', (detail) => {
    const problem = JSON.parse(JSON.stringify(toProblem(new GodelError(detail)))) as unknown
    expect(fromProblem(problem, url).detail).toEqual(detail)
  })

  test('has the members of the standard, whatever its fields are called', () => {
    const problem = toProblem(new GodelError({ code: 'AGENT_NOT_RUNNING', agent: 'ag_1', status: 'stopped' }))
    expect(problem).toEqual({
      type: 'urn:godel:error:AGENT_NOT_RUNNING',
      title: 'Agent not running',
      status: 409,
      detail: 'agent ag_1 is stopped',
      code: 'AGENT_NOT_RUNNING',
      next: 'Spawn a new one.',
      agent: 'ag_1',
      agentStatus: 'stopped',
    })
  })

  test('anything that was thrown is one', () => {
    expect(toProblem(new TypeError('x is not a function'))).toMatchObject({
      code: 'INTERNAL',
      status: 500,
      reason: 'x is not a function',
    })
  })
})

describe('a document that this version does not know', () => {
  test.each([
    [{ code: 'FROM_THE_FUTURE', detail: 'it is new' }, 'FROM_THE_FUTURE', 'it is new'],
    [{ code: 'TOKEN_EXPIRED', expiredAt: 'soon', detail: 'late' }, 'TOKEN_EXPIRED', 'late'],
    [{ code: 'constructor', detail: 'x' }, 'constructor', 'x'],
    [{ status: 500 }, 'no code', 'no reason given'],
    ['text', 'no code', 'no reason given'],
    [null, 'no code', 'no reason given'],
  ])('%j is told in its own words', (problem, remoteCode, remoteMessage) => {
    expect(fromProblem(problem, url).detail).toEqual({ code: 'REMOTE_ERROR', peer: url, remoteCode, remoteMessage })
  })
})
