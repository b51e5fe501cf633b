/** A partition: half of the hosts are cut off from the other half, silently, and after it heals all views are equal within a sync. */
import { setTimeout as sleep } from 'node:timers/promises'
import { limits } from '../../src/base/limits.ts'
import { startHosts } from '../testbed/hosts.ts'
import type { Proof } from './proof.ts'
import { untilEqual, viewerOf } from './views.ts'

const conditions = { delayMs: 10, jitterMs: 5, lossPercent: 0.5 }

export const proof: Proof = {
  claim: 'After a partition of one minute heals, all views are equal within one sync interval.',
  async run({ quick, seed, say }) {
    const [count, cutMs, rounds] = quick ? [4, 20_000, 1] : [8, 60_000, 3]
    const names = Array.from({ length: count }, (_, index) => `host-${index}`)
    const ran =
      `${count} processes on hosts of their own (${conditions.delayMs}-${conditions.delayMs + conditions.jitterMs} ms each way, ` +
      `${conditions.lossPercent} % loss); half of them silently moved to another switch for ${cutMs / 1_000} s, ${rounds} times`
    const bed = await startHosts('a partition', names, conditions, seed)
    if (!bed) return { ran, notRun: ['all of it: no network namespaces'], figures: [] }
    const sides: number[] = []
    const healed: number[] = []
    try {
      const viewers = bed.hosts.map(({ node }) => viewerOf(node))
      await untilEqual('before', viewers, 60_000)
      for (let round = 0; round < rounds; round++) {
        const [here, there] = [viewers.slice(0, count / 2), viewers.slice(count / 2)]
        const endsAtMs = performance.now() + cutMs
        for (const { machine } of bed.hosts.slice(0, count / 2)) await machine.part()
        sides.push(...(await Promise.all([here, there].map((side) => untilEqual('one side', side, cutMs)))))
        await sleep(Math.max(0, endsAtMs - performance.now()))
        for (const { machine } of bed.hosts) await machine.mend()
        healed.push(await untilEqual('after healing', viewers, 4 * limits.syncIntervalMs))
        say(`round ${round + 1}: equal ${Math.round(healed.at(-1)!)} ms after healing`)
      }
    } finally {
      await bed.dispose()
    }
    return {
      ran,
      notRun: bed.notRun,
      figures: [
        { what: 'each side agrees on who is out of its reach after', unit: 'ms', values: sides, bound: cutMs },
        { what: 'all views equal after healing', unit: 'ms', values: healed, bound: limits.syncIntervalMs },
      ],
    }
  },
}
