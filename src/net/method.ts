/**
 * A wire method is one row: its name and version, the bounds and schemas of what it takes and gives, and who may call it.
 * A room exports its rows and, beside them, a handler for each; `node` registers them. `net` itself knows no method.
 */
import type { Static, TSchema } from 'typebox'
import { GodelError } from '../base/errors.ts'
import { limits } from '../base/limits.ts'
import { parser, type Parse } from '../base/schema.ts'
import type { Access, Scope, Standing } from '../base/standing.ts'

/**
 * `unary`: one request, one response. `stream`: one request, then any number of items from the callee while the caller may
 * send any number of items of its own (`incoming`), each direction with its own credit.
 */
export interface Method<Request = unknown, Response = unknown, Incoming = unknown> {
  readonly name: string
  readonly version: number
  readonly kind: 'unary' | 'stream'
  readonly access: Access
  /** The scope with which guests may call too; `any` asks for none, and without it they may not. */
  readonly guests: Scope | 'any' | undefined
  /** Which of a peer's rates a call counts against. */
  readonly rate: RateClass
  readonly requestBytesMax: number
  readonly responseBytesMax: number
  readonly incomingBytesMax: number
  readonly parseRequest: Parse<Request>
  readonly parseResponse: Parse<Response>
  readonly parseIncoming: Parse<Incoming>
}

/**
 * `open`: what anyone may call; `sync`: what makes this node read and send much; `act`: what starts, ends or lists agents, and
 * costs a process, a write to disk or many records; `call`: everything else.
 */
export type RateClass = 'open' | 'sync' | 'act' | 'call'

/** What a handler knows about the call that it answers. */
export interface CallContext<Incoming = unknown> {
  /** The authenticated PeerId of the caller. */
  readonly peer: string
  /** Who the caller is here; undefined for the node itself and for one that is not admitted. */
  readonly standing: Standing | undefined
  /** Aborts when the caller cancels, the deadline passes, or the connection is lost. */
  readonly signal: AbortSignal
  /** What the caller sends after its request; empty for unary methods. Reading it grants credit. */
  readonly incoming: AsyncIterable<Incoming>
}

export type Handler<Request, Response, Incoming = unknown> =
  | ((request: Request, context: CallContext<Incoming>) => Promise<Response> | Response)
  | ((request: Request, context: CallContext<Incoming>) => AsyncIterable<Response>)

/** A row with its handler, ready to be registered. */
export interface BoundMethod {
  readonly method: Method
  readonly handle: (request: never, context: CallContext<never>) => unknown
}

export interface CallOptions {
  signal?: AbortSignal
  /** Deadline for the whole call, sent along so that the callee gives up too. */
  timeoutMs?: number
}

export interface StreamOptions<Incoming> extends CallOptions {
  /** Sent to the callee after the request, as its credit allows. */
  outgoing?: AsyncIterable<Incoming>
}

/** What rooms use to talk to peers. */
export interface Rpc {
  call<Req, Res>(peer: string, method: Method<Req, Res, never>, request: Req, options?: CallOptions): Promise<Res>
  /** Items of the callee in order. Leaving the loop early cancels the call. */
  stream<Req, Res, Inc>(
    peer: string,
    method: Method<Req, Res, Inc>,
    request: Req,
    options?: StreamOptions<Inc>,
  ): AsyncIterable<Res>
  register(methods: readonly BoundMethod[]): void
}

interface Row<Request extends TSchema, Response extends TSchema> {
  name: string
  version?: number
  /** The least role; `member` unless told. */
  access?: Access
  guests?: Scope | 'any'
  /** `open` for what anyone may call, else `call`, unless told. */
  rate?: RateClass
  request: Request
  response: Response
  /** Bounds of one encoded request, response or item; limits.rpcPayloadBytesMax unless told. */
  requestBytesMax?: number
  responseBytesMax?: number
}

/** A row for one request and one response. */
export const unary = <Request extends TSchema, Response extends TSchema>(
  row: Row<Request, Response>,
): Method<Static<Request>, Static<Response>, never> => ({
  ...common(row),
  kind: 'unary',
  incomingBytesMax: 0,
  parseIncoming: (): never => {
    throw new GodelError({ code: 'INVALID_MESSAGE', what: row.name, reason: 'it takes no items after the request' })
  },
})

/** A row for one request, a stream of responses, and, while it runs, a stream of `incoming` items from the caller. */
export const streaming = <Request extends TSchema, Response extends TSchema, Incoming extends TSchema>(
  row: Row<Request, Response> & { incoming: Incoming; incomingBytesMax?: number },
): Method<Static<Request>, Static<Response>, Static<Incoming>> => ({
  ...common(row),
  kind: 'stream',
  incomingBytesMax: row.incomingBytesMax ?? limits.rpcPayloadBytesMax,
  parseIncoming: parser(`an item to ${row.name}`, row.incoming),
})

const common = <Request extends TSchema, Response extends TSchema>(row: Row<Request, Response>) => ({
  name: row.name,
  version: row.version ?? 1,
  access: row.access ?? ('member' as const),
  guests: row.guests,
  rate: row.rate ?? (row.access === 'anyone' ? ('open' as const) : ('call' as const)),
  requestBytesMax: row.requestBytesMax ?? limits.rpcPayloadBytesMax,
  responseBytesMax: row.responseBytesMax ?? limits.rpcPayloadBytesMax,
  parseRequest: parser(`a request of ${row.name}`, row.request),
  parseResponse: parser(`a response of ${row.name}`, row.response),
})

/** Puts a row and its handler together, ready to be registered. */
export const bind = <Request, Response, Incoming>(
  method: Method<Request, Response, Incoming>,
  handle: Handler<Request, Response, Incoming>,
): BoundMethod => ({ method: method as Method, handle: handle as BoundMethod['handle'] })
