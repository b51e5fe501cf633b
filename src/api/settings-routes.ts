/** Settings that change while the node runs. */
import { audited } from './audited.ts'
import type { App, RouteDeps } from './routes.ts'
import { FailoverChange, FailoverReport, NoQuery } from './schemas.ts'

export const addSettingsRoutes = (app: App, { services }: RouteDeps): void => {
  app.get(
    '/v1/settings/failover',
    {
      schema: {
        summary: 'When a peer counts as gone and as back',
        querystring: NoQuery,
        response: { 200: FailoverReport },
      },
    },
    async () => services.failover.report(),
  )

  app.put(
    '/v1/settings/failover',
    {
      schema: {
        summary: 'Changes that at once, for the realm where a root key of it is here, else for this node',
        querystring: NoQuery,
        body: FailoverChange,
        response: { 200: FailoverReport },
      },
    },
    async ({ body }) => audited(services.audit, { action: 'configure' }, () => services.failover.configure(body)),
  )
}
