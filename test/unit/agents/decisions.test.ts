import { expect, test } from 'vitest'
import type { Decision } from '../../../src/base/need.ts'
import { createDecisions } from '../../../src/agents/decisions.ts'

const decision = (requestId: string): Decision => ({
  requestId,
  atMs: 1,
  need: { requestId, runtime: 'process', capabilities: [], gpu: false, nodeLabels: {} },
  strategy: 'least-loaded',
  rule: 'none',
  pick: null,
  level: null,
  considered: [],
  omitted: 0,
  attempts: [],
})

test('the newest are kept, newest first', () => {
  const decisions = createDecisions({ kept: 2 })
  for (const id of ['a', 'b', 'c']) decisions.add(decision(id))
  expect(decisions.recent(10).map((entry) => entry.requestId)).toEqual(['c', 'b'])
  expect(decisions.recent(1).map((entry) => entry.requestId)).toEqual(['c'])
})

test('a follower sees what comes from then on, each once, and ends when it is told to', async () => {
  const decisions = createDecisions({ kept: 10 })
  decisions.add(decision('before'))
  const abort = new AbortController()
  const seen: string[] = []
  const following = (async () => {
    for await (const entry of decisions.follow(abort.signal)) seen.push(entry.requestId)
  })()
  decisions.add(decision('one'))
  await new Promise(setImmediate)
  decisions.add(decision('two'))
  decisions.add(decision('three'))
  await new Promise(setImmediate)
  expect(seen).toEqual(['one', 'two', 'three'])
  abort.abort()
  await following
})
