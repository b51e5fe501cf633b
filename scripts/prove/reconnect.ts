/** Reconnecting: whatever kind of cut a realm goes through, it is one again without a person, also when nodes start anew meanwhile. */
import { setTimeout as sleep } from 'node:timers/promises'
import { limits } from '../../src/base/limits.ts'
import { startHosts, type Host } from '../testbed/hosts.ts'
import type { Figure, Proof } from './proof.ts'
import { untilEqual, viewerOf } from './views.ts'

interface Case {
  readonly what: string
  readonly cutMs: number
  /** The hosts whose cables are pulled. */
  readonly cut: (hosts: readonly Host[]) => readonly Host[]
  /** What happens while they are. */
  readonly meanwhile?: (hosts: readonly Host[]) => Promise<void>
}

const restartFirst = async (hosts: readonly Host[]): Promise<void> => {
  await hosts[0]!.node.end('SIGKILL')
  await hosts[0]!.restart()
}

const short: Case = { what: 'one host cut off', cutMs: 15_000, cut: (hosts) => hosts.slice(0, 1) }
const renewed: Case = {
  what: 'one host cut off, its node killed and started anew on another port',
  cutMs: 25_000,
  cut: (hosts) => hosts.slice(0, 1),
  meanwhile: restartFirst,
}
const cases: readonly Case[] = [
  short,
  renewed,
  { what: 'all hosts cut off from each other', cutMs: 40_000, cut: (hosts) => hosts },
  { what: 'half of the hosts cut off', cutMs: 130_000, cut: (hosts) => hosts.slice(0, hosts.length / 2) },
]

export const proof: Proof = {
  claim: 'After any partition a realm is one again without a person.',
  async run({ quick, seed, say }) {
    const names = Array.from({ length: quick ? 3 : 6 }, (_, index) => `host-${index}`)
    const tried = quick ? [renewed] : cases
    const ran = `${names.length} processes on hosts of their own; silent cuts of ${tried.map(({ cutMs }) => cutMs / 1_000).join(', ')} s`
    const bed = await startHosts('reconnecting', names, {}, seed)
    if (!bed) return { ran, notRun: ['all of it: no network namespaces'], figures: [] }
    const figures: Figure[] = []
    try {
      const viewers = () => bed.hosts.map(({ node }) => viewerOf(node))
      await untilEqual('before', viewers(), 60_000)
      for (const { what, cutMs, cut, meanwhile } of tried) {
        const away = cut(bed.hosts)
        const endsAtMs = performance.now() + cutMs
        for (const { machine } of away) await machine.cut()
        await meanwhile?.(bed.hosts)
        await sleep(Math.max(0, endsAtMs - performance.now()))
        for (const { machine } of away) await machine.mend()
        const tookMs = await untilEqual(what, viewers(), 4 * limits.reconnectDelayMsMax)
        figures.push({
          what: `${what} for ${cutMs / 1_000} s: equal views after healing`,
          unit: 'ms',
          values: [tookMs],
          // A node that is tried again after its longest wait, then a dial and a sync.
          bound: limits.reconnectDelayMsMax + limits.dialTimeoutMs,
        })
        say(`${what}: equal after ${Math.round(tookMs)} ms`)
      }
    } finally {
      await bed.dispose()
    }
    return { ran, notRun: bed.notRun, figures }
  },
}
