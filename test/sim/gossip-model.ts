/**
 * The essentials of gossipsub 1.2 as src/net/pubsub.ts sets it up: flood publishing, a mesh of limits.gossipDegree per topic that
 * the heartbeat keeps between its bounds, pushing to the mesh once the handler has accepted, IDONTWANT to the mesh on the
 * first copy of a large message, IHAVE and IWANT to others, the seen cache. Scores are left out: all weights but those of
 * bytes are zero in the product. Peers take part once each has admitted the other.
 */
import { hash } from 'node:crypto'
import type { Clock } from '../../src/base/clock.ts'
import type { Limits } from '../../src/base/limits.ts'
import type { Pubsub, TopicHandler } from '../../src/net/net.ts'
import type { Rng } from './rng.ts'

/** gossipsub's own defaults where the product sets nothing. */
const model = {
  degreeLow: 4,
  degreeHigh: 12,
  degreeLazy: 6,
  gossipFactor: 0.25,
  historyLength: 5,
  historyGossip: 3,
  pruneBackoffMs: 60_000,
  firstHeartbeatMs: 100,
  dontWantBytes: 512,
} as const

/** What handling one frame costs a node, in milliseconds of its processor. */
export const gossipCostMs = { copy: 0.1, fresh: 1, control: 0.05 } as const
const idBytes = 22
const protobufBytes = 8

export interface GossipMessage {
  readonly id: number
  readonly topic: string
  readonly data: Uint8Array
}

export type GossipFrame =
  | { type: 'subscribe'; topics: readonly string[] }
  | { type: 'message'; message: GossipMessage }
  | { type: 'dontwant'; id: number }
  | { type: 'ihave'; topic: string; ids: readonly number[] }
  | { type: 'iwant'; ids: readonly number[] }
  | { type: 'graft'; topic: string }
  | { type: 'prune'; topic: string }

/** Ids that all nodes share, in place of hashes: by what the message holds. */
export interface MessageIds {
  of(topic: string, data: Uint8Array): GossipMessage
}

export const createMessageIds = (): MessageIds => {
  const known = new Map<string, GossipMessage>()
  return {
    of(topic, data) {
      const key = hash('sha256', Buffer.concat([Buffer.from(`${topic}\0`), data]), 'hex')
      const found = known.get(key)
      if (found) return found
      const message = { id: known.size, topic, data }
      known.set(key, message)
      return message
    },
  }
}

export const frameBytes = (frame: GossipFrame): number => {
  switch (frame.type) {
    case 'subscribe':
      return protobufBytes + frame.topics.reduce((sum, topic) => sum + topic.length + 6, 0)
    case 'message':
      return protobufBytes + frame.message.topic.length + frame.message.data.byteLength
    case 'dontwant':
      return protobufBytes + idBytes
    case 'ihave':
      return protobufBytes + frame.topic.length + idBytes * frame.ids.length
    case 'iwant':
      return protobufBytes + idBytes * frame.ids.length
    case 'graft':
    case 'prune':
      return protobufBytes + frame.topic.length
  }
}

interface Topic {
  readonly handler: TopicHandler
  readonly mesh: Set<string>
  /** Until when a peer that pruned is not grafted again. */
  readonly backoff: Map<string, number>
}

export interface GossipNode {
  readonly pubsub: Pubsub
  /** The peer has been admitted here. */
  admitted(peer: string): void
  gone(peer: string): void
  receive(from: string, frame: GossipFrame): 'quiet' | void
  /** What handling a frame will cost, before it is handled. */
  costMs(from: string, frame: GossipFrame): number
  /** Takes a peer for one that listens to what this node listens to, and into the mesh, in a realm that is begun in the middle of its life. */
  meet(peer: string, intoMesh: boolean): void
  meshSize(): number
  close(): void
}

