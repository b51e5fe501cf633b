/**
 * Gossip: small messages to all admitted peers that listen to a topic. Gossipsub 1.2 without its signatures (our messages
 * are sealed envelopes, which view sync passes on as well) and without its penalties: with more than ten nodes behind one
 * address the colocation penalty empties the meshes, and who may speak at all is decided by admission.
 */
import {
  gossipsub,
  TopicValidatorResult,
  type GossipSub,
  type GossipSubComponents,
  type Message,
} from '@libp2p/gossipsub'
import type { PeerId } from '@libp2p/interface'
import { hash } from 'node:crypto'
import type { Clock } from '../base/clock.ts'
import { GodelError, reasonOf } from '../base/errors.ts'
import type { Limits } from '../base/limits.ts'
import type { Log } from '../base/log.ts'
import type { Meter } from '../base/meter.ts'
import type { GuestStanding, Standing } from '../base/standing.ts'
import { createTokenBucket, type TokenBucket } from '../base/token-bucket.ts'
import type { Pubsub, TopicHandler, Verdict } from './net.ts'

export interface PubsubDeps {
  readonly limits: Limits
  readonly clock: Pick<Clock, 'monotonicMs'>
  readonly log: Log
  readonly meter: Meter
  standingOf(peer: string): Standing | undefined
}

export interface PubsubHost extends Pubsub {
  /** The libp2p service, to be given its components by libp2p; its registrar is the gate's. */
  service(components: GossipSubComponents): GossipSub
}

const results: Record<Verdict, TopicValidatorResult> = {
  accept: TopicValidatorResult.Accept,
  ignore: TopicValidatorResult.Ignore,
  reject: TopicValidatorResult.Reject,
}

/** The id of a message is the hash of what it holds: an id that a sender could choose would let it suppress others'. */
const messageId = (message: Message): Uint8Array =>
  hash('sha256', Buffer.concat([Buffer.from(`${message.topic}\0`), message.data]), 'buffer').subarray(0, 20)

const refused = (reason: string) => new GodelError({ code: 'INVALID_MESSAGE', what: 'a gossip message', reason })

export const createPubsub = (deps: PubsubDeps): PubsubHost => {
  const { limits, log, meter } = deps
  const handlers = new Map<string, TopicHandler>()
  const guestsOf = new Map<string, (peer: string, standing: GuestStanding) => boolean>()
  const buckets = new Map<string, TokenBucket>()
  let gossip: GossipSub | undefined
  let checking = 0

  const running = (): GossipSub => {
    if (gossip === undefined) throw new GodelError({ code: 'INTERNAL', reason: 'gossip was not started' })
    return gossip
  }

  const takesPart = (peer: string, topic: string): boolean => {
    const standing = deps.standingOf(peer)
    if (standing?.kind !== 'guest') return true
    return guestsOf.get(topic)?.(peer, standing) ?? false
  }

  /**
   * How many messages of so many a peer may hand over now. What is beyond is dropped unread, and no harm to the peer: what
   * is lost is made up for by others, or by view sync.
   */
  const roomFor = (peer: string, messages: number): number => {
    let bucket = buckets.get(peer)
    if (bucket === undefined) {
      bucket = createTokenBucket(deps.clock, {
        perSecond: limits.gossipMessagesPerSecond,
        burst: limits.gossipMessagesBurst,
      })
      // Kept beyond a connection, or whoever comes back has a full one.
      if (buckets.size >= 2 * limits.connectionsMax) buckets.delete(buckets.keys().next().value!)
      buckets.set(peer, bucket)
    }
    let taken = 0
    while (taken < messages && bucket.take() === 0) taken++
    if (taken < messages) meter.count('gossip_messages_refused', { verdict: 'rate' }, messages - taken)
    return taken
  }

  const check = async (handler: TopicHandler, from: PeerId, message: Message): Promise<TopicValidatorResult> => {
    if (checking >= limits.gossipChecksMax) return TopicValidatorResult.Ignore
    checking++
    try {
      const verdict = await handler(message.data, from.toString())
      if (verdict !== 'accept') meter.count('gossip_messages_refused', { verdict })
      return results[verdict]
    } catch (error) {
      log.warn('a gossip message could not be handled', { topic: message.topic, reason: reasonOf(error) })
      return TopicValidatorResult.Ignore
    } finally {
      checking--
    }
  }

  const options = {
    globalSignaturePolicy: 'StrictNoSign' as const,
    msgIdFn: messageId,
    fallbackToFloodsub: false,
    floodPublish: true,
    allowPublishToZeroTopicPeers: true,
    ignoreDuplicatePublishError: true,
    emitSelf: false,
    doPX: false,
    tagMeshPeers: false,
    D: limits.gossipDegree,
    heartbeatInterval: limits.gossipHeartbeatMs,
    seenTTL: limits.gossipSeenMs,
    maxInboundDataLength: limits.gossipRpcBytesMax,
    maxOutboundBufferSize: limits.gossipQueueBytesMax,
    maxTopicBytesPerPeer: limits.gossipTopicBytesPerPeerMax,
    decodeRpcLimits: {
      maxSubscriptions: limits.gossipTopicsPerRpcMax,
      maxMessages: limits.gossipItemsPerRpcMax,
      maxIhaveMessageIDs: limits.gossipItemsPerRpcMax,
      maxIwantMessageIDs: limits.gossipItemsPerRpcMax,
      maxIdontwantMessageIDs: limits.gossipItemsPerRpcMax,
      maxControlMessages: limits.gossipTopicsPerRpcMax,
      maxPeerInfos: 0,
    },
    scoreParams: { topics: {}, IPColocationFactorWeight: 0, behaviourPenaltyWeight: 0, appSpecificWeight: 0 },
    // Comes before the caches: what is too large or of a topic that nobody here listens to leaves no trace.
    dataTransform: {
      inboundTransform: (topic: string, data: Uint8Array) => {
        if (!handlers.has(topic)) throw refused('nobody listens to its topic')
        if (data.byteLength > limits.gossipMessageBytesMax) throw refused('it is too large')
        return data
      },
      outboundTransform: (_topic: string, data: Uint8Array) => data,
    },
  }

  return {
    service(components) {
      gossip = gossipsub(options)(components) as GossipSub
      const isGuest = (peer: string) => deps.standingOf(peer)?.kind === 'guest'
      onlyWhatIsTaken(gossip as unknown as Receiver, { isGuest, takesPart, room: roomFor })
      forgetOldest(gossip as unknown as Seeing, limits.gossipSeenMax)
      return gossip
    },
    subscribe(topic, handler, guests) {
      if (handlers.has(topic))
        throw new GodelError({ code: 'CONFLICT', what: `topic ${topic}`, reason: 'it is listened to' })
      handlers.set(topic, handler)
      if (guests) guestsOf.set(topic, guests)
      running().topicValidators.set(topic, (from, message) => check(handler, from, message))
      running().subscribe(topic)
      return () => {
        if (handlers.get(topic) !== handler) return
        handlers.delete(topic)
        guestsOf.delete(topic)
        running().topicValidators.delete(topic)
        running().unsubscribe(topic)
      }
    },
    async publish(topic, bytes) {
      const limitBytes = limits.gossipMessageBytesMax
      if (bytes.byteLength > limitBytes) {
        throw new GodelError({ code: 'TOO_LARGE', what: 'a gossip message', bytes: bytes.byteLength, limitBytes })
      }
      await running().publish(topic, bytes)
    },
  }
}

