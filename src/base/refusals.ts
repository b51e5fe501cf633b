/** Refusals, each told once per peer and reason, since a refused peer comes back again and again. Bounded: the oldest are forgotten. */
import { silentAudit, type Audit } from './audit.ts'
import { toGodelError } from './errors.ts'
import type { Limits } from './limits.ts'
import type { Log } from './log.ts'
import type { Meter } from './meter.ts'

export interface Refusals {
  /** Counts the refusal, puts it on the audit log, and logs it unless it has been. `what` is a constant message. */
  note(what: string, peer: string, error: unknown): void
}

/** `metric` is the counter of all of them, by code. */
export const createRefusals = (
  deps: { log: Log; meter: Meter; limits: Pick<Limits, 'refusalsLoggedMax'>; audit?: Audit | undefined },
  { metric }: { metric: string },
): Refusals => {
  const { log, meter, limits, audit = silentAudit } = deps
  const told = new Set<string>()
  return {
    note(what, peer, error) {
      const { code, message } = toGodelError(error)
      meter.count(metric, { code })
      const action = what.replace(/^refused /, '')
      audit.record({ action, by: peer, outcome: 'refused', reason: `${code}: ${message}` })
      const key = `${what}\0${peer}\0${code}`
      if (told.has(key)) return
      if (told.size >= limits.refusalsLoggedMax) told.delete(told.values().next().value!)
      told.add(key)
      log.warn(what, { peer, code, reason: message })
    },
  }
}
