/** Files on their way to an agent that is to be spawned: a tar, streamed to the disk of this node. */
import { bodyOf, drain, withIdleLimit } from './body.ts'
import type { App, RouteDeps } from './routes.ts'
import { NoQuery, Upload } from './schemas.ts'

export const addUploadRoute = (app: App, { services, streams, deadlines, clock, limits }: RouteDeps): void => {
  app.post(
    '/v1/uploads',
    {
      schema: {
        summary: 'Takes the files of a workspace as a tar',
        description: 'The answer names the upload, for the workspace of a spawn that follows within the hour.',
        'x-consumes': 'application/x-tar',
        querystring: NoQuery,
        response: { 201: Upload },
      },
    },
    async (request, reply) => {
      const stream = streams.enter(request.raw, reply.raw)
      deadlines.stop(request.raw)
      try {
        const parts = withIdleLimit(bodyOf(request.raw), clock, limits.apiIdleTimeoutMs, 'the upload')
        const upload = await services.agents.receiveUpload(parts)
        reply.code(201)
        return upload
      } finally {
        drain(request.raw, deadlines)
        stream.leave()
      }
    },
  )
}