export const createGossipNode = (deps: {
  clock: Clock
  limits: Limits
  rng: Rng
  ids: MessageIds
  isAdmitted: (peer: string) => boolean
  send: (peer: string, frame: GossipFrame) => void
}): GossipNode => {
  const { clock, limits, rng, ids, isAdmitted, send } = deps
  const topics = new Map<string, Topic>()
  /** Peers that take part, with the topics that they listen to. */
  const peers = new Map<string, Set<string>>()
  /** Said by peers that are not admitted here yet. */
  const early = new Map<string, readonly string[]>()
  const history: GossipMessage[][] = [[]]
  const kept = new Map<number, GossipMessage>()
  const dontWant: Map<string, Set<number>>[] = [new Map()]
  let seen = new Set<number>()
  let seenBefore = new Set<number>()
  let seenTurnsAtMs = clock.monotonicMs() + limits.gossipSeenMs
  let checking = 0
  let closed = false

  /** Of each peer, when it may hand over its next message, as a bucket that empties with time. */
  const rates = new Map<string, number>()
  const { gossipMessagesPerSecond: perSecond = Infinity, gossipMessagesBurst: burst = Infinity } = limits as {
    gossipMessagesPerSecond?: number
    gossipMessagesBurst?: number
  }
  const emptyAtMs = (peer: string): number => Math.max(clock.monotonicMs(), rates.get(peer) ?? 0)
  const isOverRate = (peer: string): boolean =>
    perSecond !== Infinity && emptyAtMs(peer) - clock.monotonicMs() > ((burst - 1) * 1_000) / perSecond
  const isTooMuch = (peer: string): boolean => {
    if (isOverRate(peer)) return true
    if (perSecond !== Infinity) rates.set(peer, emptyAtMs(peer) + 1_000 / perSecond)
    return false
  }

  const hasSeen = (id: number) => seen.has(id) || seenBefore.has(id)
  const listeners = (topic: string): string[] =>
    [...peers].filter(([, listened]) => listened.has(topic)).map(([peer]) => peer)
  const isUnwanted = (peer: string, id: number) => dontWant.some((tick) => tick.get(peer)?.has(id))

  const keep = (message: GossipMessage): void => {
    if (kept.has(message.id)) return
    kept.set(message.id, message)
    history[0]!.push(message)
  }

  const forward = (message: GossipMessage, source: string): void => {
    for (const peer of topics.get(message.topic)?.mesh ?? [])
      if (peer !== source && !isUnwanted(peer, message.id)) send(peer, { type: 'message', message })
  }

  const take = (from: string, message: GossipMessage): 'quiet' | void => {
    if (hasSeen(message.id)) return 'quiet'
    const topic = topics.get(message.topic)
    if (!topic || message.data.byteLength > limits.gossipMessageBytesMax) return 'quiet'
    seen.add(message.id)
    if (message.data.byteLength >= model.dontWantBytes)
      for (const peer of topic.mesh) if (peer !== from) send(peer, { type: 'dontwant', id: message.id })
    if (checking >= limits.gossipChecksMax) return 'quiet'
    checking++
    void Promise.resolve(topic.handler(message.data, from))
      .catch(() => 'ignore' as const)
      .then((verdict) => {
        checking--
        if (verdict !== 'accept' || closed) return
        keep(message)
        forward(message, from)
      })
  }

  const graft = (name: string, peer: string): void => {
    const topic = topics.get(name)
    if (!topic || !peers.get(peer)?.has(name)) return
    if ((topic.backoff.get(peer) ?? 0) > clock.monotonicMs()) return send(peer, { type: 'prune', topic: name })
    topic.mesh.add(peer)
  }

  const prune = (name: string, peer: string): void => {
    const topic = topics.get(name)
    topic?.mesh.delete(peer)
    topic?.backoff.set(peer, clock.monotonicMs() + model.pruneBackoffMs)
  }

  const keepMesh = (name: string, topic: Topic): void => {
    const nowMs = clock.monotonicMs()
    for (const peer of topic.mesh) if (!peers.has(peer)) topic.mesh.delete(peer)
    for (const [peer, untilMs] of topic.backoff) if (untilMs <= nowMs) topic.backoff.delete(peer)
    if (topic.mesh.size < model.degreeLow) {
      const others = listeners(name).filter((peer) => !topic.mesh.has(peer) && !topic.backoff.has(peer))
      for (const peer of rng.sample(others, limits.gossipDegree - topic.mesh.size)) {
        topic.mesh.add(peer)
        send(peer, { type: 'graft', topic: name })
      }
    } else if (topic.mesh.size > model.degreeHigh) {
      for (const peer of rng.sample([...topic.mesh], topic.mesh.size - limits.gossipDegree)) {
        prune(name, peer)
        send(peer, { type: 'prune', topic: name })
      }
    }
  }

  const tellHistory = (name: string, topic: Topic): void => {
    const recent = history
      .slice(0, model.historyGossip)
      .flat()
      .filter((message) => message.topic === name)
    if (recent.length === 0) return
    const others = listeners(name).filter((peer) => !topic.mesh.has(peer))
    const count = Math.max(model.degreeLazy, Math.floor(model.gossipFactor * others.length))
    const known = recent.map((message) => message.id).slice(0, limits.gossipItemsPerRpcMax)
    for (const peer of rng.sample(others, count)) send(peer, { type: 'ihave', topic: name, ids: known })
  }

  const heartbeat = (): void => {
    if (closed) return
    clock.after(limits.gossipHeartbeatMs, heartbeat)
    for (const [name, topic] of topics) {
      keepMesh(name, topic)
      tellHistory(name, topic)
    }
    history.unshift([])
    for (const message of history.splice(model.historyLength).flat()) kept.delete(message.id)
    dontWant.unshift(new Map())
    dontWant.splice(model.historyLength)
    const nowMs = clock.monotonicMs()
    if (nowMs < seenTurnsAtMs) return
    seenTurnsAtMs = nowMs + limits.gossipSeenMs
    seenBefore = seen
    seen = new Set()
  }
  clock.after(model.firstHeartbeatMs + rng.next() * limits.gossipHeartbeatMs, heartbeat)

  const listensTo = (peer: string, names: readonly string[]): void => void peers.set(peer, new Set(names))
  const introduce = (peer: string) => send(peer, { type: 'subscribe', topics: [...topics.keys()] })

  const handlers: { [T in GossipFrame['type']]: (from: string, frame: GossipFrame & { type: T }) => 'quiet' | void } = {
    subscribe(from, frame) {
      if (isAdmitted(from)) listensTo(from, frame.topics)
      else early.set(from, frame.topics)
      return 'quiet'
    },
    message: (from, { message }) => (isTooMuch(from) ? 'quiet' : take(from, message)),
    dontwant(from, { id }) {
      const tick = dontWant[0]!
      const unwanted = tick.get(from) ?? new Set()
      tick.set(from, unwanted.add(id))
      return 'quiet'
    },
    ihave(from, frame) {
      const missing = topics.has(frame.topic) ? frame.ids.filter((id) => !hasSeen(id)) : []
      if (missing.length > 0) send(from, { type: 'iwant', ids: missing })
      return 'quiet'
    },
    iwant(from, frame) {
      for (const id of frame.ids) {
        const message = kept.get(id)
        if (message) send(from, { type: 'message', message })
      }
      return 'quiet'
    },
    graft(from, { topic }) {
      graft(topic, from)
      return 'quiet'
    },
    prune(from, { topic }) {
      prune(topic, from)
      return 'quiet'
    },
  }

  return {
    pubsub: {
      subscribe(name, handler) {
        topics.set(name, { handler, mesh: new Set(), backoff: new Map() })
        for (const peer of peers.keys()) introduce(peer)
        return () => {
          topics.delete(name)
          for (const peer of peers.keys()) introduce(peer)
        }
      },
      publish(topic, data) {
        const message = ids.of(topic, data.slice())
        if (closed || hasSeen(message.id)) return Promise.resolve()
        seen.add(message.id)
        keep(message)
        for (const peer of listeners(topic)) send(peer, { type: 'message', message })
        return Promise.resolve()
      },
    },
    admitted(peer) {
      if (!peers.has(peer)) peers.set(peer, new Set())
      const said = early.get(peer)
      if (said) listensTo(peer, said)
      early.delete(peer)
      introduce(peer)
    },
    gone(peer) {
      peers.delete(peer)
      early.delete(peer)
      for (const topic of topics.values()) topic.mesh.delete(peer)
      for (const tick of dontWant) tick.delete(peer)
    },
    receive: (from, frame) => {
      if (closed || (frame.type !== 'subscribe' && !peers.has(from))) return 'quiet'
      return (handlers[frame.type] as (from: string, frame: GossipFrame) => 'quiet' | void)(from, frame)
    },
    costMs(from, frame) {
      if (frame.type !== 'message') return gossipCostMs.control
      // What comes beyond the rate of its peer is dropped unread.
      return hasSeen(frame.message.id) || isOverRate(from) ? gossipCostMs.copy : gossipCostMs.fresh
    },
    meet(peer, intoMesh) {
      listensTo(peer, [...topics.keys()])
      if (intoMesh) for (const topic of topics.values()) topic.mesh.add(peer)
    },
    meshSize: () => Math.max(0, ...[...topics.values()].map((topic) => topic.mesh.size)),
    close() {
      closed = true
    },
  }
}
