/** The words of what libp2p rejects with: also the event that ended a stream, where a wait on the stream was cut short. */
import { reasonOf as wordsOf } from '../base/errors.ts'

export const reasonOf = (error: unknown): string => {
  if (!(error instanceof Event)) return wordsOf(error)
  const cause: unknown = 'error' in error ? error.error : undefined
  return cause === undefined || cause === null ? 'the stream was closed' : reasonOf(cause)
}
