import { describe, expect, test } from 'vitest'
import { limits } from '../../../src/base/limits.ts'
import {
  initialLiveness,
  stepLiveness,
  troubleOf,
  type LivenessEffect,
  type LivenessEvent,
  type LivenessState,
} from '../../../src/mesh/liveness.ts'

/** How a subject behaves: to a probe, and to those that are asked. `silence` is no event at all. */
interface Behaviour {
  direct: 'answer' | 'refuse' | 'silence'
  others: ('yes' | 'no' | 'unknown')[]
}
const well: Behaviour = { direct: 'answer', others: [] }
const crashed: Behaviour = { direct: 'refuse', others: ['no', 'no', 'no'] }
const silent: Behaviour = { direct: 'silence', others: ['no', 'no', 'no'] }
const farOff: Behaviour = { direct: 'silence', others: ['no', 'yes', 'no'] }
const alone: Behaviour = { direct: 'silence', others: [] }

/** Plays a script tick by tick; answers come at once, a little later than the tick. */
const play = (script: {
  seconds: number
  behaves: (peer: string, nowMs: number) => Behaviour
  subjects?: { peer: string; incarnation: number }[]
  before?: (nowMs: number) => LivenessEvent[]
  /** False where the node stands still. */
  ticks?: (nowMs: number) => boolean
}) => {
  const { seconds, behaves, subjects = [{ peer: 'b', incarnation: 1 }], before = () => [], ticks = () => true } = script
  let state: LivenessState = initialLiveness
  const probes: { peer: string; nowMs: number }[] = []
  const asks: { peer: string; nowMs: number }[] = []
  const accusations: (Extract<LivenessEffect, { type: 'accuse' }> & { nowMs: number })[] = []
  const apply = (event: LivenessEvent): void => {
    const [next, effects] = stepLiveness(state, event, limits)
    state = next
    for (const effect of effects) perform(effect, event.nowMs)
  }
  const perform = (effect: LivenessEffect, nowMs: number): void => {
    const { peer } = effect
    if (effect.type === 'accuse') return void accusations.push({ ...effect, nowMs })
    const { direct, others } = behaves(peer, nowMs)
    const { round } = effect
    if (effect.type === 'probe') {
      probes.push({ peer, nowMs })
      if (direct === 'answer') apply({ type: 'answered', nowMs: nowMs + 10, peer, rttMs: 10 })
      if (direct === 'refuse') apply({ type: 'failed', nowMs: nowMs + 1, peer, round, evidence: 'refused' })
    } else {
      asks.push({ peer, nowMs })
      apply({ type: 'asked', nowMs, peer, round, helpers: others.length })
      for (const outcome of others) apply({ type: 'helped', nowMs: nowMs + 5, peer, round, outcome })
    }
  }
  apply({ type: 'watch', nowMs: 0, subjects })
  for (let nowMs = 0; nowMs <= seconds * 1_000; nowMs += limits.livenessTickMs) {
    for (const event of before(nowMs)) apply(event)
    if (ticks(nowMs)) apply({ type: 'tick', nowMs })
  }
  return { probes, asks, accusations, state, apply }
}

const five = ['b', 'c', 'd', 'e', 'f'].map((peer) => ({ peer, incarnation: 1 }))

