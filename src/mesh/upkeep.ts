/** What is looked after once a minute: this node's certificate, renewed at half its life, and those of the admitted. */
import { every, type Clock } from '../base/clock.ts'
import { reasonOf } from '../base/errors.ts'
import type { Limits } from '../base/limits.ts'
import type { Log } from '../base/log.ts'
import type { NodeKey } from '../identity/node-key.ts'
import { issuersOf } from '../identity/realm-document.ts'
import type { Net } from '../net/net.ts'
import type { Advertiser } from './advertiser.ts'
import type { Issuing } from './issuing.ts'
import type { Member } from './membership.ts'
import { realmRenew } from './methods.ts'
import type { Trust } from './trust.ts'
import type { View } from './view.ts'

interface UpkeepDeps {
  net: Pick<Net, 'rpc'>
  key: NodeKey
  member: Member
  issuing: Issuing
  trust: Trust
  advertiser: Advertiser
  view: Pick<View, 'get'>
  connect: (peer: string, signal?: AbortSignal) => Promise<void>
  clock: Clock
  log: Log
  limits: Pick<
    Limits,
    'certificateCheckIntervalMs' | 'probeIntervalMs' | 'renewTimeoutMs' | 'renewRetryMs' | 'renewWarnEveryMs'
  >
}

export interface Upkeep {
  /** Since when no issuer has given a new certificate though it was time, on the wall clock. */
  failingSinceMs(): number | undefined
  close(): void
}

export const startUpkeep = (deps: UpkeepDeps): Upkeep => {
  const { member, trust, advertiser, clock, log, limits } = deps
  const failed = (error: unknown) => log.warn('looking after certificates failed', { error: reasonOf(error) })
  let failingSinceMs: number | undefined
  let saidAtMs = Number.NEGATIVE_INFINITY

  /** Said aloud now and then, and louder in the last tenth of the certificate's life. */
  const sayFailing = (nowMs: number): void => {
    failingSinceMs ??= nowMs
    if (nowMs < saidAtMs + limits.renewWarnEveryMs) return
    saidAtMs = nowMs
    const { issuedAtMs, expiresAtMs, role } = member.membership()
    const isLate = nowMs > expiresAtMs - (expiresAtMs - issuedAtMs) / 10
    const issuers = issuersOf(member.realm(), role)
    log[isLate ? 'error' : 'warn']('no issuer could be reached for a new certificate', { expiresAtMs, issuers })
  }

  const renewal = every(
    clock,
    () => (failingSinceMs === undefined ? limits.certificateCheckIntervalMs : limits.renewRetryMs),
    async () => {
      const { issuedAtMs, expiresAtMs } = member.membership()
      const nowMs = clock.wallMs()
      if (nowMs < (issuedAtMs + expiresAtMs) / 2) return
      if (!(await renewed(deps))) return sayFailing(nowMs)
      failingSinceMs = undefined
      saidAtMs = Number.NEGATIVE_INFINITY
      await advertiser.publish()
    },
    failed,
  )
  const expiry = every(clock, () => limits.probeIntervalMs, trust.sweep, failed)
  return {
    failingSinceMs: () => failingSinceMs,
    close() {
      renewal.stop()
      expiry.stop()
    },
  }
}

/** By this node itself where it is an issuer, or by the first issuer that gives one; those that are up are asked first. */
const renewed = async (deps: UpkeepDeps): Promise<boolean> => {
  const { net, key, member, issuing, connect, view, log, limits } = deps
  const membership = member.membership()
  if (member.grants().includes(membership.role)) {
    await member.renew(await issuing.renew(membership))
    return true
  }
  const isUp = (peer: string) => view.get(peer)?.state === 'alive'
  const issuers = issuersOf(member.realm(), membership.role).filter((peer) => peer !== key.peer)
  for (const peer of issuers.toSorted((a, b) => Number(isUp(b)) - Number(isUp(a)))) {
    try {
      await within(deps, (signal) => connect(peer, signal))
      const { certificate } = await net.rpc.call(peer, realmRenew, {}, { timeoutMs: limits.renewTimeoutMs })
      await member.renew(certificate)
      return true
    } catch (error) {
      log.debug('an issuer did not renew', { peer, error: reasonOf(error) })
    }
  }
  return false
}

const within = async (
  { clock, limits }: Pick<UpkeepDeps, 'clock' | 'limits'>,
  work: (signal: AbortSignal) => Promise<void>,
): Promise<void> => {
  const abort = new AbortController()
  const timer = clock.after(limits.renewTimeoutMs, () => abort.abort())
  try {
    await work(abort.signal)
  } finally {
    timer.cancel()
  }
}
