/**
 * One open stream of /godel/rpc/1 with a peer, whoever opened it. Frames are cut, bounded and given to the side of the call
 * that they belong to; both sides of the session may call. A frame that breaks the protocol ends the session and its
 * connection, and nothing else.
 *
 * Draining, for when both peers opened a session at once: either end sends DRAIN and makes no more calls on the session,
 * the other does the same and says so, and when neither has a call left its opener closes the stream. No call is lost.
 */
import type { Stream, StreamMessageEvent } from '@libp2p/interface'
import type { Audit } from '../base/audit.ts'
import type { Clock } from '../base/clock.ts'
import { GodelError } from '../base/errors.ts'
import type { Limits } from '../base/limits.ts'
import type { Log } from '../base/log.ts'
import type { Standing } from '../base/standing.ts'
import { createCallee, type PeerLoad } from './callee.ts'
import { createCaller, type Caller } from './caller.ts'
import type { Deadlines } from './deadlines.ts'
import { createFrameReader, Kind } from './frame.ts'
import { createOutbox } from './outbox.ts'
import { reasonOf } from './reason.ts'
import type { Registry } from './registry.ts'

export interface SessionDeps {
  readonly peer: string
  readonly stream: Stream
  readonly outbound: boolean
  readonly limits: Limits
  readonly clock: Clock
  readonly log: Log
  readonly audit: Audit
  readonly deadlines: Deadlines
  readonly registry: Pick<Registry, 'find'>
  readonly load: PeerLoad
  standing(): Standing | undefined
  /** The peer broke the protocol: its connection is to be closed. */
  onViolation(error: GodelError): void
  onEnd(session: Session): void
}

export interface Session extends Pick<Caller, 'call' | 'stream'> {
  readonly outbound: boolean
  /** New calls may be made on it. */
  readonly usable: boolean
  /** Calls of either side that are not answered yet. */
  readonly pending: number
  /** Asks the peer to use another session. */
  drain(): void
  /** Ends it at once; pending calls fail with `reason`. */
  end(reason: string): void
}

export const createSession = (deps: SessionDeps): Session => {
  const { peer, stream, log } = deps
  let ended = false
  let drainSent = false
  let drainReceived = false

  const end = (reason: string, fault?: Error) => {
    if (ended) return
    ended = true
    outbox.close()
    stream.removeEventListener('message', onMessage)
    if (fault !== undefined) stream.abort(fault)
    else stream.close().catch((error: unknown) => stream.abort(error as Error))
    caller.lost(reason)
    callee.lost()
    deps.onEnd(session)
  }

  const violation = (reason: string): never => {
    throw new GodelError({ code: 'INVALID_MESSAGE', what: 'an RPC session', reason })
  }

  const outbox = createOutbox({
    stream,
    limits: deps.limits,
    onError: (error) => end(reasonOf(error), error as Error),
  })

  const isDrained = () => drainSent && drainReceived && deps.outbound && caller.pending + callee.pending === 0 && !ended

  const closeIfDrained = () => {
    if (!isDrained()) return
    // The last answer may still wait to be sent.
    void outbox.idle().then(() => {
      if (isDrained()) end('another session took its place')
    })
  }

  const parts = { ...deps, outbox, violation, ended: closeIfDrained }
  const caller = createCaller(parts)
  const callee = createCallee({
    ...parts,
    onDefect: (method, error) => log.error('a method failed', { method, peer, reason: reasonOf(error) }),
  })

  const drain = () => {
    if (drainSent || ended) return
    drainSent = true
    outbox.empty(Kind.drain, 0)
    closeIfDrained()
  }

  const onFrame = (kind: number, call: number, body: Buffer) => {
    switch (kind) {
      case Kind.request:
      case Kind.incoming:
      case Kind.incomingEnd:
      case Kind.cancel:
      case Kind.callerCredit:
        return callee.onFrame(kind, call, body)
      case Kind.response:
      case Kind.error:
      case Kind.item:
      case Kind.end:
      case Kind.calleeCredit:
        return caller.onFrame(kind, call, body)
      case Kind.drain:
        drainReceived = true
        drain()
        return closeIfDrained()
    }
    violation(`a frame of unknown kind ${kind}`)
  }

  const reader = createFrameReader(deps.limits.rpcFrameBytesMax, (kind, call, body) => {
    if (!ended) onFrame(kind, call, body)
  })

  const onMessage = (event: StreamMessageEvent) => {
    try {
      reader.push(event.data.subarray())
    } catch (error) {
      const fault = error as GodelError
      end(reasonOf(error), fault)
      deps.onViolation(fault)
    }
  }

  const onGone = () => end('the stream was closed')
  stream.addEventListener('message', onMessage)
  stream.addEventListener('remoteCloseWrite', onGone)
  stream.addEventListener('close', onGone)
  // The stream may have been closed before anybody listened; what it held is handed out in a microtask queued above.
  queueMicrotask(() => {
    if (stream.status !== 'open' || stream.remoteWriteStatus !== 'writable') onGone()
  })

  const session: Session = {
    outbound: deps.outbound,
    get usable() {
      return !ended && !drainSent && !drainReceived
    },
    get pending() {
      return caller.pending + callee.pending
    },
    call: caller.call,
    stream: caller.stream,
    drain,
    end: (reason) => end(reason, new Error(reason)),
  }
  return session
}
