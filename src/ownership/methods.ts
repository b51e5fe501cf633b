/** What peers ask of a home (keep this record, tell me the one you have), and hosts abroad of the realm of an agent. */
import { Type } from 'typebox'
import { AgentIdSchema } from '../base/advertisement.ts'
import { Count } from '../base/schema.ts'
import { unary } from '../net/method.ts'
import { SealedRecordSchema } from './records.ts'

/** Keeps a record; answers once it is on disk. STALE_EPOCH, FORBIDDEN, QUEUE_FULL, INVALID_MESSAGE. */
export const recordPut = unary({
  name: 'record.put',
  access: 'observer',
  request: SealedRecordSchema,
  response: Type.Object({ epoch: Count() }),
  requestBytesMax: 16 * 1024,
})

/** The record that this home has of an agent, if it has one. */
export const recordGet = unary({
  name: 'record.get',
  access: 'observer',
  request: Type.Object({ agent: AgentIdSchema }),
  response: Type.Object({ held: Type.Optional(SealedRecordSchema) }),
})

/**
 * A host of another realm hands over the record of an agent of this one, for the homes, which it may not ask itself. Answers
 * with the number of homes that have it. STALE_EPOCH, CONFLICT, FORBIDDEN, INVALID_MESSAGE.
 */
export const recordHand = unary({
  name: 'record.hand',
  access: 'observer',
  guests: 'any',
  request: SealedRecordSchema,
  response: Type.Object({ homes: Count() }),
  requestBytesMax: 16 * 1024,
})
