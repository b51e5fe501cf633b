/**
 * The calls that the peer makes over one session: each is bounded, looked up, checked for access and schema, handed to its
 * handler, and answered.
 */
import type { Audit } from '../base/audit.ts'
import type { Clock } from '../base/clock.ts'
import { decode } from '../base/codec.ts'
import { GodelError, hasCode } from '../base/errors.ts'
import type { Limits } from '../base/limits.ts'
import { callFault, type Access, type Scope, type Standing } from '../base/standing.ts'
import { createTokenBucket, type TokenBucket } from '../base/token-bucket.ts'
import type { Deadline, Deadlines } from './deadlines.ts'
import { Kind, readCredit, readRequest, type RequestHead } from './frame.ts'
import { createItemInbox, type ItemInbox } from './item-inbox.ts'
import { encodeBounded, sendItems, type ItemSender } from './item-sender.ts'
import type { BoundMethod, CallContext, Method, RateClass } from './method.ts'
import type { Outbox } from './outbox.ts'
import type { Registry } from './registry.ts'
import { encodeError } from './wire-error.ts'

/** What all sessions with one peer share: how much of this node the peer occupies at the moment. */
export interface PeerLoad {
  calls: number
  requestBytes: number
  readonly rates: Record<RateClass, TokenBucket>
}

/** The rates of one peer; they outlive its sessions, or a new one would bring new tokens. */
export const createRates = (clock: Pick<Clock, 'monotonicMs'>, limits: Limits): PeerLoad['rates'] => {
  const bucket = (perSecond: number, burst: number) => createTokenBucket(clock, { perSecond, burst })
  return {
    open: bucket(limits.rpcOpenCallsPerSecond, limits.rpcOpenCallsBurst),
    sync: bucket(limits.rpcSyncCallsPerSecond, limits.rpcSyncCallsBurst),
    act: bucket(limits.rpcActsPerSecond, limits.rpcActsBurst),
    call: bucket(limits.rpcCallsPerSecond, limits.rpcCallsPerSecond),
  }
}

export interface CalleeDeps {
  readonly peer: string
  readonly limits: Limits
  readonly audit: Audit
  readonly clock: Pick<Clock, 'monotonicMs'>
  readonly deadlines: Deadlines
  readonly outbox: Outbox
  readonly registry: Pick<Registry, 'find'>
  readonly load: PeerLoad
  /** Who the peer is here; undefined before it is admitted. */
  standing(): Standing | undefined
  ended(): void
  violation(reason: string): never
  /** A handler threw something that is not an error of ours. */
  onDefect(method: string, error: unknown): void
}

export interface Callee {
  /** Calls not answered yet. */
  readonly pending: number
  onFrame(kind: number, call: number, body: Buffer): void
  /** The session is gone: aborts every handler. */
  lost(): void
}

