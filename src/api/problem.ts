/** The one place where errors become HTTP answers: problem documents of RFC 9457, whatever was thrown and by whom. */
import type { FastifyReply, FastifyRequest } from 'fastify'
import { errorStatus, GodelError, toGodelError } from '../base/errors.ts'
import type { Limits } from '../base/limits.ts'
import type { Log } from '../base/log.ts'
import { toProblem } from '../base/problem.ts'

const PROBLEM_TYPE = 'application/problem+json'

/** An error of the framework, by its code, in our words. */
const fromFramework = (
  error: { code?: unknown; message?: string },
  request: FastifyRequest,
  limits: Limits,
): GodelError | undefined => {
  switch (error.code) {
    case 'FST_ERR_CTP_BODY_TOO_LARGE': {
      const declared = Number(request.headers['content-length'])
      const bytes = Number.isSafeInteger(declared) ? declared : limits.apiBodyBytesMax + 1
      return new GodelError({ code: 'TOO_LARGE', what: 'the body', bytes, limitBytes: limits.apiBodyBytesMax })
    }
    case 'FST_ERR_CTP_INVALID_MEDIA_TYPE':
    case 'FST_ERR_CTP_INVALID_TYPE': {
      const mediaType = (request.headers['content-type'] ?? 'unknown').slice(0, 64)
      return new GodelError({ code: 'MEDIA_TYPE_REFUSED', mediaType, accepted: acceptedBy(request) })
    }
    case 'FST_ERR_CTP_EMPTY_JSON_BODY':
      return new GodelError({ code: 'INVALID_ARGUMENT', field: 'body', reason: 'is empty, and JSON was announced' })
    case 'FST_ERR_CTP_INVALID_JSON_BODY':
    case 'FST_ERR_CTP_INVALID_CONTENT_LENGTH':
      return new GodelError({ code: 'INVALID_ARGUMENT', field: 'body', reason: 'is not the JSON that was announced' })
    case 'FST_ERR_BAD_URL':
      return new GodelError({ code: 'INVALID_ARGUMENT', field: 'the URL', reason: 'is not well-formed' })
    default:
      return undefined
  }
}

const acceptedBy = (request: FastifyRequest): string => {
  const { url } = request.routeOptions
  if (url === '/v1/uploads') return 'application/x-tar'
  return url?.endsWith('/stdin') ? 'application/octet-stream' : 'application/json'
}

/** Any thrown value as an error of ours. */
export const readError = (thrown: unknown, request: FastifyRequest, limits: Limits): GodelError => {
  if (thrown instanceof GodelError) return thrown
  const error = thrown as { code?: unknown; message?: string; cause?: unknown; statusCode?: unknown } | null
  if (error?.cause instanceof GodelError) return error.cause
  if (request.raw.errored && (error?.code === 'ECONNRESET' || error?.code === 'ERR_STREAM_PREMATURE_CLOSE'))
    return new GodelError({ code: 'CANCELLED', what: 'the request' }, { cause: thrown })
  // JSON that would set a prototype is refused by the parser with an error that has a status and no code.
  if (error instanceof SyntaxError)
    return new GodelError({ code: 'INVALID_ARGUMENT', field: 'body', reason: 'is not plain JSON' })
  return (error && fromFramework(error, request, limits)) ?? toGodelError(thrown)
}

/** Answers with the problem document of `thrown`. A defect is logged with its stack, and its inside is not told. */
export const sendProblem = (
  deps: { log: Log; limits: Limits },
  thrown: unknown,
  request: FastifyRequest,
  reply: FastifyReply,
): FastifyReply => {
  const error = readError(thrown, request, deps.limits)
  const status = errorStatus(error.code)
  const route = request.routeOptions.url ?? 'unknown'
  if (error.code === 'INTERNAL') {
    const stack = (error.cause instanceof Error && error.cause.stack) || error.stack
    deps.log.error('a request failed', { method: request.method, route, stack })
  } else if (error.code === 'CANCELLED')
    deps.log.debug('a request was cancelled', { method: request.method, route, code: error.code })
  else if (status >= 500) deps.log.warn('a request failed', { method: request.method, route, code: error.code })
  if (status === 401) reply.header('www-authenticate', 'Bearer')
  // As bytes, since the framework would name a charset for text, which JSON does not have.
  return reply
    .code(status)
    .header('content-type', PROBLEM_TYPE)
    .send(Buffer.from(JSON.stringify(toProblem(error))))
}

/** The raw answer to bytes that are not HTTP; there is no request to speak of then. */
export const rawProblem = (error: NodeJS.ErrnoException): string => {
  const tooLarge = error.code === 'HPE_HEADER_OVERFLOW'
  const timedOut = error.code === 'ERR_HTTP_REQUEST_TIMEOUT'
  const reason = tooLarge ? 'has headers that are too large' : timedOut ? 'did not arrive in time' : 'is not HTTP'
  const problem = toProblem(new GodelError({ code: 'INVALID_ARGUMENT', field: 'the request', reason }))
  const status = tooLarge ? 431 : timedOut ? 408 : problem.status
  const body = JSON.stringify({ ...problem, status })
  const head = [
    `HTTP/1.1 ${status} Bad Request`,
    `content-type: ${PROBLEM_TYPE}`,
    `content-length: ${Buffer.byteLength(body)}`,
  ]
  return `${[...head, 'connection: close'].join('\r\n')}\r\n\r\n${body}`
}
