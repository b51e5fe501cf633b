/** The node itself and its realm: health, identity, status, peers, invitations, metrics. */
import { GodelError } from '../base/errors.ts'
import { audited } from './audited.ts'
import type { App, RouteDeps } from './routes.ts'
import {
  Health,
  Identity,
  Invitation,
  InvitationRequest,
  NodeStatusReport,
  NoQuery,
  Peers,
  RealmReport,
} from './schemas.ts'

export const addNodeRoutes = (app: App, { services, limits }: RouteDeps): void => {
  app.get(
    '/v1/health',
    {
      config: { open: true },
      schema: {
        summary: 'Whether the process lives and takes work',
        security: [],
        querystring: NoQuery,
        response: { 200: Health, 503: Health },
      },
    },
    async (_request, reply) => {
      const health = services.health()
      reply.code(health.ready ? 200 : 503)
      return health
    },
  )

  app.get(
    '/v1/identity',
    {
      config: { open: true },
      schema: { summary: 'Who this node is', security: [], querystring: NoQuery, response: { 200: Identity } },
    },
    async () => services.identity(),
  )

  app.get(
    '/v1/node',
    { schema: { summary: 'The state of this node', querystring: NoQuery, response: { 200: NodeStatusReport } } },
    async () => services.node(),
  )

  app.get(
    '/v1/peers',
    {
      schema: {
        summary: 'The nodes of the realm as this one sees them',
        querystring: NoQuery,
        response: { 200: Peers },
      },
    },
    async () => ({ peers: services.peers() }),
  )

  app.get(
    '/v1/realm',
    { schema: { summary: 'The realm of this node', querystring: NoQuery, response: { 200: RealmReport } } },
    async () => {
      const realm = services.realm()
      if (realm === undefined) throw new GodelError({ code: 'REALM_REQUIRED', action: 'showing the realm' })
      return realm
    },
  )

  app.post(
    '/v1/realm/invitations',
    {
      schema: {
        summary: 'Makes a join token',
        querystring: NoQuery,
        body: InvitationRequest,
        response: { 201: Invitation },
      },
    },
    async ({ body }, reply) => {
      reply.code(201)
      const { uses = 1, role = 'member' } = body
      const ttlMs = body.ttlSeconds === undefined ? limits.tokenTtlMs : body.ttlSeconds * 1_000
      const action = `invite ${uses} as ${role}`
      return audited(services.audit, { action }, () => services.invite({ uses, ttlMs, role }))
    },
  )

  app.get(
    '/metrics',
    { schema: { summary: 'Metrics in the text format of Prometheus', querystring: NoQuery, produces: ['text/plain'] } },
    async (_request, reply) => reply.type('text/plain; version=0.0.4; charset=utf-8').send(await services.metrics()),
  )
}
