/**
 * The shell around liveness.ts: keeps time, sends the probes over existing connections, asks others to probe, and has signed what
 * the detector accuses. Time takes effect in the view here too.
 */
import type { Clock, Timer } from '../base/clock.ts'
import { reasonOf } from '../base/errors.ts'
import type { FailoverSettings } from '../base/failover.ts'
import type { Limits } from '../base/limits.ts'
import type { Log } from '../base/log.ts'
import type { Meter } from '../base/meter.ts'
import type { Net } from '../net/net.ts'
import type { Accept } from './accept.ts'
import {
  initialLiveness,
  stepLiveness,
  troubleOf,
  type Link,
  type LivenessEffect,
  type LivenessEvent,
} from './liveness.ts'
import { nodeProbe } from './methods.ts'
import type { Probe } from './probe.ts'
import { isUp, type Accusation, type Evidence } from './records.ts'
import { createNeighbours } from './ring.ts'
import { isUsable, type MeshView, type PeerView } from './view.ts'

/** How the way to a watched peer is. */
export interface LinkReport {
  /** `indirect`: it answers others and not this node. */
  readonly link: Link
  /** Round trip, smoothed; undefined before the first answer. */
  readonly rttMs: number | undefined
  /** Probes in a row that nobody saw answered. */
  readonly misses: number
}

/** How far this node can trust its own judgement of others. */
export interface DetectorHealth {
  /** 0 is well; each step stretches the timeouts by their own length, up to limits.localHealthMax. */
  readonly health: number
  /** It accuses nobody (`loop-lag`), or tells nobody of it (`cut-off`). */
  readonly slow: boolean
  readonly why?: 'loop-lag' | 'cut-off'
  readonly watched: number
}

export interface Accusing {
  readonly subject: string
  readonly incarnation: number
  readonly evidence: Evidence
  /** The realm is told; otherwise it stays in the own view. */
  readonly aloud: boolean
}

export interface Watch {
  /** The peers that this node watches now. */
  watched(): string[]
  linkOf(peer: string): LinkReport | undefined
  health(): DetectorHealth
  disconnected(peer: string): void
  close(): void
}

interface WatchDeps {
  net: Pick<Net, 'peer' | 'rpc'>
  view: MeshView
  accept: Pick<Accept, 'ad'>
  probe: Probe
  /** Members that are connected, of whom some are asked. */
  partners: () => string[]
  /** Seals an accusation and takes it into the own view. */
  accuse: (accusing: Accusing) => Promise<void>
  /** A peer has answered against which something may stand: it is to hear of that. */
  onAnswered: (peer: string) => void
  settings: () => FailoverSettings
  random: () => number
  clock: Clock
  log: Log
  meter: Meter
  limits: Limits
}

