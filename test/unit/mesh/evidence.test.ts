import { expect, test } from 'vitest'
import { GodelError } from '../../../src/base/errors.ts'
import { evidenceOf } from '../../../src/mesh/evidence.ts'

const system = (code: string) => Object.assign(new Error(code), { code })
const unreachable = (cause?: unknown) =>
  new GodelError({ code: 'PEER_UNREACHABLE', peer: 'x', reason: 'no' }, { cause })
const several = (...codes: string[]) =>
  new AggregateError(codes.map((code) => new Error('dial', { cause: system(code) })))
const deep = (levels: number): Error =>
  levels === 0 ? system('ECONNREFUSED') : new Error('x', { cause: deep(levels - 1) })

test.each([
  ['nothing listens', unreachable(system('ECONNREFUSED')), 'refused'],
  ['nothing listens on one of several addresses', unreachable(several('EHOSTUNREACH', 'ECONNREFUSED')), 'refused'],
  ['no way there', unreachable(several('EHOSTUNREACH')), 'unreachable'],
  ['the connection broke', unreachable(system('ECONNRESET')), 'reset'],
  ['the stream broke', new GodelError({ code: 'STREAM_LOST', peer: 'x', reason: 'closed' }), 'reset'],
  ['silence', new GodelError({ code: 'DEADLINE_EXCEEDED', what: 'a call', afterMs: 5 }), 'no-answer'],
  ['silence while dialling', new GodelError({ code: 'CANCELLED', what: 'a dial' }), 'no-answer'],
  ['a cause too deep to look at', unreachable(deep(9)), 'no-answer'],
  ['a refusal, which is an answer', new GodelError({ code: 'FORBIDDEN', action: 'a', reason: 'b' }), undefined],
] as const)('%s', (_, error, evidence) => {
  expect(evidenceOf(error)).toBe(evidence)
})
