/** Agents and specs with sensible values, for tests that care about a few fields only. */
import type { Agent, AgentSpec } from '../../src/base/agent.ts'

export const ID = 'ag_0192f0c1-2345-7abc-8def-0123456789ab'
export const REALM = 'a'.repeat(64)

export const agentWith = (fields: Partial<Agent> & Pick<Agent, 'host' | 'owner'>): Agent => ({
  id: ID,
  realm: REALM,
  role: 'worker',
  runtime: 'process',
  labels: {},
  status: 'idle',
  hostName: 'host',
  epoch: 1,
  isolation: 'bwrap',
  createdAtMs: 1,
  changedAtMs: 1,
  ...fields,
})

export const specWith = (fields: Partial<AgentSpec> & Pick<AgentSpec, 'owner'>): AgentSpec => ({
  id: ID,
  realm: REALM,
  role: 'worker',
  runtime: 'process',
  labels: {},
  requirements: {},
  ...fields,
})
