/** What is said on the topic of the realm: sealed advertisements and accusations, told apart by their kind. */
import { Type } from 'typebox'
import type { Clock } from '../base/clock.ts'
import { decode, encode } from '../base/codec.ts'
import { hasCode } from '../base/errors.ts'
import { limits, type Limits } from '../base/limits.ts'
import type { Refusals } from '../base/refusals.ts'
import { Bytes, OneOf, parser } from '../base/schema.ts'
import { createTokenBucket, type TokenBucket } from '../base/token-bucket.ts'
import { authorKey } from '../net/envelope.ts'
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
 * matter of clocks, room or rate, rejected where no honest node would have passed it on. Never throws.
 */
export const judgeMessage = async (
  {
    accept,
    refusals,
    mayPass = () => true,
  }: { accept: Accept; refusals: Refusals; mayPass?: (envelope: Uint8Array) => boolean },
  bytes: Uint8Array,
  from: string,
): Promise<Verdict> => {
  try {
    const { kind, envelope } = parseMessage(decode(bytes, 'a gossip message'))
    const outcome = kind === 'ad' ? await accept.ad(envelope, 0) : await accept.accusation(envelope, 0)
    return outcome === 'stale' || !mayPass(envelope) ? 'ignore' : 'accept'
  } catch (error) {
    refusals.note('refused a gossip message', from, error)
    return hasCode(error, 'INVALID_MESSAGE', 'TOO_LARGE') ? 'reject' : 'ignore'
  }
}

/**
 * How much of one author is passed on: a member that talks without end is heard by those next to it, at their rate, and does
 * not use up what they may tell others. Asked only once the envelope is known to be its author's.
 */
const authorRates = (clock: Pick<Clock, 'monotonicMs'>, bounds: AuthorLimits) => {
  const rates = new Map<string, TokenBucket>()
  const rate = { perSecond: bounds.gossipAuthorPerSecond, burst: bounds.gossipAuthorBurst }
  return (envelope: Uint8Array): boolean => {
    const author = authorKey(envelope)
    const bucket = rates.get(author) ?? createTokenBucket(clock, rate)
    rates.set(author, bucket)
    if (rates.size > bounds.gossipAuthorsMax) rates.delete(rates.keys().next().value!)
    return bucket.take() === 0
  }
}
type AuthorLimits = Pick<Limits, 'gossipAuthorPerSecond' | 'gossipAuthorBurst' | 'gossipAuthorsMax'>

export const startGossip = (
  deps: { pubsub: Pubsub; accept: Accept; refusals: Refusals; clock: Clock; limits: AuthorLimits },
  { realm }: { realm: string },
): Gossip => {
  const topic = topicOf(realm)
  const mayPass = authorRates(deps.clock, deps.limits)
  const unsubscribe = deps.pubsub.subscribe(topic, (bytes, from) => judgeMessage({ ...deps, mayPass }, bytes, from))
  return {
    publish: (kind, envelope) => deps.pubsub.publish(topic, encode({ kind, envelope })),
    close: unsubscribe,
  }
}
