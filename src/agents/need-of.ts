/** From a request to what the host is told and what the router looks for: defaults are filled in here and nowhere else. */
import type { Agent, AgentSpec, SpawnRequest } from '../base/agent.ts'
import type { Need } from '../base/need.ts'

/** The request with its defaults: role `worker`, runtime `process`, a GPU where a type of GPU is named. */
export const specOf = (
  request: SpawnRequest & { id: string },
  { owner, realm }: { owner: string; realm: string },
): AgentSpec => {
  const {
    id,
    role = 'worker',
    runtime = 'process',
    labels = {},
    requirements = {},
    model,
    timeoutSeconds,
    workspace,
  } = request
  return {
    id,
    realm,
    owner,
    role,
    runtime,
    labels,
    requirements: requirements.gpuType === undefined ? requirements : { ...requirements, gpu: true },
    ...(model !== undefined && { model }),
    ...(timeoutSeconds !== undefined && { timeoutSeconds }),
    ...(workspace && 'git' in workspace && { git: workspace.git }),
  }
}

/** What the router looks for. The agent's id is the request's, so that a repeated request breaks ties the same way. */
export const needOf = ({ id, runtime, requirements: wants }: AgentSpec): Need => ({
  requestId: id,
  runtime,
  capabilities: wants.capabilities ?? [],
  gpu: wants.gpu ?? false,
  nodeLabels: wants.nodeLabels ?? {},
  ...(wants.gpuType !== undefined && { gpuType: wants.gpuType }),
  ...(wants.region !== undefined && { region: wants.region }),
  ...(wants.node !== undefined && { node: wants.node }),
  ...(wants.isolation !== undefined && { isolation: wants.isolation }),
})

/**
 * The agent of a spec at the start of an epoch. Field by field: a spec may hold more than is asked of it, and an agent is
 * handed on to everybody.
 */
export const startingAgent = (
  { id, realm, owner, role, model, runtime, labels }: AgentSpec,
  at: Pick<Agent, 'host' | 'hostName' | 'epoch' | 'isolation'>,
  nowMs: number,
): Agent => ({
  ...{ id, realm, owner, role, runtime, labels },
  ...(model !== undefined && { model }),
  status: 'starting',
  ...at,
  createdAtMs: nowMs,
  changedAtMs: nowMs,
})
