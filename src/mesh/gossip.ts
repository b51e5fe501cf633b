/**
 * What is said on the topic of the realm, told apart by its kind: sealed advertisements and accusations, entries of issuers
 * about who is out, and that there is a newer realm document, which is too large for gossip and is fetched from whoever passed
 * its head on. What is relayed carries no age, since relays pass the same bytes on and the clocks of authors differ, so it counts as
 * issued now. That gives a replay nothing while its subject is remembered (records.ts, and tombstones.ts for one that is over,
 * longer than any word lives); of one that is not, an old word lives once more for its own ttl: the peer looks alive, fails its
 * probes, and is accused. A head is passed on only once its document is here, so that an empty word goes no further than one hop.
 */
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
import { parseRealmHead, type RealmHead } from './methods.ts'
import type { MergeOutcome } from './view.ts'

const MessageSchema = Type.Object({
  kind: OneOf(['ad', 'accusation', 'revocation', 'head']),
  envelope: Bytes(limits.advertisementBytesMax + limits.envelopeOverheadBytesMax),
})
const parseMessage = parser('a gossip message', MessageSchema)

export const topicOf = (realm: string): string => `/godel/1/realm/${realm}/capacity`

type Kind = 'ad' | 'accusation' | 'revocation' | 'head'

export interface Gossip {
  publish(kind: Kind, envelope: Uint8Array): Promise<void>
  close(): void
}

/** What the realm itself has to say. */
export interface RealmNews {
  revocation(jws: string): Promise<MergeOutcome>
  head(head: RealmHead, from: string): Promise<MergeOutcome>
}

interface GossipDeps {
  accept: Pick<Accept, 'ad' | 'accusation'>
  news: RealmNews
  refusals: Refusals
  /** Whether this much of the author is passed on; asked once the envelope is known to be its author's. */
  mayPass?: (envelope: Uint8Array) => boolean
}

/**
 * What becomes of one message: passed on where it holds (news or not, since others may lack it), ignored where that is a
 * matter of clocks, room or rate, rejected where no honest node would have passed it on. Never throws.
 */
export const judgeMessage = async (deps: GossipDeps, bytes: Uint8Array, from: string): Promise<Verdict> => {
  const { refusals } = deps
  try {
    const { kind, envelope } = parseMessage(decode(bytes, 'a gossip message'))
    const outcome = await takeIn(deps, kind, envelope, from)
    const isSealed = kind === 'ad' || kind === 'accusation'
    return outcome === 'stale' || (isSealed && deps.mayPass?.(envelope) === false) ? 'ignore' : 'accept'
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

const takeIn = (
  { accept, news }: GossipDeps,
  kind: Kind,
  envelope: Uint8Array,
  from: string,
): Promise<MergeOutcome> => {
  switch (kind) {
    case 'ad':
      return accept.ad(envelope, 0)
    case 'accusation':
      return accept.accusation(envelope, 0)
    case 'revocation':
      return news.revocation(new TextDecoder().decode(envelope))
    case 'head':
      return news.head(parseRealmHead(decode(envelope, 'the head of a realm')), from)
  }
}

export const startGossip = (
  deps: Omit<GossipDeps, 'mayPass'> & { pubsub: Pubsub; clock: Clock; limits: AuthorLimits },
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
