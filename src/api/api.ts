/**
 * Room api: the node over HTTP, on loopback and a Unix socket.
 *
 * api.ts              builds the server, listens, stops (this file); services.ts is what it needs of the node
 * guard.ts            who may speak: host, origin, key
 * validation.ts       what may be said: one validator for bodies, parameters and queries; schemas.ts the shapes
 * problem.ts          every error as a problem document
 * body.ts streams.ts  bounds on what comes in, long answers with back-pressure; exec-inputs.ts joins an exec and its input
 * *-routes.ts         the routes by subject; routes.ts is what each is given; audited.ts puts privileged acts on record
 * openapi.ts          the document of all of them, from the same schemas
 */
import { chmod, rm } from 'node:fs/promises'
import { createServer, type IncomingMessage, type RequestListener, type Server } from 'node:http'
import type { AddressInfo } from 'node:net'
import Fastify, { type FastifyRequest } from 'fastify'
import type { Clock } from '../base/clock.ts'
import { GodelError, reasonOf, toGodelError } from '../base/errors.ts'
import type { Limits } from '../base/limits.ts'
import type { Log } from '../base/log.ts'
import type { Meter } from '../base/meter.ts'
import { addAgentRoutes } from './agent-routes.ts'
import { BY_API } from './audited.ts'
import { createBodyDeadlines } from './body.ts'
import { addDecisionRoutes } from './decision-routes.ts'
import { createExecInputs } from './exec-inputs.ts'
import { addExecInputRoute, addExecRoutes } from './exec-routes.ts'
import { createGuard } from './guard.ts'
import { addFederationRoutes } from './federation-routes.ts'
import { addNodeRoutes } from './node-routes.ts'
import { addOpenApi } from './openapi.ts'
import { addOperatorRoutes } from './operator-routes.ts'
import { rawProblem, sendProblem } from './problem.ts'
import { addRealmRoutes } from './realm-routes.ts'
import type { App, RouteDeps } from './routes.ts'
import type { NodeServices } from './services.ts'
import { createStreams } from './streams.ts'
import { addSettingsRoutes } from './settings-routes.ts'
import { addUploadRoute } from './upload-routes.ts'
import { compileValidator } from './validation.ts'

interface ApiDeps {
  services: NodeServices
  clock: Clock
  log: Log
  meter: Meter
  limits: Limits
}

export interface ApiOptions {
  host: '127.0.0.1'
  /** 0 takes a free one. */
  port: number
  /** Where the Unix socket is to be, with mode 0600; without it there is none. */
  socketPath?: string
  apiKey: string
}

export interface Api {
  readonly url: string
  /** Null where there is none, as where its path is too long for the system. */
  readonly socket: string | null
  /** Streams still open. */
  streams(): number
  /** Ends every stream with NODE_STOPPING, waits for the rest of the requests, and closes what is left after stopTimeoutMs. */
  close(): Promise<void>
}

/** Serves the API. PORT_IN_USE. */
export const startApi = async (deps: ApiDeps, options: ApiOptions): Promise<Api> => {
  const { clock, log, limits } = deps
  const overSocket = new WeakSet<IncomingMessage>()
  const servers = createServers(limits, overSocket)
  const streams = createStreams(limits)
  const port = () => (servers.tcp.address() as AddressInfo | null)?.port ?? options.port
  const guard = createGuard({ apiKey: options.apiKey, port, viaSocket: (request) => overSocket.has(request) })
  const route: RouteDeps = {
    services: deps.services,
    clock,
    limits,
    streams,
    inputs: createExecInputs(),
    deadlines: createBodyDeadlines(clock, limits),
  }

  const app = await buildApp(deps, route, guard, servers)
  await app.ready()
  await listenOn(servers.tcp, options)
  const socket = options.socketPath === undefined ? null : await listenOnSocket(servers.unix, options.socketPath, log)

  return {
    url: `http://${options.host}:${port()}`,
    socket,
    streams: streams.count,
    async close() {
      streams.close()
      const late = clock.after(limits.stopTimeoutMs, () => closeConnections(servers))
      await Promise.all([closeServer(servers.tcp), closeServer(servers.unix)])
      late.cancel()
      await app.close()
    },
  }
}

type Guard = ReturnType<typeof createGuard>

const buildApp = async (deps: ApiDeps, route: RouteDeps, guard: Guard, servers: Servers): Promise<App> => {
  const { log, limits } = deps
  const app = Fastify({
    bodyLimit: limits.apiBodyBytesMax,
    serverFactory: servers.attach,
    forceCloseConnections: false,
    exposeHeadRoutes: false,
    frameworkErrors(error, request, reply) {
      // Such a request never reaches the hooks.
      try {
        admit(guard, deps, request, { open: false })
        void sendProblem({ log, limits }, error, request, reply)
      } catch (refusal) {
        void sendProblem({ log, limits }, refusal, request, reply)
      }
    },
  }) as unknown as App
  app.setValidatorCompiler(compileValidator)
  app.setSerializerCompiler(() => (value) => JSON.stringify(value))
  app.setErrorHandler((error, request, reply) => sendProblem({ log, limits }, error, request, reply))
  app.setNotFoundHandler((request, reply) => {
    const id = `${request.method} ${request.url.split('?')[0]!.slice(0, 256)}`
    return sendProblem({ log, limits }, new GodelError({ code: 'NOT_FOUND', what: 'route', id }), request, reply)
  })

  addHooks(app, deps, route, guard)
  app.removeContentTypeParser('text/plain')
  await addOpenApi(app, deps.services.identity().version)
  addNodeRoutes(app, route)
  addSettingsRoutes(app, route)
  addRealmRoutes(app, route)
  addFederationRoutes(app, route)
  addOperatorRoutes(app, route)
  addAgentRoutes(app, route)
  addExecRoutes(app, route)
  addDecisionRoutes(app, route)
  await addByteRoutes(app, route)
  return app
}

