/** What a node answers to its peers about its agents. */
import { expect, test } from 'vitest'
import { agentList } from '../../../src/agents/methods.ts'
import { agentMethods } from '../../../src/agents/serving.ts'
import type { Agent } from '../../../src/base/agent.ts'
import { encode } from '../../../src/base/codec.ts'
import { mintId } from '../../../src/base/ids.ts'
import { limits } from '../../../src/base/limits.ts'
import { agentWith, REALM } from '../../support/agents.ts'

const peer = `12D3KooW${'A'.repeat(44)}`

/** As large as the schema lets an agent be. */
const largest = (n: number): Agent => {
  const labels = Array.from({ length: limits.labelsMax }, (_, at) => [
    `l${at}`.padEnd(limits.labelKeyLengthMax, 'x'),
    '\u{1F916}'.repeat(limits.labelValueLengthMax),
  ])
  const reason = '\u{1F916}'.repeat(1_024)
  return agentWith({ id: mintId('ag', n), host: peer, owner: peer, labels: Object.fromEntries(labels), reason })
}

test('a list of agents fits into its answers, however large the agents are, and none is left out', async () => {
  const agents = Array.from({ length: 40 }, (_, n) => largest(n))
  const orphans = Array.from({ length: 200 }, (_, n) => agentWith({ id: mintId('ag', n), host: peer, owner: peer }))
  const mesh = { membership: () => ({ role: 'observer' }), realm: () => ({ id: REALM }) }
  const parts = { mesh, host: { list: () => agents }, ownership: { orphans: () => orphans }, limits }
  const { handle } = agentMethods(parts as never).find(({ method }) => method.name === agentList.name)!
  const pages = handle({ unanswered: [] } as never, { peer } as never) as AsyncIterable<typeof response>
  const got: typeof response = { agents: [], orphans: [] }
  for await (const page of pages) {
    expect(encode(page).byteLength).toBeLessThan(agentList.responseBytesMax)
    const { agents: some, orphans: others } = agentList.parseResponse(page)
    got.agents.push(...some)
    got.orphans.push(...others)
  }
  expect(got).toEqual({ agents, orphans })
})

declare const response: { agents: Agent[]; orphans: Agent[] }
