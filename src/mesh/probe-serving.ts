/**
 * Probing for others: a watcher asks whether a member answers this node. Bounded, since each question makes a call: at a rate per
 * asker, and no two probes of one subject at once.
 */
import { GodelError } from '../base/errors.ts'
import type { Clock } from '../base/clock.ts'
import type { Limits } from '../base/limits.ts'
import { bind, type BoundMethod } from '../net/method.ts'
import { nodeProbe } from './methods.ts'
import type { Probe, ProbeOutcome } from './probe.ts'
import type { View } from './view.ts'

interface ProbeServingDeps {
  probe: Probe
  view: Pick<View, 'get'>
  self: string
  /** A peer has answered against which something may stand: it is to hear of that. */
  onAnswered: (peer: string) => void
  clock: Clock
  limits: Pick<Limits, 'probeAskMs' | 'probesForOthersPerSecond' | 'probesForOthersMax' | 'connectionsMax'>
}

export const probeForOthers = (deps: ProbeServingDeps): BoundMethod[] => {
  const { probe, view, self, onAnswered, limits } = deps
  const underWay = new Map<string, Promise<ProbeOutcome>>()
  const take = createRate(deps)

  const shared = (peer: string): Promise<ProbeOutcome> => {
    const running = underWay.get(peer)
    if (running) return running
    const started = probe(peer, limits.probeAskMs).finally(() => underWay.delete(peer))
    underWay.set(peer, started)
    return started
  }

  return [
    bind(nodeProbe, async ({ peer }, context) => {
      take(context.peer)
      if (peer === self) return { outcome: 'yes', rttMs: 0 }
      if (view.get(peer) === undefined) throw new GodelError({ code: 'NOT_FOUND', what: 'peer', id: peer })
      if (!underWay.has(peer) && underWay.size >= limits.probesForOthersMax) return { outcome: 'unknown' }
      const result = await shared(peer)
      if (!result.answered) return { outcome: 'no' }
      onAnswered(peer)
      return { outcome: 'yes', rttMs: result.rttMs, ...(result.ad && { ad: result.ad }) }
    }),
  ]
}

/** RATE_LIMITED for an asker that has asked too often within a second. */
const createRate = ({ clock, limits }: Pick<ProbeServingDeps, 'clock' | 'limits'>): ((asker: string) => void) => {
  const windows = new Map<string, { sinceMs: number; taken: number }>()
  return (asker) => {
    const nowMs = clock.monotonicMs()
    const known = windows.get(asker)
    const window = known && nowMs < known.sinceMs + 1_000 ? known : { sinceMs: nowMs, taken: 0 }
    if (window.taken >= limits.probesForOthersPerSecond)
      throw new GodelError({
        code: 'RATE_LIMITED',
        what: 'probing for others',
        retryAfterMs: Math.ceil(window.sinceMs + 1_000 - nowMs),
      })
    window.taken++
    windows.delete(asker)
    windows.set(asker, window)
    if (windows.size > limits.connectionsMax) windows.delete(windows.keys().next().value!)
  }
}
