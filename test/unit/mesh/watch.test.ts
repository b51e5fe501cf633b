/** The shell of the detector on a clock of its own, with a net that answers as it is told. */
import { describe, expect, test } from 'vitest'
import { limits } from '../../../src/base/limits.ts'
import { silentLog } from '../../../src/base/log.ts'
import { silentMeter } from '../../../src/base/meter.ts'
import { nodeProbe } from '../../../src/mesh/methods.ts'
import type { ProbeOutcome } from '../../../src/mesh/probe.ts'
import { probeForOthers } from '../../../src/mesh/probe-serving.ts'
import { createView } from '../../../src/mesh/view.ts'
import { startWatch, type Accusing } from '../../../src/mesh/watch.ts'
import { createFakeClock } from '../../fakes/clock.ts'
import { accusationBy, keyOf, recordOf } from './peers.ts'

const [self, a, b, c] = ['self', 'a', 'b', 'c'].map((name) => keyOf(name).peer) as [string, string, string, string]
const gone: ProbeOutcome = { answered: false, evidence: 'refused' }
const there: ProbeOutcome = { answered: true, rttMs: 7 }

const startShell = (options: { settings?: object } = {}) => {
  const clock = createFakeClock()
  const view = createView({ clock, limits, log: silentLog }, { peer: self })
  const now = () => clock.monotonicMs()
  const hear = (peer: string, incarnation = 1) =>
    view.merge(recordOf(peer, { incarnation, ttlMs: 900_000 }, { issuedAtMs: now() }))
  const own = recordOf(self, {}, { issuedAtMs: now() })
  view.setSelf(own, () => own.ad)
  const behaves: Record<string, ProbeOutcome> = { [a]: there, [b]: there, [c]: there }
  const helps: Record<string, 'yes' | 'no'> = { [a]: 'no', [b]: 'no', [c]: 'no' }
  const probed: string[] = []
  const asked: string[] = []
  const answered: string[] = []
  const accused: Accusing[] = []
  const settings = { healthCheckIntervalMs: 1_000, failureThreshold: 3, recoveryTimeMs: 5_000, ...options.settings }
  const watch = startWatch({
    ...{ view, clock, limits, log: silentLog, meter: silentMeter, random: () => 0, settings: () => settings },
    net: {
      peer: self,
      rpc: {
        async call(helper: string) {
          asked.push(helper)
          return { outcome: helps[helper] }
        },
      } as never,
    },
    accept: { ad: async () => 'known' },
    async probe(peer) {
      probed.push(peer)
      return behaves[peer]!
    },
    partners: () => [a, b, c],
    async accuse(accusing) {
      accused.push(accusing)
      view.accuse(accusing.subject, accusing.incarnation, accusationBy(self, now()))
    },
    onAnswered: (peer) => answered.push(peer),
  })
  return { clock, view, hear, behaves, helps, probed, asked, answered, accused, settings, watch }
}

describe('a watcher', () => {
  test('goes on probing a peer that is down by its own word, and says so when it answers', async () => {
    const { clock, view, hear, behaves, probed, answered, accused } = startShell()
    for (const peer of [a, b, c]) hear(peer)
    behaves[a] = gone
    await clock.advance(5_000)
    expect(accused).toMatchObject([{ subject: a, evidence: 'refused', aloud: true }])
    await clock.advance(30_000)
    expect(view.get(a)?.state).toBe('down')
    probed.length = 0
    answered.length = 0
    await clock.advance(5_000)
    expect(probed.filter((peer) => peer === a)).toHaveLength(5)
    behaves[a] = there
    await clock.advance(1_250)
    expect(answered).toContain(a)
  })

  test('asks connected members before it counts a miss, never the subject itself', async () => {
    const { clock, hear, behaves, helps, asked, accused, watch } = startShell()
    for (const peer of [a, b, c]) hear(peer)
    await clock.advance(2_000)
    expect(asked).toEqual([])
    behaves[a] = gone
    helps[b] = 'yes'
    await clock.advance(20_000)
    expect(new Set(asked)).toEqual(new Set([b, c]))
    expect(accused).toEqual([])
    expect(watch.linkOf(a)).toMatchObject({ link: 'indirect', misses: 0 })
    expect(watch.linkOf(b)).toMatchObject({ link: 'direct', rttMs: 7 })
  })

  test('takes new settings up while it runs', async () => {
    const { clock, hear, behaves, probed, accused, settings } = startShell({ settings: { failureThreshold: 20 } })
    for (const peer of [a, b, c]) hear(peer)
    behaves[a] = gone
    await clock.advance(10_000)
    expect(accused).toEqual([])
    Object.assign(settings, { failureThreshold: 2, healthCheckIntervalMs: 4_000 })
    await clock.advance(3_000)
    expect(accused).toHaveLength(1)
    probed.length = 0
    await clock.advance(20_000)
    expect(probed.filter((peer) => peer === b)).toHaveLength(5)
  })
})

describe('probing for others', () => {
  const serve = (outcome: () => Promise<ProbeOutcome>) => {
    const clock = createFakeClock()
    const heard: string[] = []
    const [bound] = probeForOthers({
      ...{ clock, limits, self, probe: outcome, onAnswered: (peer: string) => heard.push(peer) },
      view: { get: (peer) => (peer === c ? undefined : ({ peer } as never)) },
    })
    const ask = (peer: string, asker = b) =>
      bound!.handle({ peer } as never, { peer: asker } as never) as Promise<unknown>
    return { clock, heard, ask, method: bound!.method }
  }

  test('says yes or no, and tells who answered what stands against it', async () => {
    const yes = serve(async () => there)
    expect(await yes.ask(a)).toMatchObject({ outcome: 'yes', rttMs: 7 })
    expect(yes.heard).toEqual([a])
    const no = serve(async () => gone)
    expect(await no.ask(a)).toEqual({ outcome: 'no' })
    expect(await no.ask(self)).toEqual({ outcome: 'yes', rttMs: 0 })
    expect(yes.method).toBe(nodeProbe)
  })

  test('is refused for a peer that is not known, and to one that asks too often', async () => {
    const { ask, clock } = serve(async () => there)
    await expect(ask(c)).rejects.toMatchObject({ code: 'NOT_FOUND' })
    for (let count = 1; count < limits.probesForOthersPerSecond; count++) await ask(a)
    await expect(ask(a)).rejects.toMatchObject({ code: 'RATE_LIMITED', detail: { retryAfterMs: 1_000 } })
    await expect(ask(a, a)).resolves.toMatchObject({ outcome: 'yes' })
    await clock.advance(1_000)
    await expect(ask(a)).resolves.toMatchObject({ outcome: 'yes' })
  })

  test('of one subject is one probe, however many ask, and many subjects are not probed at once', async () => {
    let probes = 0
    const { promise, resolve } = Promise.withResolvers<ProbeOutcome>()
    const { ask } = serve(() => {
      probes++
      return promise
    })
    const waiting = [ask(a, a), ask(a, b), ask(a, keyOf('other').peer)]
    expect(probes).toBe(1)
    const many = Array.from({ length: limits.probesForOthersMax - 1 }, (_, index) => {
      return ask(keyOf(`subject ${index}`).peer, keyOf(`asker ${index}`).peer)
    })
    await expect(ask(b, a)).resolves.toEqual({ outcome: 'unknown' })
    resolve(gone)
    expect(await Promise.all([...waiting, ...many])).toHaveLength(limits.probesForOthersMax + 2)
  })
})
