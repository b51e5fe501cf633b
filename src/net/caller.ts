/**
 * The calls that this side makes over one session: each waits here for its answer, its items, its deadline, its
 * cancellation, or the loss of the session.
 */
import type { Clock } from '../base/clock.ts'
import { decode } from '../base/codec.ts'
import { GodelError } from '../base/errors.ts'
import type { Limits } from '../base/limits.ts'
import type { Deadline, Deadlines } from './deadlines.ts'
import { Kind, readCredit, type RequestHead } from './frame.ts'
import { createItemInbox, type ItemInbox } from './item-inbox.ts'
import { encodeBounded, sendItems, type ItemSender } from './item-sender.ts'
import type { Method } from './method.ts'
import type { Outbox } from './outbox.ts'
import { decodeError } from './wire-error.ts'

/** What holds for one call whatever its kind. `deadlineMs` is in terms of `clock.monotonicMs()`. */
export interface CallTerms {
  readonly deadlineMs?: number | undefined
  readonly timeoutMs?: number | undefined
  readonly signal?: AbortSignal | undefined
}

export interface CallerDeps {
  readonly peer: string
  readonly limits: Limits
  readonly clock: Pick<Clock, 'monotonicMs'>
  readonly deadlines: Deadlines
  readonly outbox: Outbox
  /** A call has ended; the session may have become idle. */
  ended(): void
  /** The peer broke the protocol. Throws. */
  violation(reason: string): never
}

export interface Caller {
  readonly pending: number
  call(method: Method, request: unknown, terms: CallTerms): Promise<unknown>
  stream(method: Method, request: unknown, terms: CallTerms, outgoing?: AsyncIterable<unknown>): ItemInbox<unknown>
  onFrame(kind: number, call: number, body: Buffer): void
  /** Fails every call: STREAM_LOST where its request was sent, PEER_UNREACHABLE where it was not. */
  lost(reason: string): void
}

const boundedDecode = (payload: Uint8Array, what: string, limitBytes: number): unknown => {
  if (payload.byteLength > limitBytes) {
    throw new GodelError({ code: 'TOO_LARGE', what, bytes: payload.byteLength, limitBytes })
  }
  return decode(payload, what)
}

export const createCaller = (deps: CallerDeps): Caller => {
  const { peer, limits, outbox, deadlines } = deps
  const pending = new Map<number, OutgoingCall>()
  let lastId = 0
  let lostReason: string | undefined

  /** Sends the request and enters the call. What this throws was never sent. */
  const begin = (call: OutgoingCall, request: unknown, outgoing: boolean) => {
    const { method, terms } = call
    const signal = terms.signal
    if (lostReason !== undefined) throw new GodelError({ code: 'PEER_UNREACHABLE', peer, reason: lostReason })
    if (signal?.aborted === true) throw new GodelError({ code: 'CANCELLED', what: method.name })
    if (pending.size >= limits.rpcCallsPerPeerMax) {
      throw new GodelError({ code: 'QUEUE_FULL', what: `calls to ${peer}`, limit: limits.rpcCallsPerPeerMax })
    }
    if (outbox.full) {
      throw new GodelError({ code: 'QUEUE_FULL', what: `the queue to ${peer}`, limit: limits.rpcSessionQueueBytesMax })
    }
    const payload = encodeBounded(request, `the request of ${method.name}`, method.requestBytesMax)
    const stream = method.kind === 'stream'
    const head: RequestHead = {
      stream,
      outgoing,
      version: method.version,
      timeoutMs: call.remainingMs(deps.clock),
      creditBytes: stream ? limits.rpcCallCreditBytes : 0,
      name: method.name,
      payload,
    }
    lastId = lastId === 0xffffffff ? 1 : lastId + 1
    call.id = lastId
    pending.set(lastId, call)
    outbox.request(lastId, head)
    call.endOffset = outbox.takenBytes
    if (call.deadlineMs !== Infinity) deadlines.add(call)
    signal?.addEventListener('abort', call.onAbort, { once: true })
  }

  const finish = (call: OutgoingCall) => {
    if (!pending.delete(call.id)) return false
    if (call.deadlineMs !== Infinity) deadlines.remove(call)
    call.terms.signal?.removeEventListener('abort', call.onAbort)
    void call.sender?.stop()
    deps.ended()
    return true
  }

  /** Ends a call from this side and tells the callee. */
  const giveUp = (call: OutgoingCall, error?: GodelError) => {
    if (!finish(call)) return
    outbox.empty(Kind.cancel, call.id)
    if (error !== undefined) call.fail(error, true)
  }

  return {
    get pending() {
      return pending.size
    },

    call: (method, request, terms) =>
      new Promise((resolve, reject) => begin(new UnaryCall(method, terms, giveUp, resolve, reject), request, false)),

    stream(method, request, terms, outgoing) {
      const what = `an item of ${method.name}`
      const inbox = createItemInbox<unknown>({
        windowBytes: limits.rpcCallCreditBytes,
        itemOverheadBytes: limits.rpcItemOverheadBytes,
        decode: (payload) => method.parseResponse(boundedDecode(payload, what, method.responseBytesMax)),
        grant: (bytes) => {
          if (pending.has(call.id)) outbox.credit(Kind.callerCredit, call.id, bytes)
        },
        left: () => giveUp(call),
      })
      const call = new StreamCall(method, terms, giveUp, inbox)
      begin(call, request, outgoing !== undefined)
      if (outgoing !== undefined) {
        call.sender = sendItems(
          {
            what: `an item for ${method.name}`,
            creditBytes: 0, // the callee grants it once it has taken the call
            itemBytesMax: method.incomingBytesMax,
            itemOverheadBytes: limits.rpcItemOverheadBytes,
            outbox,
            send: (payload) => outbox.frame(Kind.incoming, call.id, payload),
            done: (error) => {
              if (error === undefined) outbox.empty(Kind.incomingEnd, call.id)
              else giveUp(call, error instanceof GodelError ? error : sourceFailed(method, error))
            },
          },
          outgoing,
        )
      }
      return inbox
    },

    onFrame(kind, id, body) {
      const call = pending.get(id)
      if (call === undefined) return // it was given up here, and the answer was on its way
      // A violation comes before `finish`: the session's end fails the calls that are still pending.
      switch (kind) {
        case Kind.response:
          if (call.inbox !== undefined) return deps.violation('a response to a stream')
          finish(call)
          return call.response(body)
        case Kind.error:
          if (body.byteLength > limits.rpcErrorBytesMax) deps.violation('an error beyond its bound')
          finish(call)
          return call.fail(decodeError(body, peer), false)
        case Kind.item:
          if (call.inbox === undefined) return deps.violation('an item for a unary call')
          if (!call.inbox.push(body)) deps.violation('items beyond the credit')
          return
        case Kind.end:
          if (call.inbox === undefined) return deps.violation('the end of a stream for a unary call')
          finish(call)
          return call.inbox.end()
        case Kind.calleeCredit:
          return call.sender?.credit(readCredit(body))
      }
    },

    lost(reason) {
      lostReason = reason
      const sentBytes = outbox.sentBytes
      for (const call of [...pending.values()]) {
        finish(call)
        const code = call.endOffset <= sentBytes ? 'STREAM_LOST' : 'PEER_UNREACHABLE'
        call.fail(new GodelError({ code, peer, reason }), false)
      }
    },
  }
}

