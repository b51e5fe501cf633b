/**
 * Whether others can dial this node, and through whom they reach it where they cannot. Reachable is who was dialled by
 * somebody, or answers a member that dials it back on request; a step function decides, a small shell performs.
 *
 *   state \ event    dialled by a peer    dialled back         nobody got through       a tick
 *   unknown          reachable            reachable            unreachable              asks, often
 *   reachable        -                    -                    unreachable              asks now and then, gives relays up
 *   unreachable      reachable            reachable            -                        asks now and then, reserves relays
 *
 * A change of this node's own addresses makes it unknown again. Relays are members that this node has dialled itself: those
 * can be reached.
 */
import { every, type Clock } from '../base/clock.ts'
import { GodelError, reasonOf } from '../base/errors.ts'
import type { Limits } from '../base/limits.ts'
import type { Log } from '../base/log.ts'
import { createTokenBucket, type TokenBucket } from '../base/token-bucket.ts'
import { ipOfDirect, isCircuit } from '../net/addresses.ts'
import { bind, type BoundMethod } from '../net/method.ts'
import type { Net } from '../net/net.ts'
import { nodeDialback } from './methods.ts'
import type { MeshView } from './view.ts'

export type Verdict = 'unknown' | 'reachable' | 'unreachable'

export interface ReachState {
  readonly verdict: Verdict
  readonly askAtMs: number
}

export type ReachEvent =
  /** Our own addresses, those through relays left out, are others now. */
  | { readonly type: 'moved'; readonly nowMs: number }
  /** What came of one round of questions, those left out that got no answer. */
  | { readonly type: 'answers'; readonly reached: readonly boolean[] }
  | {
      readonly type: 'tick'
      readonly nowMs: number
      /** Members whose direct connection they have dialled. */
      readonly diallers: readonly string[]
      /** Members that are connected directly, in the order in which they are to be asked. */
      readonly direct: readonly string[]
      /** Members that could relay, in the order of preference. */
      readonly candidates: readonly string[]
      readonly held: readonly string[]
    }

export interface ReachPlan {
  readonly state: ReachState
  readonly ask: readonly string[]
  readonly reserve: readonly string[]
  readonly release: readonly string[]
}

type ReachLimits = Pick<Limits, 'relaysWanted' | 'reachabilityAskMs' | 'reachabilityIntervalMs'>

const nothing = { ask: [], reserve: [], release: [] }
const peersAsked = 2

export const initialReach = (nowMs: number): ReachState => ({ verdict: 'unknown', askAtMs: nowMs })

export const stepReach = (state: ReachState, event: ReachEvent, limits: ReachLimits): ReachPlan => {
  if (event.type === 'moved') return { ...nothing, state: initialReach(event.nowMs) }
  if (event.type === 'answers') {
    const { reached } = event
    const verdict = reached.includes(true) ? 'reachable' : reached.length > 0 ? 'unreachable' : state.verdict
    return { ...nothing, state: { ...state, verdict } }
  }
  const { nowMs, diallers, direct, candidates, held } = event
  const verdict = diallers.length > 0 ? 'reachable' : state.verdict
  const ask = diallers.length === 0 && nowMs >= state.askAtMs ? direct.slice(0, peersAsked) : []
  const again = verdict === 'unknown' ? limits.reachabilityAskMs : limits.reachabilityIntervalMs
  const askAtMs = ask.length > 0 ? nowMs + again : state.askAtMs
  const missing = verdict === 'unreachable' ? Math.max(0, limits.relaysWanted - held.length) : 0
  return {
    state: { verdict, askAtMs },
    ask,
    reserve: candidates.filter((peer) => !held.includes(peer)).slice(0, missing),
    release: verdict === 'reachable' ? held : [],
  }
}

interface ReachDeps {
  net: Pick<
    Net,
    | 'addresses'
    | 'connected'
    | 'connectionKind'
    | 'dropStranded'
    | 'observedIp'
    | 'probe'
    | 'relays'
    | 'rpc'
    | 'standingOf'
    | 'peer'
  >
  view: MeshView
  /** This node is reached at other addresses than before. */
  onMoved: () => void
  clock: Clock
  log: Log
  limits: Limits
  random: () => number
}

export interface Reachability {
  readonly methods: readonly BoundMethod[]
  verdict(): Verdict
  close(): void
}

