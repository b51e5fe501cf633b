/**
 * The shell around liveness.ts: keeps time, measures the lag of the event loop by its own ticks, sends the probes over
 * existing connections, and signs what the detector accuses. Time takes effect in the view here too.
 */
import type { Clock, Timer } from '../base/clock.ts'
import { hasCode, reasonOf } from '../base/errors.ts'
import type { Limits } from '../base/limits.ts'
import type { Log } from '../base/log.ts'
import type { Meter } from '../base/meter.ts'
import type { Net } from '../net/net.ts'
import type { Accept } from './accept.ts'
import { initialLiveness, stepLiveness, type LivenessEvent } from './liveness.ts'
import { nodeHeartbeat } from './methods.ts'
import { isUp, type Accusation } from './records.ts'
import { createNeighbours } from './ring.ts'
import type { MeshView } from './view.ts'

export interface Watch {
  /** The peers that this node watches now. */
  watched(): string[]
  disconnected(peer: string): void
  close(): void
}

interface WatchDeps {
  net: Pick<Net, 'peer' | 'rpc'>
  view: MeshView
  accept: Accept
  connect: (peer: string, signal?: AbortSignal) => Promise<void>
  /** Seals an accusation, takes it into the own view and tells the realm. */
  accuse: (subject: string, incarnation: number) => Promise<void>
  /** A peer has answered against which something stands: it is to hear of that. */
  onAnswered: (peer: string) => void
  /** What a peer holds of this node, as its answer says. */
  onShown: (peer: string, held: { incarnation: number; sequence: number }) => void
  clock: Clock
  log: Log
  meter: Meter
  limits: Limits
}

export const startWatch = (deps: WatchDeps): Watch => {
  const { net, view, clock, log, meter, limits } = deps
  const neighbours = createNeighbours(net.peer, limits.watchersPerNode)
  const isOwn = (accusation: Accusation): boolean => accusation.accuser === net.peer
  let state = initialLiveness
  let changed = true
  let rewatchAtMs = 0
  let closed = false
  let timer: Timer | undefined
  let tickedAtMs = clock.monotonicMs()

  const step = (event: LivenessEvent): void => {
    if (closed) return
    const [next, effects] = stepLiveness(state, event, limits)
    state = next
    for (const effect of effects) {
      if (effect.type === 'probe') void probe(effect.peer)
      else accuse(effect.peer, effect.incarnation)
    }
  }

  const accuse = (peer: string, incarnation: number): void => {
    log.info('a peer does not answer', { peer, incarnation })
    meter.count('mesh_accusations_total')
    deps
      .accuse(peer, incarnation)
      .catch((error: unknown) => log.warn('an accusation could not be made', { peer, error: reasonOf(error) }))
  }

  const probe = async (peer: string): Promise<void> => {
    const startMs = clock.monotonicMs()
    const alive = await ask(deps, peer)
    const nowMs = clock.monotonicMs()
    if (alive) {
      meter.timing('mesh_probe_ms', nowMs - startMs)
      deps.onAnswered(peer)
    }
    step({ type: alive ? 'answered' : 'missed', nowMs, peer })
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

  const tick = (): void => {
    const nowMs = clock.monotonicMs()
    const lagMs = nowMs - tickedAtMs - limits.livenessTickMs
    tickedAtMs = nowMs
    view.sweep()
    if (changed || nowMs >= rewatchAtMs) rewatch(nowMs)
    step({ type: 'tick', nowMs, lagMs })
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
    disconnected: (peer) => step({ type: 'disconnected', nowMs: clock.monotonicMs(), peer }),
    close() {
      closed = true
      off()
      timer?.cancel()
    },
  }
}

/** Whether a peer gives any answer within limits.probeTimeoutMs; a refusal is one too. Its advertisement is taken in. */
const ask = async (
  {
    net,
    accept,
    connect,
    onShown,
    clock,
    log,
    limits,
  }: Pick<WatchDeps, 'net' | 'accept' | 'connect' | 'onShown' | 'clock' | 'log' | 'limits'>,
  peer: string,
): Promise<boolean> => {
  const deadline = new AbortController()
  const timer = clock.after(limits.probeTimeoutMs, () => deadline.abort())
  try {
    await connect(peer, deadline.signal)
    const answer = await net.rpc.call(peer, nodeHeartbeat, {}, { timeoutMs: limits.probeTimeoutMs })
    if (answer.yours) onShown(peer, answer.yours)
    await accept.ad(answer.envelope, answer.ageMs, peer)
    return true
  } catch (error) {
    log.debug('a probe brought no advertisement', { peer, error: reasonOf(error) })
    return !hasCode(error, 'PEER_UNREACHABLE', 'STREAM_LOST', 'DEADLINE_EXCEEDED', 'CANCELLED')
  } finally {
    timer.cancel()
  }
}