const sourceFailed = (method: Method, error: unknown): GodelError =>
  new GodelError({ code: 'CANCELLED', what: `${method.name}, since what it sends failed,` }, { cause: error })

type GiveUp = (call: OutgoingCall, error: GodelError) => void

/** A class, since a call is made a hundred thousand times a second and closures would cost more than the rest of it. */
abstract class OutgoingCall implements Deadline {
  id = 0
  endOffset = 0
  sender: ItemSender | undefined
  readonly inbox: ItemInbox<unknown> | undefined
  readonly deadlineMs: number
  readonly method: Method
  readonly terms: CallTerms
  readonly #giveUp: GiveUp

  constructor(method: Method, terms: CallTerms, giveUp: GiveUp, inbox?: ItemInbox<unknown>) {
    this.method = method
    this.terms = terms
    this.deadlineMs = terms.deadlineMs ?? Infinity
    this.inbox = inbox
    this.#giveUp = giveUp
  }

  abstract response(body: Buffer): void
  /** `at once` drops what the call has received and not yet handed out. */
  abstract fail(error: GodelError, atOnce: boolean): void

  expire(): void {
    const afterMs = this.terms.timeoutMs ?? 0
    this.#giveUp(this, new GodelError({ code: 'DEADLINE_EXCEEDED', what: this.method.name, afterMs }))
  }

  readonly onAbort = (): void => {
    this.#giveUp(this, new GodelError({ code: 'CANCELLED', what: this.method.name }))
  }

  remainingMs(clock: Pick<Clock, 'monotonicMs'>): number {
    if (this.deadlineMs === Infinity) return 0
    return Math.min(0xffffffff, Math.max(1, Math.ceil(this.deadlineMs - clock.monotonicMs())))
  }
}

class UnaryCall extends OutgoingCall {
  readonly #resolve: (value: unknown) => void
  readonly #reject: (error: unknown) => void

  constructor(
    method: Method,
    terms: CallTerms,
    giveUp: GiveUp,
    resolve: (value: unknown) => void,
    reject: (error: unknown) => void,
  ) {
    super(method, terms, giveUp)
    this.#resolve = resolve
    this.#reject = reject
  }

  response(body: Buffer): void {
    const { method } = this
    try {
      this.#resolve(method.parseResponse(boundedDecode(body, method.name, method.responseBytesMax)))
    } catch (error) {
      this.#reject(error)
    }
  }

  fail(error: GodelError): void {
    this.#reject(error)
  }
}

class StreamCall extends OutgoingCall {
  response(): void {}

  fail(error: GodelError, atOnce: boolean): void {
    if (atOnce) this.inbox!.fail(error)
    else this.inbox!.endWith(error)
  }
}
