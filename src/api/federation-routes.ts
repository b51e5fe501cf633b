/** Single nodes outside the realm, pinned by their PeerId on both sides. */
import { audited } from './audited.ts'
import type { App, RouteDeps } from './routes.ts'
import { NoQuery, Pin, PinParams, PinRequest, Pins } from './schemas.ts'

export const addFederationRoutes = (app: App, { services: { pins, audit }, limits }: RouteDeps): void => {
  app.get(
    '/v1/federation/peers',
    { schema: { summary: 'The nodes that this one has pinned', querystring: NoQuery, response: { 200: Pins } } },
    async () => ({ peers: pins.list() }),
  )

  app.post(
    '/v1/federation/peers',
    {
      schema: {
        summary: 'Pins a node by its PeerId, or changes a pin',
        description: 'Both sides pin each other. Without scopes the node may do nothing here; agents may go there.',
        querystring: NoQuery,
        body: PinRequest,
        response: { 200: Pin },
      },
    },
    ({ body }) => {
      const { peer, name, addresses = [], scopes = [], agentsPerNode = limits.guestAgentsPerNode } = body
      const action = `register with ${scopes.join(', ') || 'no scopes'}`
      return audited(audit, { action, subject: peer }, () =>
        pins.register({ peer, name, addresses, scopes, agentsPerNode }),
      )
    },
  )

  app.delete(
    '/v1/federation/peers/:peer',
    {
      schema: {
        summary: 'Ends a pin and what goes on by it',
        params: PinParams,
        querystring: NoQuery,
        response: { 200: Pins },
      },
    },
    async ({ params: { peer } }) => {
      await audited(audit, { action: 'unregister', subject: peer }, () => pins.unregister(peer))
      return { peers: pins.list() }
    },
  )
}
