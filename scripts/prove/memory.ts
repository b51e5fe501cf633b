/**
 * Memory under churn: nodes come and go for an hour, made shorter by intervals that are as much shorter, and the heap after a
 * collection does not grow. All nodes are in this process, so that what a dead one leaves behind counts too.
 */
import { setTimeout as sleep } from 'node:timers/promises'
import { setFlagsFromString } from 'node:v8'
import { runInNewContext } from 'node:vm'
import { limits, type Limits } from '../../src/base/limits.ts'
import { startMeshNode, type MeshNode } from '../../test/support/mesh.ts'
import type { Proof } from './proof.ts'
import { untilEqual, viewerIn } from './views.ts'

const hourMs = 60 * 60_000
const stable = 6
const passing = 6
/** Of the program's own time: one of the passing nodes is replaced so often. */
const replaceEveryMs = 30_000
const samplesEveryMs = 60_000
const growthBytesPerHourMax = 4 * 1024 * 1024

/** What recurs recurs so much more often; probes stay as they are, since the machine answers no faster. */
const faster = (times: number): Partial<Limits> => {
  const names = [
    'advertiseIntervalMsMin',
    'advertiseIntervalMsMax',
    'advertiseTokenEveryMs',
    'syncIntervalMs',
    'seedIntervalMs',
    'reconnectDelayMsMax',
    'certificateCheckIntervalMs',
    'tombstoneMs',
    'gossipSeenMs',
  ] as const
  return Object.fromEntries(names.map((name) => [name, Math.round(limits[name] / times)]))
}

const collector = (): (() => void) => {
  setFlagsFromString('--expose-gc')
  return runInNewContext('gc')
}

/** Bytes per millisecond, by least squares. */
const slopeOf = (samples: readonly { atMs: number; bytes: number }[]): number => {
  const mean = (values: number[]) => values.reduce((sum, each) => sum + each, 0) / values.length
  const [meanMs, meanBytes] = [mean(samples.map(({ atMs }) => atMs)), mean(samples.map(({ bytes }) => bytes))]
  const covariance = mean(samples.map(({ atMs, bytes }) => (atMs - meanMs) * (bytes - meanBytes)))
  return covariance / mean(samples.map(({ atMs }) => (atMs - meanMs) ** 2))
}

export const proof: Proof = {
  claim: 'Memory does not grow over an hour of churn.',
  async run({ quick, random, say }) {
    const times = quick ? 120 : 15
    const collect = collector()
    const changed = faster(times)
    const living: MeshNode[] = []
    let made = 0
    const next = (more: { join?: string; realm?: string }) =>
      startMeshNode({ name: `n${made++}`, limits: changed, ...more })
    const samples: { atMs: number; bytes: number }[] = []
    try {
      living.push(await next({ realm: 'lab' }))
      const token = await living[0]!.mesh.invite({ uses: 2_000, ttlMs: hourMs, role: 'member' })
      while (living.length < stable + passing) living.push(await next({ join: token }))
      await untilEqual('before', living.map(viewerIn), 60_000)
      const startMs = performance.now()
      // Tombstones and remembered messages are to have come and gone before it counts.
      const settledMs = limits.tombstoneMs + limits.gossipSeenMs
      for (let atMs = 0; atMs < settledMs + hourMs; atMs = (performance.now() - startMs) * times) {
        const gone = living.splice(stable + Math.floor(random() * passing), 1)[0]!
        await (random() < 0.5 ? gone.kill() : gone.leave())
        living.push(await next({ join: token }))
        if (atMs >= settledMs && atMs - (samples.at(-1)?.atMs ?? 0) >= samplesEveryMs) {
          collect()
          samples.push({ atMs, bytes: process.memoryUsage().heapUsed })
          say(
            `${Math.round((atMs - settledMs) / 60_000)} min: heap ${(samples.at(-1)!.bytes / 2 ** 20).toFixed(1)} MiB, ${made} nodes so far`,
          )
        }
        await sleep(replaceEveryMs / times)
      }
      await untilEqual('after', living.map(viewerIn), 60_000)
    } finally {
      await Promise.all(living.map((node) => node.kill()))
    }
    const perHour = slopeOf(samples) * hourMs
    return {
      ran:
        `${stable} nodes that stay and ${passing} that are replaced one after the other, ${made} in all, in one process; ` +
        `an hour in ${Math.round(hourMs / times / 1_000)} s by intervals that are ${times} times shorter (probes as they are), ` +
        'after as long as tombstones last; heap after a full collection, least squares',
      notRun: [],
      figures: [
        { what: 'heap after collection', unit: 'MiB', values: samples.map(({ bytes }) => bytes / 2 ** 20) },
        {
          what: 'growth in an hour of churn',
          unit: 'MiB',
          values: [perHour / 2 ** 20],
          bound: growthBytesPerHourMax / 2 ** 20,
        },
      ],
    }
  },
}
