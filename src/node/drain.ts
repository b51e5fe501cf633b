/**
 * Draining: the operator's wish that this node takes nothing new, kept until it is taken back, over restarts and crashes. What
 * runs goes on to its end: commands, starts, slots that were promised. An idle agent is no work: it stays until it is ended.
 */
import type { Admission } from '../agents/admission.ts'
import type { Host } from '../agents/host.ts'
import { isLive, type Agent } from '../base/agent.ts'
import { decode, encode } from '../base/codec.ts'
import type { Limits } from '../base/limits.ts'
import type { DrainReport } from '../base/report.ts'
import type { Store } from '../store/store.ts'

const SPACE = 'node'
const KEY = 'draining'

export interface Drain {
  draining(): boolean
  /** Keeps the wish; durable when it resolves. */
  set(draining: boolean): Promise<void>
}

/** Goes on with the wish of before. `onChange` is told once it is durable. */
export const openDrain = ({ store, onChange }: { store: Store; onChange: () => void }): Drain => {
  const kept = store.get(SPACE, KEY)
  let wish = kept !== undefined && decode(kept, 'the wish to drain') === true
  return {
    draining: () => wish,
    async set(draining) {
      // From this moment on nothing new is taken, durable or not yet.
      if (draining) wish = true
      await store.commit([{ space: SPACE, key: KEY, value: draining ? encode(true) : null }])
      wish = draining
      onChange()
    },
  }
}

/** What still runs here, and what stays. */
export const drainReport = (deps: {
  drain: Pick<Drain, 'draining'>
  host: Pick<Host, 'list'>
  admission: Pick<Admission, 'capacity'>
  limits: Pick<Limits, 'drainListedMax'>
}): DrainReport => {
  const { drain, host, admission, limits } = deps
  const live = host.list().filter((agent) => isLive(agent.status))
  const staying = live.filter((agent) => agent.status === 'idle')
  const running = live.filter((agent) => agent.status !== 'idle')
  const reserved = Math.max(0, admission.capacity().running - live.length)
  const listed = (agents: Agent[]) =>
    agents.slice(0, limits.drainListedMax).map(({ id, role, status }) => ({ id, role, status }))
  return {
    draining: drain.draining(),
    empty: running.length === 0 && reserved === 0,
    running: listed(running),
    staying: listed(staying),
    reserved,
  }
}
