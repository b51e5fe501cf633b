/** What is said on the topic of the realm: sealed advertisements and accusations, told apart by their kind. */
import { Type } from 'typebox'
import { decode, encode } from '../base/codec.ts'
import { hasCode } from '../base/errors.ts'
import { limits } from '../base/limits.ts'
import type { Refusals } from '../base/refusals.ts'
import { Bytes, OneOf, parser } from '../base/schema.ts'
import type { Pubsub, Verdict } from '../net/net.ts'
import type { Accept } from './accept.ts'

const MessageSchema = Type.Object({
  kind: OneOf(['ad', 'accusation']),
  envelope: Bytes(limits.advertisementBytesMax + limits.envelopeOverheadBytesMax),
})
const parseMessage = parser('a gossip message', MessageSchema)

export const topicOf = (realm: string): string => `/godel/1/realm/${realm}/capacity`

export interface Gossip {
  publish(kind: 'ad' | 'accusation', envelope: Uint8Array): Promise<void>
  close(): void
}

/**
 * What becomes of one message: passed on where it holds (news or not, since others may lack it), ignored where that is a
 * matter of clocks or room, rejected where no honest node would have passed it on. Never throws.
 */
export const judgeMessage = async (
  { accept, refusals }: { accept: Accept; refusals: Refusals },
  bytes: Uint8Array,
  from: string,
): Promise<Verdict> => {
  try {
    const { kind, envelope } = parseMessage(decode(bytes, 'a gossip message'))
    const outcome = kind === 'ad' ? await accept.ad(envelope, 0) : await accept.accusation(envelope, 0)
    return outcome === 'stale' ? 'ignore' : 'accept'
  } catch (error) {
    refusals.note('refused a gossip message', from, error)
    return hasCode(error, 'INVALID_MESSAGE', 'TOO_LARGE') ? 'reject' : 'ignore'
  }
}

export const startGossip = (
  deps: { pubsub: Pubsub; accept: Accept; refusals: Refusals },
  { realm }: { realm: string },
): Gossip => {
  const topic = topicOf(realm)
  const unsubscribe = deps.pubsub.subscribe(topic, (bytes, from) => judgeMessage(deps, bytes, from))
  return {
    publish: (kind, envelope) => deps.pubsub.publish(topic, encode({ kind, envelope })),
    close: unsubscribe,
  }
}
