/** Agents: spawn, list, show, kill. A caller never says where an agent is. */
import { mintId } from '../base/ids.ts'
import { audited } from './audited.ts'
import type { App, RouteDeps } from './routes.ts'
import { Agent, AgentList, AgentParams, AgentQuery, KillQuery, NoQuery, SpawnRequest } from './schemas.ts'

export const addAgentRoutes = (app: App, { services, clock }: RouteDeps): void => {
  const { agents } = services
  app.post(
    '/v1/agents',
    {
      schema: {
        summary: 'Starts an agent where it fits best',
        description: 'With an id of the caller, a repeated request is the same request and never a second agent.',
        querystring: NoQuery,
        body: SpawnRequest,
        response: { 201: Agent },
      },
    },
    // A caller that goes away does not undo its spawn: it may ask again with the same id, and finds what it started.
    async ({ body }, reply) => {
      const id = body.id ?? mintId('ag', clock.wallMs())
      reply.code(201)
      return agents.spawn({ ...body, id })
    },
  )

  app.get(
    '/v1/agents',
    { schema: { summary: 'The agents of the realm', querystring: AgentQuery, response: { 200: AgentList } } },
    async ({ query }) => {
      const { label, ...filter } = query
      return agents.list({ ...filter, ...(label && { labels: readLabels(label) }) })
    },
  )

  app.get(
    '/v1/agents/:id',
    { schema: { summary: 'One agent', params: AgentParams, querystring: NoQuery, response: { 200: Agent } } },
    async ({ params }) => agents.get(params.id),
  )

  app.delete(
    '/v1/agents/:id',
    {
      schema: {
        summary: 'Ends an agent',
        description: 'Its workspace is kept for a day, unless purge is true.',
        params: AgentParams,
        querystring: KillQuery,
        response: { 200: Agent },
      },
    },
    async ({ params: { id }, query: { purge = false } }) => {
      const own = services.identity().peer
      const owner = await agents.get(id).then(
        (agent) => agent.owner,
        () => own, // what cannot be found is refused by the kill
      )
      const kill = () => agents.kill(id, { purge })
      if (owner === own) return kill()
      return audited(services.audit, { action: 'kill an agent of another owner', subject: id }, kill)
    },
  )
}

const readLabels = (pairs: string[]): Record<string, string> =>
  Object.fromEntries(pairs.map((pair) => [pair.slice(0, pair.indexOf('=')), pair.slice(pair.indexOf('=') + 1)]))