export const startWatch = (deps: WatchDeps): Watch => {
  const { net, view, clock, log, meter, limits } = deps
  const neighbours = createNeighbours(net.peer, limits.watchersPerNode)
  const isOwn = ({ accuser }: Accusation) => accuser === net.peer
  let state = initialLiveness
  let changed = true
  let rewatchAtMs = 0
  let closed = false
  let timer: Timer | undefined

  /** Settings change while it runs. */
  const bounds = () => {
    const { healthCheckIntervalMs, failureThreshold } = deps.settings()
    return { ...limits, probeIntervalMs: healthCheckIntervalMs, failureThreshold }
  }

  const step = (event: LivenessEvent): void => {
    if (closed) return
    const [next, effects] = stepLiveness(state, event, bounds())
    state = next
    for (const effect of effects) perform(effect)
  }

  const perform = (effect: LivenessEffect): void => {
    const { peer } = effect
    if (effect.type === 'probe') void probe(effect)
    else if (effect.type === 'ask') ask(effect)
    else accuse({ subject: peer, ...effect })
  }

  const accuse = (accusing: Accusing): void => {
    const { subject, incarnation, evidence, aloud } = accusing
    log.info('a peer does not answer', { peer: subject, incarnation, evidence, aloud })
    meter.count('mesh_accusations_total', { evidence })
    deps
      .accuse(accusing)
      .catch((error: unknown) => log.warn('an accusation could not be made', { peer: subject, error: reasonOf(error) }))
  }

  const probe = async ({ peer, round, timeoutMs }: Extract<LivenessEffect, { type: 'probe' }>): Promise<void> => {
    const outcome = await deps.probe(peer, timeoutMs)
    const nowMs = clock.monotonicMs()
    if (!outcome.answered) return step({ type: 'failed', nowMs, peer, round, evidence: outcome.evidence })
    meter.timing('mesh_probe_ms', outcome.rttMs)
    deps.onAnswered(peer)
    step({ type: 'answered', nowMs, peer, rttMs: outcome.rttMs })
  }

  const ask = ({ peer, round, timeoutMs }: Extract<LivenessEffect, { type: 'ask' }>): void => {
    const others = deps.partners().filter((other) => other !== peer && isHelper(view.get(other)))
    const helpers = chosen(others, limits.probeHelpers, deps.random)
    for (const helper of helpers) void askOne(helper, { peer, round, timeoutMs })
    step({ type: 'asked', nowMs: clock.monotonicMs(), peer, round, helpers: helpers.length })
  }

  const askOne = async (
    helper: string,
    { peer, round, timeoutMs }: { peer: string; round: number; timeoutMs: number },
  ): Promise<void> => {
    let outcome: 'yes' | 'no' | 'unknown' = 'unknown'
    try {
      const answer = await net.rpc.call(helper, nodeProbe, { peer }, { timeoutMs })
      ;({ outcome } = answer)
      if (answer.ad) await deps.accept.ad(answer.ad.envelope, answer.ad.ageMs)
    } catch (error) {
      log.debug('a peer could not be asked about another', { peer, helper, error: reasonOf(error) })
    }
    meter.count('mesh_indirect_probes_total', { outcome })
    step({ type: 'helped', nowMs: clock.monotonicMs(), peer, round, outcome })
  }

  const peersUp = function* (): Iterable<string> {
    for (const { peer, state: each } of view.states()) if (isUp(each)) yield peer
  }

  /**
   * Those that the ring gives this node, and those that it has accused itself: a node that was only stopped for a while keeps
   * its connections, hears no gossip, and is to be told as soon as it answers.
   */
  const rewatch = (nowMs: number): void => {
    changed = false
    rewatchAtMs = nowMs + limits.syncIntervalMs
    const accused = view
      .accused()
      .filter(({ peer, accusations }) => view.stateOf(peer) === 'down' && accusations.some(isOwn))
      .map(({ peer }) => peer)
    const watched = [...neighbours.nearest(peersUp), ...accused]
    const subjects = watched.map((peer) => ({ peer, incarnation: view.record(peer)!.ad.incarnation }))
    step({ type: 'watch', nowMs, subjects })
  }

  const health = (): DetectorHealth => {
    const why = troubleOf(state, clock.monotonicMs(), limits)
    return { health: state.health, slow: why !== undefined, ...(why && { why }), watched: state.subjects.size }
  }

  const tick = (): void => {
    const nowMs = clock.monotonicMs()
    view.sweep()
    if (changed || nowMs >= rewatchAtMs) rewatch(nowMs)
    step({ type: 'tick', nowMs })
    meter.gauge('mesh_detector_health', state.health)
    meter.gauge('mesh_detector_slow', Number(health().slow))
    timer = clock.after(limits.livenessTickMs, tick)
  }

  const off = view.onChange((entry, previous) => {
    if (entry.self) return
    if (isUp(entry.state)) neighbours.came(entry.peer)
    else neighbours.went(entry.peer)
    if (entry.state !== previous?.state || entry.ad.incarnation !== previous.ad.incarnation) changed = true
  })
  timer = clock.after(limits.livenessTickMs, tick)

  return {
    watched: () => [...state.subjects.keys()],
    linkOf(peer) {
      const subject = state.subjects.get(peer)
      return subject && { link: subject.link, rttMs: subject.rttMs, misses: subject.misses }
    },
    health,
    disconnected: (peer) => step({ type: 'disconnected', nowMs: clock.monotonicMs(), peer }),
    close() {
      closed = true
      off()
      timer?.cancel()
    },
  }
}

const isHelper = (entry: PeerView | undefined): boolean => entry !== undefined && isUsable(entry)

/** Some of them at random. */
const chosen = (from: readonly string[], count: number, random: () => number): string[] => {
  const left = [...from]
  const taken: string[] = []
  while (taken.length < count && left.length > 0)
    taken.push(...left.splice(Math.min(left.length - 1, Math.floor(random() * left.length)), 1))
  return taken
}
