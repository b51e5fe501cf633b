/** Every scenario of the simulator at a size that is quick, with what must come out of it. */
import { describe, expect, test } from 'vitest'
import { limits } from '../../src/base/limits.ts'
import { spreadOf } from './measure.ts'
import { runScenario, runScenarios, type ScenarioResult } from './scenarios.ts'

const sane = (result: ScenarioResult): void => {
  expect(result.missing, JSON.stringify(result)).toBe(0)
  expect(result.viewsEqual, JSON.stringify(result)).toBe(true)
}
const calm = (result: ScenarioResult): void => {
  sane(result)
  expect(result.falseDowns, JSON.stringify(result)).toBe(0)
}

describe('in a realm of simulated nodes', () => {
  test('a change of load reaches everybody within a second', async () => {
    const result = await runScenario({ scenario: 'ad', nodes: 100, seed: 'test', times: 5 })
    calm(result)
    expect(result.samples).toBe(5 * 99)
    expect(result.p99Ms).toBeLessThan(1_000)
    expect(result.p50Ms).toBeGreaterThan(0.2)
  })

  test('a change reaches everybody though gossip is lost, doubled and disordered', async () => {
    const faults = { drop: 0.2, duplicate: 0.1, reorder: 0.2, loss: 0.02 }
    const result = await runScenario({ scenario: 'ad', nodes: 50, seed: 'test', times: 3, faults })
    calm(result)
    expect(result.maxMs).toBeLessThan(5_000)
  })

  test('a leave reaches everybody within a second', async () => {
    const result = await runScenario({ scenario: 'leave', nodes: 60, seed: 'test', times: 3 })
    calm(result)
    expect(result.p99Ms).toBeLessThan(1_000)
    expect(result.details['nodesUp']).toBe(57)
  })

  test('a newcomer sees everybody within a second, and is seen', async () => {
    const result = await runScenario({ scenario: 'join', nodes: 60, seed: 'test', times: 3 })
    calm(result)
    expect(result.samples).toBe(3)
    expect(result.maxMs).toBeLessThan(1_000)
    expect(result.details['seenByOthersP99Ms']).toBeLessThan(1_000)
  })

  test('a crash is known everywhere within twelve seconds, and no sooner than accusations stand', async () => {
    const result = await runScenario({ scenario: 'crash', nodes: 60, seed: 'test', times: 4 })
    calm(result)
    expect(result.p99Ms).toBeLessThan(12_000)
    expect(result.p50Ms).toBeGreaterThan(limits.downWaitMsMin)
  })

  test('after a partition all views are equal within one sync interval', async () => {
    const result = await runScenario({ scenario: 'partition', nodes: 40, seed: 'test', seconds: 60 })
    calm(result)
    expect(result.details['mostSeen']).toBeLessThan(40)
    expect(result.maxMs).toBeLessThanOrEqual(limits.syncIntervalMs)
  })

  test('after a third of the nodes came and went all views are equal', async () => {
    const result = await runScenario({ scenario: 'churn', nodes: 40, seed: 'test', seconds: 40 })
    calm(result)
    expect(result.details['returned']).toBeGreaterThan(3)
    expect(result.maxMs).toBeLessThan(30_000)
  })

  test('nodes without processor time do no harm to those that are well', async () => {
    const result = await runScenario({ scenario: 'starved', nodes: 40, seed: 'test', seconds: 60 })
    sane(result)
    expect(result.details['starved']).toBe(4)
    expect(result.details['falseDownsOfOthers']).toBe(0)
    expect(result.p99Ms).toBeLessThan(1_000)
  })

  test('what members say reaches everybody within seconds while one of them floods the realm', async () => {
    const result = await runScenario({ scenario: 'flood', nodes: 20, seed: 'test', seconds: 5 })
    sane(result)
    expect(result.details['saidPerSecond']).toBeGreaterThan(900)
    expect(result.samples).toBeGreaterThanOrEqual(18)
    expect(result.p99Ms).toBeLessThan(5_000)
  })

  test('each of several scenarios is counted by itself, and by the nodes that are up', async () => {
    const options = { scenario: 'crash', nodes: 20, seed: 'test', times: 2 } as const
    const [crash, ad] = await runScenarios(options, ['crash', 'ad'])
    const days = (result: ScenarioResult, seconds: number) => (result.nodeDays * 86_400) / seconds
    const [total, first] = [ad!.simulatedSeconds, crash!.simulatedSeconds]
    expect(days(crash!, first - 2)).toBeGreaterThan(17.5)
    expect(days(crash!, first - 2)).toBeLessThan(20.5)
    expect(ad!.nodeDays).toBeLessThan((18.5 * (total - first + 1)) / 86_400)
    expect(ad!.nodeDays).toBeGreaterThan(0)
  })
})

test('of what nobody saw there are no times', () => {
  expect(spreadOf([])).toEqual({ p50Ms: null, p99Ms: null, maxMs: null })
})