export const startReachability = (deps: ReachDeps): Reachability => {
  const { net, onMoved, clock, log, limits, random } = deps
  let state = initialReach(clock.monotonicMs())
  let told = net.addresses().join()
  let own = directOnly(net.addresses())
  const refusedAtMs = new Map<string, number>()
  const underWay = new Set<string>()

  const step = (event: ReachEvent): ReachPlan => {
    const plan = stepReach(state, event, limits)
    if (plan.state.verdict !== state.verdict)
      log.info('how this node is reached', { verdict: plan.state.verdict, before: state.verdict })
    state = plan.state
    return plan
  }

  const ask = async (peers: readonly string[]): Promise<void> => {
    const timeoutMs = limits.dialBackTimeoutMs + limits.probeTimeoutMs
    const answers = await Promise.allSettled(peers.map((peer) => net.rpc.call(peer, nodeDialback, {}, { timeoutMs })))
    const reached = answers.flatMap((answer) => (answer.status === 'fulfilled' ? [answer.value.reached] : []))
    step({ type: 'answers', reached })
  }

  const reserve = async (peer: string): Promise<void> => {
    underWay.add(peer)
    try {
      await net.relays.reserve(peer)
      log.info('a member relays for this node', { relay: peer })
    } catch (error) {
      refusedAtMs.set(peer, clock.monotonicMs())
      log.debug('a member does not relay', { peer, error: reasonOf(error) })
    } finally {
      underWay.delete(peer)
    }
  }

  const tick = async (): Promise<void> => {
    const nowMs = clock.monotonicMs()
    noticeMove(nowMs)
    for (const [peer, atMs] of refusedAtMs) if (nowMs - atMs > limits.reachabilityIntervalMs) refusedAtMs.delete(peer)
    const members = net.connected().filter((peer) => net.standingOf(peer)?.kind === 'member')
    const kinds = members.map((peer) => ({ peer, kind: net.connectionKind(peer) }))
    const direct = kinds.flatMap(({ peer, kind }) => (kind?.kind === 'direct' ? [{ peer, ...kind }] : []))
    const dialled = direct.filter(({ peer, isDialled }) => isDialled && !refusedAtMs.has(peer) && !underWay.has(peer))
    const plan = step({
      type: 'tick',
      nowMs,
      diallers: direct.filter(({ dialledUs }) => dialledUs).map(({ peer }) => peer),
      direct: shuffled(direct, random).map(({ peer }) => peer),
      candidates: dialled.map(({ peer }) => peer),
      held: [...net.relays.held(), ...underWay],
    })
    for (const peer of plan.release) if (!underWay.has(peer)) net.relays.release(peer)
    for (const peer of plan.reserve) void reserve(peer)
    if (plan.ask.length > 0) await ask(plan.ask)
    noticeMove(clock.monotonicMs())
  }

  /** Interfaces come and go, and so do relays; nobody tells, so the addresses are compared. */
  const noticeMove = (nowMs: number): void => {
    const now = net.addresses()
    if (directOnly(now) !== own) {
      step({ type: 'moved', nowMs })
      net.dropStranded()
    }
    own = directOnly(now)
    if (now.join() === told) return
    told = now.join()
    log.info('the addresses of this node have changed', { addresses: now })
    onMoved()
  }

  const failed = (error: unknown) => log.warn('looking at how this node is reached failed', { error: reasonOf(error) })
  const loop = every(clock, () => limits.reachabilityTickMs, tick, failed)
  return { methods: [dialBack(deps)], verdict: () => state.verdict, close: () => loop.stop() }
}

const directOnly = (addresses: readonly string[]): string => addresses.filter((each) => !isCircuit(each)).join()

const shuffled = <T>(items: readonly T[], random: () => number): T[] =>
  items
    .map((item) => [random(), item] as const)
    .toSorted(([a], [b]) => a - b)
    .map(([, item]) => item)

/**
 * Answers `node.dialback`. Dialled is only what the caller advertises, and only at the IP from which it is connected: the
 * request names nothing, so nobody can have others dialled. RATE_LIMITED.
 */
const dialBack = ({ net, view, clock, limits }: ReachDeps): BoundMethod => {
  const rates = new Map<string, TokenBucket>()
  let running = 0

  const mustBeInTime = (peer: string): void => {
    const bucket =
      rates.get(peer) ??
      createTokenBucket(clock, { perSecond: limits.dialBacksPerSecond, burst: limits.dialBacksBurst })
    rates.set(peer, bucket)
    if (rates.size > limits.connectionsMax) rates.delete(rates.keys().next().value!)
    const retryAfterMs = running >= limits.dialBacksAtOnce ? limits.dialBackTimeoutMs : bucket.take()
    if (retryAfterMs > 0) throw new GodelError({ code: 'RATE_LIMITED', what: 'node.dialback', retryAfterMs })
  }

  return bind(nodeDialback, async (_, { peer }) => {
    const kind = net.connectionKind(peer)
    if (kind?.kind === 'direct' && kind.isDialled) return { reached: true }
    mustBeInTime(peer)
    const ip = net.observedIp(peer)
    const own = (view.record(peer)?.ad.addresses ?? []).filter((each) => ip !== undefined && ipOfDirect(each) === ip)
    if (own.length === 0) return { reached: false }
    running++
    try {
      return { reached: await net.probe(own) }
    } finally {
      running--
    }
  })
}