export const createCallee = (deps: CalleeDeps): Callee => {
  const { peer, limits, outbox, registry, load, deadlines } = deps
  const pending = new Map<number, IncomingCall>()

  const sendError = (id: number, error: unknown) => {
    outbox.frame(Kind.error, id, encodeError(error, limits.rpcErrorBytesMax))
  }

  /** The method and the checked request, or a refusal. Nothing is decoded before its size is known to be within bounds. */
  const accept = (head: RequestHead): { row: BoundMethod; request: unknown } => {
    if (load.calls >= limits.rpcCallsPerPeerMax) {
      throw new GodelError({ code: 'QUEUE_FULL', what: `calls of ${peer}`, limit: limits.rpcCallsPerPeerMax })
    }
    const bytes = head.payload.byteLength
    if (load.requestBytes + bytes > limits.rpcRequestBytesPerPeerMax) {
      throw new GodelError({ code: 'QUEUE_FULL', what: `requests of ${peer}`, limit: limits.rpcRequestBytesPerPeerMax })
    }
    const row = registry.find(head.name, head.version)
    const { method } = row
    mustBeAllowed(method, deps.standing(), peer)
    const retryAfterMs = load.rates[method.rate].take()
    if (retryAfterMs > 0)
      throw new GodelError({ code: 'RATE_LIMITED', what: `${method.name} of ${peer}`, retryAfterMs })
    if ((method.kind === 'stream') !== head.stream) {
      throw new GodelError({
        code: 'INVALID_MESSAGE',
        what: method.name,
        reason: `it is a method of kind ${method.kind}`,
      })
    }
    const what = `the request of ${method.name}`
    if (bytes > method.requestBytesMax) {
      throw new GodelError({ code: 'TOO_LARGE', what, bytes, limitBytes: method.requestBytesMax })
    }
    return { row, request: method.parseRequest(decode(head.payload, what)) }
  }

  const onRequest = (id: number, body: Buffer) => {
    if (pending.has(id)) deps.violation('a call id that is in use')
    const head = readRequest(body)
    let accepted: ReturnType<typeof accept>
    try {
      accepted = accept(head)
    } catch (error) {
      auditRefusal(deps.audit, `call ${head.name}`, peer, error)
      return sendError(id, error)
    }
    const { row, request } = accepted
    const timeoutMs = head.timeoutMs === 0 ? Infinity : Math.min(head.timeoutMs, limits.rpcTimeoutMsMax)
    const deadlineMs = timeoutMs === Infinity ? Infinity : deps.clock.monotonicMs() + timeoutMs
    const call = new IncomingCall(
      { peer, standing: deps.standing() },
      row.method,
      id,
      head,
      timeoutMs,
      deadlineMs,
      onExpired,
    )
    pending.set(id, call)
    load.calls++
    load.requestBytes += call.requestBytes
    if (deadlineMs !== Infinity) deadlines.add(call)
    if (head.outgoing) openIncoming(call)
    start(call, row, request)
  }

  const openIncoming = (call: IncomingCall) => {
    const { method, id } = call
    call.inbox = createItemInbox<unknown>({
      windowBytes: limits.rpcCallCreditBytes,
      itemOverheadBytes: limits.rpcItemOverheadBytes,
      decode: (payload) => method.parseIncoming(decode(payload, `an item for ${method.name}`)),
      grant: (bytes) => {
        if (pending.has(id)) outbox.credit(Kind.calleeCredit, id, bytes)
      },
      left: () => {},
    })
    outbox.credit(Kind.calleeCredit, id, limits.rpcCallCreditBytes)
  }

  const start = (call: IncomingCall, row: BoundMethod, request: unknown) => {
    let result: unknown
    try {
      result = row.handle(request as never, call as CallContext<never>)
    } catch (error) {
      return answerError(call, error)
    }
    if (row.method.kind === 'stream') return startItems(call, result)
    if (!isThenable(result)) return answer(call, result)
    result.then(
      (value) => answer(call, value),
      (error: unknown) => answerError(call, error),
    )
  }

  const startItems = (call: IncomingCall, result: unknown) => {
    if (!isAsyncIterable(result)) return answerError(call, new TypeError(`${call.method.name} gave no async iterable`))
    call.sender = sendItems(
      {
        what: `an item of ${call.method.name}`,
        creditBytes: call.creditBytes,
        itemBytesMax: call.method.responseBytesMax,
        itemOverheadBytes: limits.rpcItemOverheadBytes,
        outbox,
        send: (payload) => outbox.frame(Kind.item, call.id, payload),
        done: (error) => {
          if (error !== undefined) return answerError(call, error)
          if (leave(call)) outbox.empty(Kind.end, call.id)
          release(call)
        },
      },
      result,
    )
  }

  const answer = (call: IncomingCall, value: unknown) => {
    if (outbox.full && pending.has(call.id)) return void outbox.room().then(() => answer(call, value))
    if (leave(call)) {
      try {
        const { method } = call
        outbox.frame(
          Kind.response,
          call.id,
          encodeBounded(value, `the answer of ${method.name}`, method.responseBytesMax),
        )
      } catch (error) {
        sendError(call.id, error)
      }
    }
    release(call)
  }

  const answerError = (call: IncomingCall, error: unknown) => {
    auditRefusal(deps.audit, `call ${call.method.name}`, peer, error)
    if (!(error instanceof GodelError)) deps.onDefect(call.method.name, error)
    if (leave(call)) sendError(call.id, error)
    release(call)
  }

  /** The call is over for the peer. False if it was over already. */
  const leave = (call: IncomingCall): boolean => {
    if (pending.get(call.id) !== call) return false
    pending.delete(call.id)
    if (call.deadlineMs !== Infinity) deadlines.remove(call)
    call.inbox?.end()
    return true
  }

  /** The handler has ended: only now is its place free, or calls cancelled in a row would have no bound. */
  const release = (call: IncomingCall) => {
    load.calls--
    load.requestBytes -= call.requestBytes
    deps.ended()
  }

  const stop = (call: IncomingCall, error: GodelError) => {
    if (!leave(call)) return
    call.inbox?.fail(error)
    call.abort(error)
    // A unary handler is released when it settles; a source, when it has returned.
    if (call.sender !== undefined) void call.sender.stop().then(() => release(call))
  }

  const onExpired = (call: IncomingCall) => {
    if (pending.get(call.id) !== call) return
    const error = new GodelError({ code: 'DEADLINE_EXCEEDED', what: call.method.name, afterMs: call.timeoutMs })
    stop(call, error)
    sendError(call.id, error)
  }

  const onIncoming = (call: IncomingCall, body: Buffer) => {
    if (call.inbox === undefined) return deps.violation('an item for a call that announced none')
    const limitBytes = call.method.incomingBytesMax
    if (body.byteLength > limitBytes) {
      const what = `an item for ${call.method.name}`
      const error = new GodelError({ code: 'TOO_LARGE', what, bytes: body.byteLength, limitBytes })
      stop(call, error)
      return sendError(call.id, error)
    }
    if (!call.inbox.push(body)) deps.violation('items beyond the credit')
  }

  return {
    get pending() {
      return pending.size
    },
    onFrame(kind, id, body) {
      if (kind === Kind.request) return onRequest(id, body)
      const call = pending.get(id)
      if (call === undefined) return // answered already, and this was on its way
      switch (kind) {
        case Kind.incoming:
          return onIncoming(call, body)
        case Kind.incomingEnd:
          return call.inbox?.end()
        case Kind.cancel:
          return stop(call, new GodelError({ code: 'CANCELLED', what: call.method.name }))
        case Kind.callerCredit:
          return call.sender?.credit(readCredit(body))
      }
    },
    lost() {
      const error = new GodelError({ code: 'STREAM_LOST', peer, reason: 'the caller is gone' })
      for (const call of [...pending.values()]) stop(call, error)
    },
  }
}

