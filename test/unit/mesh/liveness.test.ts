import { describe, expect, test } from 'vitest'
import { limits } from '../../../src/base/limits.ts'
import { initialLiveness, stepLiveness, type LivenessEffect, type LivenessEvent } from '../../../src/mesh/liveness.ts'

/** Plays a second-by-second script: which subject answers. Gives the accusations with their times. */
const play = (script: {
  seconds: number
  answers: (peer: string, nowMs: number) => boolean
  subjects?: { peer: string; incarnation: number }[]
  lagMs?: (nowMs: number) => number
  before?: (nowMs: number) => LivenessEvent[]
}) => {
  const { seconds, answers, subjects = [{ peer: 'b', incarnation: 1 }], lagMs = () => 0, before = () => [] } = script
  let state = initialLiveness
  const probes: { peer: string; nowMs: number }[] = []
  const accusations: { peer: string; incarnation: number; nowMs: number }[] = []
  const apply = (event: LivenessEvent): void => {
    const [next, effects]: [typeof state, LivenessEffect[]] = stepLiveness(state, event, limits)
    state = next
    const { nowMs } = event
    for (const effect of effects) {
      if (effect.type === 'accuse') accusations.push({ peer: effect.peer, incarnation: effect.incarnation, nowMs })
      else {
        probes.push({ peer: effect.peer, nowMs })
        apply({ type: answers(effect.peer, nowMs) ? 'answered' : 'missed', nowMs, peer: effect.peer })
      }
    }
  }
  apply({ type: 'watch', nowMs: 0, subjects })
  for (let nowMs = 0; nowMs <= seconds * 1_000; nowMs += limits.livenessTickMs) {
    for (const event of before(nowMs)) apply(event)
    apply({ type: 'tick', nowMs, lagMs: lagMs(nowMs) })
  }
  return { probes, accusations }
}

describe('the detector', () => {
  test('a peer that answers is probed once per interval and never accused', () => {
    const { probes, accusations } = play({ seconds: 10, answers: () => true })
    expect(probes).toHaveLength(11)
    expect(accusations).toEqual([])
  })

  test('a peer that falls silent is accused at the third miss, once', () => {
    const { accusations } = play({ seconds: 20, answers: (_, nowMs) => nowMs < 5_000 })
    expect(accusations).toEqual([{ peer: 'b', incarnation: 1, nowMs: 7_000 }])
  })

  test('two misses between answers accuse nobody', () => {
    const { accusations } = play({ seconds: 30, answers: (_, nowMs) => nowMs % 3_000 === 0 })
    expect(accusations).toEqual([])
  })

  test('a closed connection brings the probe forward and counts as nothing by itself', () => {
    const closed = (nowMs: number): LivenessEvent[] =>
      nowMs === 4_500 ? [{ type: 'disconnected', nowMs, peer: 'b' }] : []
    const { probes, accusations } = play({ seconds: 10, answers: () => true, before: closed })
    expect(probes.some(({ nowMs }) => nowMs === 4_500)).toBe(true)
    expect(accusations).toEqual([])
  })

  test('a node that lags accuses nobody until it has been well again for a while', () => {
    const silent = { seconds: 20, answers: () => false }
    expect(play({ ...silent, lagMs: () => limits.loopLagMs + 1 }).accusations).toEqual([])
    const [first] = play({ ...silent, lagMs: (nowMs) => (nowMs < 10_000 ? 5_000 : 0) }).accusations
    expect(first!.nowMs).toBeGreaterThanOrEqual(9_750 + limits.probeIntervalMs + limits.probeTimeoutMs)
  })

  test('a peer that is back with a higher incarnation starts over and can be accused again', () => {
    const restart = (nowMs: number): LivenessEvent[] =>
      nowMs === 10_000 ? [{ type: 'watch', nowMs, subjects: [{ peer: 'b', incarnation: 2 }] }] : []
    const { accusations } = play({ seconds: 20, answers: () => false, before: restart })
    expect(accusations.map(({ incarnation }) => incarnation)).toEqual([1, 2])
    expect(accusations[1]!.nowMs).toBeGreaterThanOrEqual(12_000)
  })

  test('a peer that is watched no longer is probed no longer', () => {
    const stop = (nowMs: number): LivenessEvent[] => (nowMs === 2_500 ? [{ type: 'watch', nowMs, subjects: [] }] : [])
    const { probes } = play({ seconds: 10, answers: () => true, before: stop })
    expect(probes.map(({ nowMs }) => nowMs)).toEqual([0, 1_000, 2_000])
  })

  test('the first probes of several subjects are spread over the interval', () => {
    const subjects = ['b', 'c', 'd', 'e'].map((peer) => ({ peer, incarnation: 1 }))
    const { probes } = play({ seconds: 0.75, answers: () => true, subjects })
    expect(probes.map(({ nowMs }) => nowMs)).toEqual([0, 250, 500, 750])
  })

  test('a subject whose probe is under way is not probed again', () => {
    const watch: LivenessEvent = { type: 'watch', nowMs: 0, subjects: [{ peer: 'b', incarnation: 1 }] }
    let [state] = stepLiveness(initialLiveness, watch, limits)
    const sent: LivenessEffect[] = []
    for (const nowMs of [0, 1_000, 2_000]) {
      const [next, effects] = stepLiveness(state, { type: 'tick', nowMs, lagMs: 0 }, limits)
      state = next
      sent.push(...effects)
    }
    expect(sent).toEqual([{ type: 'probe', peer: 'b' }])
  })
})
