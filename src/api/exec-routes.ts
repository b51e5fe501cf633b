/** Commands in agents: NDJSON out, bytes in. Reading slowly slows the command; going away ends it. */
import { Type } from 'typebox'
import type { ExecEvent } from '../base/agent.ts'
import { mintId } from '../base/ids.ts'
import { toProblem } from '../base/problem.ts'
import { bodyOf, drain } from './body.ts'
import type { App, RouteDeps } from './routes.ts'
import { AgentParams, ExecLine, ExecParams, ExecSpec, NoQuery } from './schemas.ts'
import { nextOrAbort, openWriter, untilAborted, type Stream, type Writer } from './streams.ts'

const ndjson = { type: 'application/x-ndjson', heartbeat: '\n' }

const lineOf = (event: ExecEvent): string => {
  if (event.type !== 'output') return `${JSON.stringify(event)}\n`
  const { data } = event
  const text = Buffer.from(data.buffer, data.byteOffset, data.byteLength).toString('base64')
  return `${JSON.stringify({ ...event, data: text })}\n`
}

export const addExecRoutes = (app: App, deps: RouteDeps): void => {
  const { services, clock, streams, inputs } = deps
  app.post(
    '/v1/agents/:id/exec',
    {
      schema: {
        summary: 'Runs a command in an agent and streams what it says',
        description:
          'Lines of JSON. Closing the answer early cancels the command. A failure after the first line is a last line of type error. ' +
          'With stdin true, the input is posted to /v1/agents/{id}/execs/{execId}/stdin once the line of type started is there.',
        params: AgentParams,
        querystring: NoQuery,
        body: ExecSpec,
        response: {
          200: { description: 'What the command says', content: { 'application/x-ndjson': { schema: ExecLine } } },
        },
      },
    },
    async (request, reply) => {
      const execId = request.body.execId ?? mintId('ex', clock.wallMs())
      const stream = streams.enter(request.raw, reply.raw)
      try {
        const input = request.body.stdin ? inputs.open(request.params.id, execId, stream.abort) : undefined
        try {
          const options = { signal: stream.signal, ...(input && { stdin: input.source }) }
          const events = services.agents.exec(request.params.id, { ...request.body, execId }, options)
          const iterator = events[Symbol.asyncIterator]()
          // The first event decides whether the answer is a stream or a problem with its own status.
          const first = await nextOrAbort(iterator, stream.signal)
          const writer = openWriter(deps, reply, stream.signal, ndjson)
          await relay(first, iterator, writer, stream)
        } finally {
          input?.close()
        }
      } finally {
        stream.leave()
      }
    },
  )
}

const relay = async (
  first: IteratorResult<ExecEvent>,
  rest: AsyncIterator<ExecEvent>,
  writer: Writer,
  stream: Stream,
): Promise<void> => {
  try {
    if (!first.done) await writer.write(lineOf(first.value))
    for await (const event of untilAborted(rest, stream.signal)) await writer.write(lineOf(event))
    writer.end()
  } catch (error) {
    writer.end(`${JSON.stringify({ type: 'error', problem: toProblem(error) })}\n`)
  }
}

/** The input of a command; apart from the rest, since its body is bytes and not JSON. */
export const addExecInputRoute = (app: App, { inputs, streams, deadlines }: RouteDeps): void => {
  app.post(
    '/v1/agents/:id/execs/:execId/stdin',
    {
      schema: {
        summary: 'Sends input to a command',
        description:
          'The end of the body is the end of the input. Answers with the number of bytes that the command took.',
        'x-consumes': 'application/octet-stream',
        params: ExecParams,
        querystring: NoQuery,
        response: { 200: Type.Object({ bytes: Type.Integer() }) },
      },
    },
    async (request, reply) => {
      const stream = streams.enter(request.raw, reply.raw)
      deadlines.stop(request.raw)
      try {
        return { bytes: await inputs.feed(request.params.id, request.params.execId, bodyOf(request.raw)) }
      } finally {
        drain(request.raw, deadlines)
        stream.leave()
      }
    },
  )
}
