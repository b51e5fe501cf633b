/** What an operator does with this node alone: draining it, and reading up what was done and refused. */
import { audited } from './audited.ts'
import type { App, RouteDeps } from './routes.ts'
import { AuditLog, AuditQuery, DrainReport, NoBody, NoQuery } from './schemas.ts'

export const addOperatorRoutes = (app: App, { services, limits }: RouteDeps): void => {
  const { audit, drain } = services

  app.get(
    '/v1/node/drain',
    { schema: { summary: 'What still runs here', querystring: NoQuery, response: { 200: DrainReport } } },
    async () => drain.report(),
  )

  app.post(
    '/v1/node/drain',
    {
      schema: {
        summary: 'Takes nothing new from now on',
        description:
          'Kept over restarts. It answers at once with what still runs; ask for the report again until it says empty. ' +
          'Commands in agents that are here are still taken.',
        querystring: NoQuery,
        body: NoBody,
        response: { 200: DrainReport },
      },
    },
    async () => {
      await audited(audit, { action: 'drain' }, () => drain.set(true))
      return drain.report()
    },
  )

  app.delete(
    '/v1/node/drain',
    { schema: { summary: 'Takes agents again', querystring: NoQuery, response: { 200: DrainReport } } },
    async () => {
      await audited(audit, { action: 'undrain' }, () => drain.set(false))
      return drain.report()
    },
  )

  app.get(
    '/v1/audit',
    {
      schema: {
        summary: 'The newest entries of the audit log, oldest first',
        description: 'Refusals of peers and clients, and privileged acts; since is in Unix milliseconds.',
        querystring: AuditQuery,
        response: { 200: AuditLog },
      },
    },
    async ({ query: { limit = limits.auditEntriesListed, since } }) => ({
      entries: audit.read({ limit, sinceMs: since }),
    }),
  )
}