/** What gossipsub has beyond its declared interface: the one way in of what peers send, and the messages of late. */
interface Receiver {
  handleReceivedRpc(from: PeerId, rpc: ReceivedRpc): Promise<void>
  mcache: { get(id: Uint8Array): { topic: string } | undefined }
}
interface ReceivedRpc {
  subscriptions?: { topic?: string }[]
  messages?: { topic?: string }[]
  control?: {
    graft: { topicID?: string }[]
    ihave: { topicID?: string }[]
    iwant: { messageIDs: Uint8Array[] }[]
  }
}

interface Taken {
  isGuest(peer: string): boolean
  takesPart(peer: string, topic: string): boolean
  room(peer: string, messages: number): number
}

/**
 * Lets a peer take part in some topics only, and at its rate: what it says on others (subscriptions, grafts, messages, what it
 * has and what it wants) and beyond it is dropped before gossipsub sees it, so that nothing of them is sent to it either.
 */
const onlyWhatIsTaken = (gossip: Receiver, { isGuest, takesPart, room }: Taken): void => {
  const { handleReceivedRpc } = gossip
  gossip.handleReceivedRpc = (from, rpc) => {
    const peer = from.toString()
    const allowed = ({ topic, topicID = topic }: { topic?: string; topicID?: string }) => takesPart(peer, topicID ?? '')
    const isItsOwn = (id: Uint8Array) => allowed({ topic: gossip.mcache.get(id)?.topic ?? '' })
    const { control, messages = [], subscriptions = [] } = rpc
    const heard = messages.filter(allowed)
    return handleReceivedRpc.call(gossip, from, {
      ...rpc,
      subscriptions: subscriptions.filter(allowed),
      messages: heard.slice(0, room(peer, heard.length)),
      ...(control && {
        control: {
          ...control,
          graft: control.graft.filter(allowed),
          ihave: control.ihave.filter(allowed),
          iwant: isGuest(peer)
            ? control.iwant.map(({ messageIDs }) => ({ messageIDs: messageIDs.filter(isItsOwn) }))
            : control.iwant,
        },
      }),
    })
  }
}

interface Seeing {
  seenCache: { entries: Map<string, unknown>; put(id: string, value?: unknown): boolean }
}

/** Gossipsub bounds the ids of messages that it has seen by their age alone; here the oldest give way to new ones. */
const forgetOldest = ({ seenCache }: Seeing, most: number): void => {
  const { put } = seenCache
  seenCache.put = (id, value) => {
    const { entries } = seenCache
    if (entries.size >= most && !entries.has(id)) entries.delete(entries.keys().next().value!)
    return put.call(seenCache, id, value)
  }
}