describe('the detector', () => {
  test('a peer that answers is probed once per interval, nobody is asked, and it is never accused', () => {
    const { probes, asks, accusations, state } = play({ seconds: 10, behaves: () => well })
    expect(probes).toHaveLength(11)
    expect(asks).toEqual([])
    expect(accusations).toEqual([])
    expect(state.subjects.get('b')).toMatchObject({ misses: 0, link: 'direct', rttMs: 10 })
  })

  test.each([
    ['refuses', crashed, 7_000, 'refused'],
    ['falls silent', silent, 8_000, 'no-answer'],
  ] as const)('a peer that %s is accused at the third miss, once, with what was met', (_, how, atMs, evidence) => {
    const { accusations } = play({ seconds: 20, behaves: (_peer, nowMs) => (nowMs < 5_000 ? well : how) })
    expect(accusations).toMatchObject([{ peer: 'b', incarnation: 1, evidence, aloud: true }])
    expect(Math.abs(accusations[0]!.nowMs - atMs)).toBeLessThanOrEqual(limits.livenessTickMs)
  })

  test('others are asked before a miss counts: at once after a refusal, after half the time of a silence', () => {
    expect(play({ seconds: 0, behaves: () => crashed }).asks).toEqual([{ peer: 'b', nowMs: 1 }])
    expect(play({ seconds: 0.5, behaves: () => silent }).asks).toEqual([{ peer: 'b', nowMs: limits.probeAskMs }])
  })

  test('one yes is an answer: the peer is never accused, and the link is shown as indirect until it answers itself', () => {
    const { accusations, state } = play({ seconds: 30, behaves: () => farOff })
    expect(accusations).toEqual([])
    expect(state.subjects.get('b')).toMatchObject({ misses: 0, link: 'indirect' })
    const healed = play({ seconds: 30, behaves: (_, nowMs) => (nowMs < 20_000 ? farOff : well) })
    expect(healed.state.subjects.get('b')).toMatchObject({ misses: 0, link: 'direct' })
  })

  test('an answer that comes late, while others are asked, counts', () => {
    const late = (nowMs: number): LivenessEvent[] =>
      nowMs % 1_000 === 750 ? [{ type: 'answered', nowMs, peer: 'b', rttMs: 750 }] : []
    const { accusations, state } = play({ seconds: 20, behaves: () => silent, before: late })
    expect(accusations).toEqual([])
    expect(state.subjects.get('b')).toMatchObject({ link: 'direct', rttMs: 750 })
  })

  test('what belongs to an earlier probe does not count against the subject', () => {
    const old = (nowMs: number): LivenessEvent[] => [
      { type: 'failed', nowMs, peer: 'b', round: 0, evidence: 'refused' },
      { type: 'helped', nowMs, peer: 'b', round: 0, outcome: 'no' },
    ]
    expect(play({ seconds: 10, behaves: () => well, before: old }).accusations).toEqual([])
  })

  test('two misses between answers accuse nobody', () => {
    const behaves = (_: string, nowMs: number) => (nowMs % 3_000 === 0 ? well : crashed)
    expect(play({ seconds: 30, behaves }).accusations).toEqual([])
  })

  test('a closed connection brings the probe forward and counts as nothing by itself', () => {
    const closed = (nowMs: number): LivenessEvent[] =>
      nowMs === 4_500 ? [{ type: 'disconnected', nowMs, peer: 'b' }] : []
    const { probes, accusations } = play({ seconds: 10, behaves: () => well, before: closed })
    expect(probes.some(({ nowMs }) => nowMs === 4_500)).toBe(true)
    expect(accusations).toEqual([])
  })

  test('a peer that is back with a higher incarnation starts over and can be accused again', () => {
    const restart = (nowMs: number): LivenessEvent[] =>
      nowMs === 10_000 ? [{ type: 'watch', nowMs, subjects: [{ peer: 'b', incarnation: 2 }] }] : []
    const { accusations } = play({ seconds: 20, behaves: () => crashed, before: restart })
    expect(accusations.map(({ incarnation }) => incarnation)).toEqual([1, 2])
    expect(accusations[1]!.nowMs).toBeGreaterThanOrEqual(12_000)
  })

  test('a peer that is watched no longer is probed no longer', () => {
    const stop = (nowMs: number): LivenessEvent[] => (nowMs === 2_500 ? [{ type: 'watch', nowMs, subjects: [] }] : [])
    const { probes } = play({ seconds: 10, behaves: () => well, before: stop })
    expect(probes.map(({ nowMs }) => nowMs)).toEqual([0, 1_000, 2_000])
  })

  test('the first probes of several subjects are spread over the interval', () => {
    const { probes } = play({ seconds: 0.75, behaves: () => well, subjects: five.slice(0, 4) })
    expect(probes.map(({ nowMs }) => nowMs)).toEqual([0, 250, 500, 750])
  })

  test('a subject whose probe is under way is not probed again', () => {
    const { probes } = play({ seconds: 0.75, behaves: () => silent, before: () => [] })
    expect(probes).toHaveLength(1)
  })
})

