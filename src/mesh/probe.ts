/** One probe of one peer, for this node itself or for another that asks; whoever is accused is told with the question. */
import type { Clock } from '../base/clock.ts'
import { reasonOf } from '../base/errors.ts'
import type { Log } from '../base/log.ts'
import type { Net } from '../net/net.ts'
import type { Accept } from './accept.ts'
import { evidenceOf } from './evidence.ts'
import { nodeHeartbeat } from './methods.ts'
import type { Evidence } from './records.ts'
import type { MeshView } from './view.ts'

export type ProbeOutcome =
  | { answered: true; rttMs: number; ad?: { envelope: Uint8Array; ageMs: number } }
  | { answered: false; evidence: Evidence }

/** Whether a peer gives any answer in time; a refusal is one too. Its advertisement is taken in. */
export type Probe = (peer: string, timeoutMs: number) => Promise<ProbeOutcome>

interface ProbeDeps {
  net: Pick<Net, 'rpc'>
  view: Pick<MeshView, 'record'>
  accept: Pick<Accept, 'ad'>
  connect: (peer: string, signal?: AbortSignal) => Promise<void>
  /** What a peer holds of this node, as its answer says. */
  onShown: (peer: string, held: { incarnation: number; sequence: number }) => void
  clock: Clock
  log: Log
}

export const createProbe = ({ net, view, accept, connect, onShown, clock, log }: ProbeDeps): Probe => {
  const accusationsAgainst = (peer: string) => {
    const accusations = view.record(peer)?.accusations ?? []
    if (accusations.length === 0) return {}
    const ageMs = (sinceMs: number) => Math.max(0, Math.round(clock.monotonicMs() - sinceMs))
    return { accusations: accusations.map(({ envelope, sinceMs }) => ({ envelope, ageMs: ageMs(sinceMs) })) }
  }

  return async (peer, timeoutMs) => {
    const deadline = new AbortController()
    const timer = clock.after(timeoutMs, () => deadline.abort())
    let startMs = clock.monotonicMs()
    const rttMs = () => Math.max(0, Math.round(clock.monotonicMs() - startMs))
    try {
      await connect(peer, deadline.signal)
      startMs = clock.monotonicMs()
      const { envelope, ageMs, yours } = await net.rpc.call(peer, nodeHeartbeat, accusationsAgainst(peer), {
        timeoutMs,
      })
      const answeredMs = rttMs()
      const ad = { envelope, ageMs }
      if (yours) onShown(peer, yours)
      await accept.ad(ad.envelope, ad.ageMs, peer)
      return { answered: true, rttMs: answeredMs, ad }
    } catch (error) {
      log.debug('a probe brought no advertisement', { peer, error: reasonOf(error) })
      const evidence = evidenceOf(error)
      return evidence === undefined ? { answered: true, rttMs: rttMs() } : { answered: false, evidence }
    } finally {
      timer.cancel()
    }
  }
}
