import { StreamAbortEvent, StreamCloseEvent, StreamResetError, StreamResetEvent } from '@libp2p/interface'
import { expect, it } from 'vitest'
import { reasonOf } from '../../../src/net/reason.ts'

it('the words of an event are those of its error', () => {
  expect(reasonOf(new StreamAbortEvent(new Error('nothing moved')))).toBe('nothing moved')
  expect(reasonOf(new StreamResetEvent(new StreamResetError()))).toBe('The stream has been reset')
  expect(reasonOf(new StreamCloseEvent())).toBe('the stream was closed')
  expect(reasonOf(new Error('disk'))).toBe('disk')
  expect(reasonOf('a word')).toBe('a word')
})