/** Lets the request in or throws, which is put on record: whoever holds no key, and every page that tries. */
const admit = (guard: Guard, deps: ApiDeps, request: FastifyRequest, access: { open: boolean }): void => {
  try {
    guard(request.raw, access)
  } catch (error) {
    const { code, message } = toGodelError(error)
    const action = `${request.method} ${request.routeOptions.url ?? 'of an unknown route'}`
    deps.services.audit.record({ action, by: BY_API, outcome: 'refused', reason: `${code}: ${message}` })
    throw error
  }
}

const addHooks = (app: App, deps: ApiDeps, route: RouteDeps, guard: Guard): void => {
  app.addHook('onRequest', async (request, reply) => {
    route.deadlines.start(request.raw)
    reply.headers({ 'cache-control': 'no-store', 'x-content-type-options': 'nosniff' })
    admit(guard, deps, request, { open: request.routeOptions.config.open === true })
  })
  app.addHook('onSend', async (_request, reply) => {
    // A connection that is kept alive would otherwise outlast the API.
    if (route.streams.closed()) reply.header('connection', 'close')
  })
  app.addHook('onResponse', async (request, reply) => {
    const labels = {
      method: request.method,
      route: request.routeOptions.url ?? 'unknown',
      status: String(reply.statusCode),
    }
    deps.meter.timing('api_request', reply.elapsedTime, labels)
  })
}

/** Routes whose body is bytes: they take nothing else, and no other route takes bytes. */
const addByteRoutes = async (app: App, route: RouteDeps): Promise<void> => {
  const groups: [type: string, add: (app: App, deps: RouteDeps) => void][] = [
    ['application/octet-stream', addExecInputRoute],
    ['application/x-tar', addUploadRoute],
  ]
  for (const [type, add] of groups)
    await app.register(async (scope) => {
      scope.removeAllContentTypeParsers()
      scope.addContentTypeParser(type, (_request, _body, done) => done(null))
      add(scope as unknown as App, route)
    })
}

interface Servers {
  tcp: Server
  unix: Server
  attach(handler: RequestListener): Server
}

const createServers = (limits: Limits, overSocket: WeakSet<IncomingMessage>): Servers => {
  const options = {
    maxHeaderSize: limits.apiHeadersBytesMax,
    headersTimeout: limits.apiHeadersTimeoutMs,
    requestTimeout: 0, // per request; see body.ts
    keepAliveTimeout: limits.apiIdleTimeoutMs,
    connectionsCheckingInterval: limits.apiHeadersTimeoutMs,
  }
  const tcp = createServer(options)
  const unix = createServer(options)
  for (const server of [tcp, unix]) {
    server.maxConnections = limits.apiConnectionsMax
    server.on('clientError', (error: NodeJS.ErrnoException, socket) => {
      if (error.code !== 'ECONNRESET' && socket.writable) socket.end(rawProblem(error))
      else socket.destroy()
    })
  }
  return {
    tcp,
    unix,
    attach(handler) {
      tcp.on('request', handler)
      unix.on('request', (request, response) => {
        overSocket.add(request)
        handler(request, response)
      })
      return tcp
    },
  }
}

const listenOn = (server: Server, { host, port }: ApiOptions): Promise<void> =>
  new Promise((resolve, reject) => {
    server.once('error', (error: NodeJS.ErrnoException) => {
      reject(error.code === 'EADDRINUSE' ? new GodelError({ code: 'PORT_IN_USE', port }, { cause: error }) : error)
    })
    server.listen({ host, port }, resolve)
  })

/** The data directory's lock says that no other node lives here, so that a socket in the way is a dead one's. */
const listenOnSocket = async (server: Server, path: string, log: Log): Promise<string | null> => {
  try {
    await rm(path, { force: true })
    await new Promise<void>((resolve, reject) => {
      server.once('error', reject)
      server.listen({ path }, resolve)
    })
    await chmod(path, 0o600)
    return path
  } catch (error) {
    log.warn('there is no Unix socket for the API', { path, reason: reasonOf(error) })
    return null
  }
}

const closeServer = (server: Server): Promise<void> =>
  new Promise((resolve) => {
    if (!server.listening) return resolve()
    server.close(() => resolve())
    server.closeIdleConnections()
  })

const closeConnections = ({ tcp, unix }: Servers): void => {
  tcp.closeAllConnections()
  unix.closeAllConnections()
}
