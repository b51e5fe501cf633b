import { describe, expect, it } from 'vitest'
import { limits } from '../../../src/base/limits.ts'
import { initialReach, stepReach, type ReachEvent, type ReachState } from '../../../src/mesh/reachability.ts'

const tick = (more: Partial<Extract<ReachEvent, { type: 'tick' }>> = {}): ReachEvent => ({
  ...{ type: 'tick', nowMs: 1_000_000, diallers: [], direct: [], candidates: [], held: [] },
  ...more,
})
const state = (verdict: ReachState['verdict'], askAtMs = 2_000_000): ReachState => ({ verdict, askAtMs })
const step = (from: ReachState, event: ReachEvent) => stepReach(from, event, limits)

describe('how a node is reached', () => {
  it('is asked of two of those that are connected directly, and again after a while', () => {
    const asked = step(initialReach(0), tick({ direct: ['a', 'b', 'c'] }))
    expect(asked.ask).toEqual(['a', 'b'])
    expect(asked.state.askAtMs).toBe(1_000_000 + limits.reachabilityAskMs)
    expect(step(asked.state, tick({ direct: ['a'] })).ask).toEqual([])
    expect(step(state('reachable', 0), tick({ direct: ['a'] })).state.askAtMs).toBe(
      1_000_000 + limits.reachabilityIntervalMs,
    )
  })

  it.each([
    ['one got through', [false, true], 'reachable'],
    ['nobody got through', [false, false], 'unreachable'],
    ['nobody answered', [], 'unknown'],
  ] as const)('is known when %s', (_what, reached, verdict) => {
    expect(step(state('unknown'), { type: 'answers', reached }).state.verdict).toBe(verdict)
  })

  it('needs no question where somebody has dialled it', () => {
    expect(step(state('unreachable', 0), tick({ diallers: ['a'], direct: ['a'] }))).toMatchObject({
      state: { verdict: 'reachable' },
      ask: [],
    })
  })

  it('through two relays at most, by nobody asked twice, and by none once it is reachable', () => {
    const candidates = ['a', 'b', 'c']
    expect(step(state('unreachable'), tick({ candidates })).reserve).toEqual(['a', 'b'])
    expect(step(state('unreachable'), tick({ candidates, held: ['a'] })).reserve).toEqual(['b'])
    expect(step(state('unreachable'), tick({ candidates, held: ['a', 'b'] })).reserve).toEqual([])
    expect(step(state('unknown'), tick({ candidates })).reserve).toEqual([])
    expect(step(state('reachable'), tick({ held: ['a', 'b'] })).release).toEqual(['a', 'b'])
    expect(step(state('unreachable'), tick({ held: ['a'] })).release).toEqual([])
  })

  it('is not known any more when its addresses are others', () => {
    expect(step(state('unreachable'), { type: 'moved', nowMs: 5 }).state).toEqual({ verdict: 'unknown', askAtMs: 5 })
  })
})
