/** How a newcomer comes in: it dials the issuer that its token names, whose PeerId the dial checks, and shows the token. */
import { sleep, type Clock } from '../base/clock.ts'
import { GodelError, hasCode, reasonOf } from '../base/errors.ts'
import type { Limits } from '../base/limits.ts'
import type { Log } from '../base/log.ts'
import type { JoinToken } from '../identity/join-token.ts'
import type { Net } from '../net/net.ts'
import type { Credentials } from './membership.ts'
import { realmJoin } from './methods.ts'

interface JoinDeps {
  net: Pick<Net, 'dial' | 'rpc'>
  clock: Clock
  log: Log
  limits: Pick<Limits, 'joinTimeoutMs' | 'joinRetryMs' | 'dialTimeoutMs'>
}

/**
 * Redeems a token with its issuer, trying again for limits.joinTimeoutMs while it cannot be reached. TOKEN_INVALID,
 * TOKEN_EXPIRED, TOKEN_USED_UP and whatever else the issuer says, SEED_UNREACHABLE.
 */
export const redeemToken = async (deps: JoinDeps, text: string, token: JoinToken): Promise<Credentials> => {
  const { net, clock, log, limits } = deps
  const endMs = clock.monotonicMs() + limits.joinTimeoutMs
  const addresses = token.seeds.filter((seed) => seed.peer === token.issuer).flatMap((seed) => seed.addresses)
  for (;;) {
    try {
      await dialWithin(deps, token.issuer, addresses)
      return await net.rpc.call(token.issuer, realmJoin, { token: text.trim() }, { timeoutMs: limits.dialTimeoutMs })
    } catch (error) {
      if (!isPassing(error)) throw error
      if (clock.monotonicMs() + limits.joinRetryMs >= endMs)
        throw new GodelError({ code: 'SEED_UNREACHABLE', seeds: addresses, reason: reasonOf(error) }, { cause: error })
      log.debug('the issuer cannot be reached yet', { issuer: token.issuer, error: reasonOf(error) })
      await sleep(clock, limits.joinRetryMs)
    }
  }
}

const dialWithin = async ({ net, clock, limits }: JoinDeps, peer: string, addresses: string[]): Promise<void> => {
  const controller = new AbortController()
  const timer = clock.after(limits.dialTimeoutMs, () => controller.abort())
  try {
    await net.dial(peer, addresses, controller.signal)
  } finally {
    timer.cancel()
  }
}

/** Not heard, or not ready: worth another try. Everything else is an answer. */
const isPassing = (error: unknown): boolean =>
  hasCode(
    error,
    'PEER_UNREACHABLE',
    'STREAM_LOST',
    'DEADLINE_EXCEEDED',
    'CANCELLED',
    'QUEUE_FULL',
    'NODE_STOPPING',
    // Between listening and being ready a node knows no methods.
    'METHOD_UNKNOWN',
  )
