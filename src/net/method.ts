/**
 * A wire method is one row: its name and version, the bounds and schemas of what it takes and gives, and who may call it.
 * A room exports its rows and, beside them, a handler for each; `node` registers them. `net` itself knows no method.
 */
import type { Static, TSchema } from 'typebox'
import type { Parse } from '../base/schema.ts'

/** Who may call: `anyone` who has a connection, or only peers that have been admitted as members. */
export type Access = 'anyone' | 'member'

/**
 * `unary`: one request, one response. `stream`: one request, then any number of items from the callee while the caller may
 * send any number of items of its own (`incoming`), each direction with its own credit.
 */
export interface Method<Request = unknown, Response = unknown, Incoming = unknown> {
  readonly name: string
  readonly version: number
  readonly kind: 'unary' | 'stream'
  readonly access: Access
  readonly requestBytesMax: number
  readonly responseBytesMax: number
  readonly incomingBytesMax: number
  readonly parseRequest: Parse<Request>
  readonly parseResponse: Parse<Response>
  readonly parseIncoming: Parse<Incoming>
}

/** What a handler knows about the call that it answers. */
export interface CallContext<Incoming = unknown> {
  /** The authenticated PeerId of the caller. */
  readonly peer: string
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
  readonly method: Method<never, unknown, never> | Method
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
  call<Req, Res>(peer: string, method: Method<Req, Res, never> | Method<Req, Res>, request: Req, options?: CallOptions): Promise<Res>
  /** Items of the callee in order. Leaving the loop early cancels the call. */
  stream<Req, Res, Inc>(
    peer: string,
    method: Method<Req, Res, Inc>,
    request: Req,
    options?: StreamOptions<Inc>,
  ): AsyncIterable<Res>
  register(methods: readonly BoundMethod[]): void
}

export type { Static, TSchema }
