/** A seed is a run: the same one again, event by event; another seed, another run. */
import { expect, test } from 'vitest'
import { runScenario } from './scenarios.ts'
import type { ScenarioOptions } from './stage.ts'

const traceOf = async (options: ScenarioOptions) => {
  const { traceHash, events, p99Ms, details } = await runScenario(options)
  const { heapMb: _, ...counted } = details
  return { traceHash, events, p99Ms, counted }
}

test.each(['ad', 'churn', 'starved'] as const)(
  'the same seed replays %s exactly, and another does not',
  async (scenario) => {
    const options = { scenario, nodes: 24, seconds: 10, faults: { drop: 0.05, loss: 0.01 } }
    const first = await traceOf({ ...options, seed: 'one' })
    expect(await traceOf({ ...options, seed: 'one' })).toEqual(first)
    expect((await traceOf({ ...options, seed: 'two' })).traceHash).not.toBe(first.traceHash)
  },
)