describe('a detector that knows of itself', () => {
  test('that it lags accuses nobody until it has been well again for a while', () => {
    const lags = (nowMs: number) => nowMs % 1_000 === 0
    const { accusations, asks } = play({ seconds: 20, behaves: () => crashed, ticks: lags })
    expect(accusations).toEqual([])
    expect(asks).toHaveLength(1) // at the first tick, before it could know
    const recovers = (nowMs: number) => nowMs >= 10_000 || lags(nowMs)
    const [first] = play({ seconds: 20, behaves: () => crashed, ticks: recovers }).accusations
    expect(first!.nowMs).toBeGreaterThanOrEqual(10_000 + limits.probeIntervalMs + limits.probeTimeoutMs)
  })

  test('that it stood still accuses nobody for it, even where the end of its own waiting comes before the next tick', () => {
    let state = initialLiveness
    const accused: LivenessEffect[] = []
    const apply = (event: LivenessEvent): void => {
      const [next, effects] = stepLiveness(state, event, limits)
      state = next
      accused.push(...effects.filter(({ type }) => type === 'accuse'))
      for (const { type, peer, ...rest } of effects)
        if (type === 'ask' && 'round' in rest)
          apply({ type: 'asked', nowMs: event.nowMs, peer, round: rest.round, helpers: 0 })
    }
    const lost = (nowMs: number, round: number) =>
      apply({ type: 'failed', nowMs, peer: 'b', round, evidence: 'no-answer' })
    apply({ type: 'watch', nowMs: 0, subjects: [{ peer: 'b', incarnation: 1 }] })
    for (let nowMs = 0; nowMs <= 2_000; nowMs += limits.livenessTickMs) {
      apply({ type: 'tick', nowMs })
      if (nowMs < 2_000 && nowMs % 1_000 === 0) lost(nowMs, nowMs / 1_000 + 1)
    }
    expect(state.subjects.get('b')).toMatchObject({ misses: 2, phase: 'direct', round: 3 })
    lost(12_000, 3)
    apply({ type: 'tick', nowMs: 12_000 })
    expect(accused).toEqual([])
    expect(state.subjects.get('b')?.misses).toBe(2)
  })

  test('shows that it is slow, and why, while it is', () => {
    const pausing = (nowMs: number) => nowMs <= 5_000 || nowMs >= 9_000
    const { state } = play({ seconds: 9, behaves: () => well, ticks: pausing })
    expect(troubleOf(state, 9_500, limits)).toBe('loop-lag')
    expect(troubleOf(state, 12_000, limits)).toBeUndefined()
    expect(state.health).toBe(0) // an answer has come since
  })

  test('that nobody answers, neither subjects nor others, keeps to itself what it holds against them', () => {
    const { accusations, state } = play({ seconds: 20, behaves: () => alone, subjects: five })
    expect(accusations.length).toBe(5)
    expect(accusations.every(({ aloud }) => !aloud)).toBe(true)
    expect(troubleOf(state, 20_000, limits)).toBe('cut-off')
    expect(state.health).toBe(limits.localHealthMax)
  })

  test('that has lost most of its subjects while others confirm it says so', () => {
    const behaves = (peer: string) => (peer === 'b' ? well : crashed)
    const { accusations, state } = play({ seconds: 20, behaves, subjects: five })
    expect(accusations.map(({ aloud }) => aloud)).toEqual([true, true, true, true])
    expect(state.health).toBe(0)
  })

  test('stretches its timeouts as its health falls, and is back to them as it is answered', () => {
    const behaves = (_: string, nowMs: number) => (nowMs < 20_000 ? alone : well)
    const { probes, state } = play({ seconds: 40, behaves })
    const gaps = probes.slice(1).map(({ nowMs }, index) => nowMs - probes[index]!.nowMs)
    expect(gaps.slice(0, 3)).toEqual([1_000, 2_000, 3_000])
    expect(gaps.at(-1)).toBe(limits.probeIntervalMs)
    expect(state.health).toBe(0)
  })
})