const isThenable = (value: unknown): value is PromiseLike<unknown> =>
  typeof value === 'object' && value !== null && typeof (value as { then?: unknown }).then === 'function'

const isAsyncIterable = (value: unknown): value is AsyncIterable<unknown> =>
  typeof value === 'object' && value !== null && Symbol.asyncIterator in value

const nothing: AsyncIterable<never> = {
  [Symbol.asyncIterator]: () => ({ next: () => Promise.resolve({ done: true, value: undefined }) }),
}

/** A class for the sake of its getter: most handlers never ask for the signal, and making one costs more than a call. */
class IncomingCall implements CallContext<unknown>, Deadline {
  readonly peer: string
  readonly standing: Standing | undefined
  readonly method: Method
  readonly id: number
  readonly creditBytes: number
  readonly requestBytes: number
  readonly timeoutMs: number
  readonly deadlineMs: number
  inbox: ItemInbox<unknown> | undefined
  sender: ItemSender | undefined
  #controller: AbortController | undefined
  #aborted: GodelError | undefined
  readonly #onExpired: (call: IncomingCall) => void

  constructor(
    caller: { peer: string; standing: Standing | undefined },
    method: Method,
    id: number,
    head: RequestHead,
    timeoutMs: number,
    deadlineMs: number,
    onExpired: (call: IncomingCall) => void,
  ) {
    this.peer = caller.peer
    this.standing = caller.standing
    this.method = method
    this.id = id
    this.creditBytes = head.creditBytes
    this.requestBytes = head.payload.byteLength
    this.timeoutMs = timeoutMs
    this.deadlineMs = deadlineMs
    this.#onExpired = onExpired
  }

  get signal(): AbortSignal {
    if (this.#controller === undefined) {
      this.#controller = new AbortController()
      if (this.#aborted !== undefined) this.#controller.abort(this.#aborted)
    }
    return this.#controller.signal
  }

  get incoming(): AsyncIterable<unknown> {
    return this.inbox ?? nothing
  }

  abort(error: GodelError): void {
    this.#aborted = error
    this.#controller?.abort(error)
  }

  expire(): void {
    this.#onExpired(this)
  }
}

/** Puts down what a peer may not do; what went wrong in other ways is nobody's trespass. */
export const auditRefusal = (audit: Audit, action: string, peer: string, error: unknown): void => {
  if (!hasCode(error, 'NOT_A_MEMBER', 'FORBIDDEN')) return
  audit.record({ action, by: peer, outcome: 'refused', reason: `${error.code}: ${error.message}` })
}

/** NOT_A_MEMBER before the caller is admitted, FORBIDDEN beyond what its standing allows. */
export const mustBeAllowed = (
  row: { readonly name: string; readonly access: Access; readonly guests?: Scope | 'any' | undefined },
  standing: Standing | undefined,
  peer: string,
): void => {
  if (row.access === 'anyone') return
  if (standing === undefined)
    throw new GodelError({ code: 'NOT_A_MEMBER', peer, reason: `${row.name} is answered to members only` })
  const reason = callFault(row, standing)
  if (reason !== undefined) throw new GodelError({ code: 'FORBIDDEN', action: row.name, reason })
}
