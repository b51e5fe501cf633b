/**
 * Calls between peers (/godel/rpc/1). One session per pair of peers carries all calls of both; whoever calls first opens
 * it. A fresh stream costs more than a millisecond, a message on an open one a fifth of that.
 *
 * When both open at once, both sessions serve until the peer with the higher PeerId, on seeing the other's arrive, drains
 * its own. An arrival proves that the new session lives, so a session that only one side still believes in is never kept
 * in its favour. New calls go to the newest session that is not draining.
 */
import type { Connection, Stream } from '@libp2p/interface'
import { silentAudit, type Audit } from '../base/audit.ts'
import type { Clock } from '../base/clock.ts'
import { GodelError } from '../base/errors.ts'
import type { Limits } from '../base/limits.ts'
import type { Log } from '../base/log.ts'
import type { Meter } from '../base/meter.ts'
import { createRefusals } from '../base/refusals.ts'
import type { Standing } from '../base/standing.ts'
import { createRates, type PeerLoad } from './callee.ts'
import type { CallTerms } from './caller.ts'
import { deadlineSignal } from './deadline-signal.ts'
import { createDeadlines } from './deadlines.ts'
import { callLocally, streamLocally } from './local-call.ts'
import type { CallOptions, Method, Rpc, StreamOptions } from './method.ts'
import { reasonOf } from './reason.ts'
import { createRegistry } from './registry.ts'
import { createSession, type Session } from './session.ts'

export const rpcProtocol = '/godel/rpc/1'

export interface RpcDeps {
  readonly self: string
  readonly limits: Limits
  readonly clock: Clock
  readonly log: Log
  readonly meter: Meter
  readonly audit?: Audit
  /** Opens a stream of /godel/rpc/1; PEER_UNREACHABLE when there is no connection. */
  openStream(peer: string, signal: AbortSignal): Promise<{ stream: Stream; connection: Connection }>
  standingOf(peer: string): Standing | undefined
}

export interface RpcHost extends Rpc {
  /** A stream of /godel/rpc/1 that a peer has opened. */
  accept(stream: Stream, connection: Connection): void
  close(): void
}

interface PeerSessions {
  readonly load: PeerLoad
  sessions: Session[]
  opening: Promise<Session> | undefined
}

