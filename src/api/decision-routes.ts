/** Placement decisions: those that are kept, those that come, and what one would be now. */
import type { Decision as DecisionRecord } from '../base/need.ts'
import type { App, RouteDeps } from './routes.ts'
import { Decision, Decisions, EventsHeaders, NoQuery, RoutesQuery, SpawnRequest } from './schemas.ts'
import { openWriter, untilAborted, type Writer } from './streams.ts'

const events = { type: 'text/event-stream', heartbeat: ': still here\n\n' }

export const addDecisionRoutes = (app: App, deps: RouteDeps): void => {
  const { services, streams, limits } = deps
  const { agents } = services

  app.get(
    '/v1/routes',
    {
      schema: {
        summary: 'The newest placement decisions, newest first',
        querystring: RoutesQuery,
        response: { 200: Decisions },
      },
    },
    async ({ query }) => ({ decisions: agents.decisions.recent(query.limit ?? limits.apiDecisionsListed) }),
  )

  app.post(
    '/v1/routes/explain',
    {
      schema: {
        summary: 'Where a spawn would go now, and why',
        description: 'Nothing is placed.',
        querystring: NoQuery,
        body: SpawnRequest,
        response: { 200: Decision },
      },
    },
    async ({ body }) => agents.explain(body),
  )

  app.get(
    '/v1/routes/events',
    {
      schema: {
        summary: 'Placement decisions as they are made',
        description:
          'Server-sent events of type decision, with the request id as their id. With Last-Event-ID the ones after it come first; ' +
          'where it is not kept any more, an event of type gap comes before all that are.',
        querystring: NoQuery,
        headers: EventsHeaders,
        response: { 200: { description: 'Decisions', content: { 'text/event-stream': { schema: Decision } } } },
      },
    },
    async (request, reply) => {
      const stream = streams.enter(request.raw, reply.raw)
      const writer = openWriter(deps, reply, stream.signal, events)
      try {
        const follow = agents.decisions.follow(stream.signal)[Symbol.asyncIterator]()
        // Asked for before the kept ones are read, so that none can fall between the two.
        const next = follow.next()
        const lastSeen = request.headers['last-event-id']
        const kept = lastSeen === undefined ? [] : agents.decisions.recent(limits.decisionsKept).toReversed()
        await send(writer, kept, lastSeen, withFirst(next, follow), stream.signal)
      } catch {
        // The client went or the node stops: either way there is nobody left to tell.
      } finally {
        stream.leave()
        writer.end()
      }
    },
  )
}

const send = async (
  writer: Writer,
  kept: DecisionRecord[],
  lastSeen: string | undefined,
  live: AsyncIterator<DecisionRecord>,
  signal: AbortSignal,
): Promise<void> => {
  const at = kept.findIndex((decision) => decision.requestId === lastSeen)
  if (lastSeen !== undefined && at === -1)
    await writer.write(`event: gap\ndata: ${JSON.stringify({ after: lastSeen })}\n\n`)
  const missed = kept.slice(at + 1)
  const sent = new Set(missed.map((decision) => decision.requestId))
  for (const decision of missed) await writer.write(eventOf(decision))
  for await (const decision of untilAborted(live, signal)) {
    // What was made while the kept ones were read comes a second time, and only once each.
    if (!sent.delete(decision.requestId)) await writer.write(eventOf(decision))
  }
}

const eventOf = (decision: DecisionRecord): string =>
  `id: ${decision.requestId}\nevent: decision\ndata: ${JSON.stringify(decision)}\n\n`

/** An iterator whose first `next` was called already. */
const withFirst = <T>(first: Promise<IteratorResult<T>>, rest: AsyncIterator<T>): AsyncIterator<T> => {
  let asked = false
  return {
    next() {
      if (asked) return rest.next()
      asked = true
      return first
    },
    return: () => rest.return?.() ?? Promise.resolve({ done: true, value: undefined }),
  }
}
