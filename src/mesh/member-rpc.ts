/**
 * Calls to members, wherever they are: a realm of many nodes is not connected all with all, so a call connects first. A
 * member that is known to be down is not dialled for a call; finding it again is the seed loop's work, and the caller
 * hears at once.
 */
import type { Clock } from '../base/clock.ts'
import { GodelError } from '../base/errors.ts'
import type { Limits } from '../base/limits.ts'
import type { CallOptions, Rpc } from '../net/method.ts'
import type { Net } from '../net/net.ts'
import type { View } from './view.ts'

interface MemberRpcDeps {
  net: Pick<Net, 'peer' | 'rpc' | 'isAdmitted'>
  view: View
  connect: (peer: string, signal?: AbortSignal) => Promise<void>
  clock: Clock
  limits: Pick<Limits, 'dialTimeoutMs'>
}

export interface MemberRpc extends Rpc {
  /** Connects to a member unless it is connected. PEER_UNREACHABLE at once where it is known to be down, else after `timeoutMs`. */
  reach(peer: string, options?: CallOptions): Promise<void>
}

export const createMemberRpc = ({ net, view, connect, clock, limits }: MemberRpcDeps): MemberRpc => {
  const isReached = (peer: string) => peer === net.peer || net.isAdmitted(peer)

  const reach = async (peer: string, { signal, timeoutMs = limits.dialTimeoutMs }: CallOptions = {}): Promise<void> => {
    if (isReached(peer)) return
    const state = view.get(peer)?.state
    if (state === 'down' || state === 'left')
      throw new GodelError({ code: 'PEER_UNREACHABLE', peer, reason: state === 'down' ? 'it is down' : 'it has left' })
    const abort = new AbortController()
    const give = () => abort.abort(signal?.reason)
    const timer = clock.after(Math.min(timeoutMs, limits.dialTimeoutMs), () =>
      abort.abort(
        new GodelError({ code: 'PEER_UNREACHABLE', peer, reason: `it was not connected in ${timeoutMs} ms` }),
      ),
    )
    signal?.addEventListener('abort', give, { once: true })
    try {
      await connect(peer, abort.signal)
    } catch (error) {
      throw abort.signal.aborted ? abort.signal.reason : error
    } finally {
      timer.cancel()
      signal?.removeEventListener('abort', give)
    }
  }

  /** Connecting counts: what is left of the time is for the call. */
  const reached = async <O extends CallOptions>(peer: string, options: O | undefined): Promise<O | undefined> => {
    const startedAtMs = clock.monotonicMs()
    await reach(peer, options)
    if (options?.timeoutMs === undefined) return options
    return { ...options, timeoutMs: Math.max(1, options.timeoutMs - (clock.monotonicMs() - startedAtMs)) }
  }

  return {
    reach,
    register: net.rpc.register,
    async call(peer, method, request, options) {
      const left = isReached(peer) ? options : await reached(peer, options)
      return net.rpc.call(peer, method, request, left)
    },
    async *stream(peer, method, request, options) {
      const left = isReached(peer) ? options : await reached(peer, options)
      yield* net.rpc.stream(peer, method, request, left)
    },
  }
}