export const createRpc = (deps: RpcDeps): RpcHost => {
  const { self, limits, clock, log } = deps
  const violations = createRefusals(deps, { metric: 'rpc_violations' })
  const registry = createRegistry(self)
  const deadlines = createDeadlines(clock)
  const local = { self, clock, registry }
  const peers = new Map<string, PeerSessions>()
  /** The rates of peers that were here not long ago. */
  const spent = new Map<string, PeerLoad['rates']>()
  let closed = false

  const entryOf = (peer: string): PeerSessions => {
    let entry = peers.get(peer)
    if (entry === undefined) {
      const rates = spent.get(peer) ?? createRates(clock, limits)
      spent.delete(peer)
      entry = { load: { calls: 0, requestBytes: 0, rates }, sessions: [], opening: undefined }
      peers.set(peer, entry)
    }
    return entry
  }

  const forget = (peer: string, entry: PeerSessions) => {
    // An entry stays while handlers still run, or a peer could reset its load by opening a new session.
    if (entry.sessions.length + entry.load.calls > 0 || entry.opening !== undefined) return
    if (peers.delete(peer)) spent.set(peer, entry.load.rates)
    if (spent.size > limits.connectionsMax) spent.delete(spent.keys().next().value!)
  }

  const usable = (entry: PeerSessions | undefined): Session | undefined =>
    entry?.sessions.findLast((session) => session.usable)

  const add = (peer: string, stream: Stream, connection: Connection, outbound: boolean): Session => {
    const entry = entryOf(peer)
    const session = createSession({
      peer,
      stream,
      outbound,
      limits,
      clock,
      log,
      audit: deps.audit ?? silentAudit,
      deadlines,
      registry,
      load: entry.load,
      standing: () => deps.standingOf(peer),
      onViolation: (error) => {
        violations.note('a peer broke the RPC protocol', peer, error)
        connection.abort(error)
      },
      onEnd: (ended) => {
        entry.sessions = entry.sessions.filter((other) => other !== ended)
        forget(peer, entry)
      },
    })
    entry.sessions.push(session)
    return session
  }

  /** Drains our own sessions where the peer has opened one too and its PeerId is the lower. */
  const settle = (peer: string, entry: PeerSessions) => {
    if (peer > self || !entry.sessions.some((session) => !session.outbound && session.usable)) return
    for (const session of entry.sessions) if (session.outbound) session.drain()
  }

  const open = async (peer: string, entry: PeerSessions): Promise<Session> => {
    const deadline = deadlineSignal(clock, limits.dialTimeoutMs)
    try {
      const { stream, connection } = await deps.openStream(peer, deadline.signal)
      if (closed) {
        stream.abort(new Error('the node is stopping'))
        throw stopping()
      }
      const session = add(peer, stream, connection, true)
      settle(peer, entry)
      return usable(entry) ?? session
    } catch (error) {
      if (error instanceof GodelError) throw error
      throw new GodelError({ code: 'PEER_UNREACHABLE', peer, reason: reasonOf(error) }, { cause: error })
    } finally {
      deadline.done()
      entry.opening = undefined
      forget(peer, entry)
    }
  }

  const stopping = () => new GodelError({ code: 'NODE_STOPPING', node: self })

  /** Waits for a session that is being opened, no longer than the terms of the call allow. */
  const opened = (peer: string, method: Method, terms: CallTerms): Promise<Session> => {
    const entry = entryOf(peer)
    entry.opening ??= open(peer, entry)
    const { opening } = entry
    return new Promise((resolve, reject) => {
      const giveUp = (error: GodelError) => {
        done()
        reject(error)
      }
      const onAbort = () => giveUp(new GodelError({ code: 'CANCELLED', what: method.name }))
      const entryDeadline = {
        deadlineMs: terms.deadlineMs ?? Infinity,
        expire: () =>
          giveUp(new GodelError({ code: 'DEADLINE_EXCEEDED', what: method.name, afterMs: terms.timeoutMs ?? 0 })),
      }
      const done = () => {
        deadlines.remove(entryDeadline)
        terms.signal?.removeEventListener('abort', onAbort)
      }
      if (terms.signal?.aborted === true) return onAbort()
      terms.signal?.addEventListener('abort', onAbort, { once: true })
      if (entryDeadline.deadlineMs !== Infinity) deadlines.add(entryDeadline)
      opening.then(resolve, reject).finally(done)
    })
  }

  const termsOf = (timeoutMs: number, options: CallOptions): CallTerms => ({
    deadlineMs: timeoutMs === Infinity ? undefined : clock.monotonicMs() + timeoutMs,
    timeoutMs,
    signal: options.signal,
  })

  const boundTimeout = (options: CallOptions, otherwise: number) =>
    options.timeoutMs === undefined ? otherwise : Math.min(options.timeoutMs, limits.rpcTimeoutMsMax)

  const noOptions: StreamOptions<unknown> = {}

  const call = (peer: string, method: Method, request: unknown, options: CallOptions = noOptions): Promise<unknown> => {
    const timeoutMs = boundTimeout(options, limits.rpcDefaultTimeoutMs)
    if (closed) return Promise.reject(stopping())
    if (peer === self) return callLocally(local, method, request, timeoutMs, options)
    const terms = termsOf(timeoutMs, options)
    const session = usable(peers.get(peer))
    if (session !== undefined) return session.call(method, request, terms)
    return opened(peer, method, terms).then((fresh) => fresh.call(method, request, terms))
  }

  const stream = (
    peer: string,
    method: Method,
    request: unknown,
    options: StreamOptions<unknown> = noOptions,
  ): AsyncIterable<unknown> => {
    const timeoutMs = boundTimeout(options, Infinity)
    if (peer === self) return streamLocally(local, method, request, timeoutMs, options)
    return lazily(async () => {
      if (closed) throw stopping()
      const terms = termsOf(timeoutMs, options)
      const session = usable(peers.get(peer)) ?? (await opened(peer, method, terms))
      return session.stream(method, request, terms, options.outgoing)
    })
  }

  return {
    call: call as Rpc['call'],
    stream: stream as Rpc['stream'],
    register: registry.register,
    accept(inbound, connection) {
      const peer = connection.remotePeer.toString()
      if (closed) return inbound.abort(new Error('the node is stopping'))
      add(peer, inbound, connection, false)
      settle(peer, entryOf(peer))
    },
    close() {
      closed = true
      for (const entry of [...peers.values()]) {
        for (const session of [...entry.sessions]) session.end('the node is stopping')
      }
      deadlines.close()
    },
  }
}

/**
 * An iterator that begins with its first `next`. Unlike a generator it can be told to return while a `next` is pending,
 * which is how a stream that waits for its peer is left.
 */
const lazily = (begin: () => Promise<AsyncIterator<unknown>>): AsyncIterableIterator<unknown> => {
  let started: Promise<AsyncIterator<unknown>> | undefined
  let source: AsyncIterator<unknown> | undefined
  let left = false
  const done = { done: true, value: undefined } as const

  const start = async () => {
    source = await begin()
    if (left) await source.return?.()
    return source
  }

  return {
    next() {
      if (source !== undefined) return source.next()
      if (left) return Promise.resolve(done)
      started ??= start()
      return started.then((ready) => (left ? done : ready.next()))
    },
    async return() {
      left = true
      await source?.return?.()
      return done
    },
    [Symbol.asyncIterator]() {
      return this
    },
  }
}
