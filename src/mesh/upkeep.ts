/** What is looked after once a minute: this node's certificate, renewed at half its life, and those of the admitted. */
import { every, type Clock } from '../base/clock.ts'
import { reasonOf } from '../base/errors.ts'
import type { Limits } from '../base/limits.ts'
import type { Log } from '../base/log.ts'
import type { NodeKey } from '../identity/node-key.ts'
import type { Net } from '../net/net.ts'
import type { Advertiser } from './advertiser.ts'
import type { Issuing } from './issuing.ts'
import type { Member } from './membership.ts'
import { realmRenew } from './methods.ts'
import type { Trust } from './trust.ts'

interface UpkeepDeps {
  net: Pick<Net, 'rpc'>
  key: NodeKey
  member: Member
  issuing: Issuing
  trust: Trust
  advertiser: Advertiser
  connect: (peer: string) => Promise<void>
  clock: Clock
  log: Log
  limits: Pick<Limits, 'certificateCheckIntervalMs' | 'probeIntervalMs'>
}

export const startUpkeep = (deps: UpkeepDeps): { close(): void } => {
  const { member, trust, advertiser, clock, log, limits } = deps
  const failed = (error: unknown) => log.warn('looking after certificates failed', { error: reasonOf(error) })

  const renewal = every(
    clock,
    () => limits.certificateCheckIntervalMs,
    async () => {
      const { issuedAtMs, expiresAtMs } = member.membership()
      if (clock.wallMs() < (issuedAtMs + expiresAtMs) / 2) return
      const next = await nextCertificate(deps)
      if (next === undefined) return log.warn('no issuer could be reached for a new certificate', { expiresAtMs })
      await member.renew(next)
      await advertiser.publish()
    },
    failed,
  )
  const expiry = every(clock, () => limits.probeIntervalMs, trust.sweep, failed)
  return {
    close() {
      renewal.stop()
      expiry.stop()
    },
  }
}

/** From this node itself where it is an issuer, or from the first issuer that answers. */
const nextCertificate = async ({
  net,
  key,
  member,
  issuing,
  connect,
  log,
}: UpkeepDeps): Promise<string | undefined> => {
  const membership = member.membership()
  if (member.grants().includes(membership.role)) return issuing.renew(membership)
  for (const { peer, roles } of member.realm().document.issuers) {
    if (peer === key.peer || !roles.includes(membership.role)) continue
    try {
      await connect(peer)
      return (await net.rpc.call(peer, realmRenew, {})).certificate
    } catch (error) {
      log.debug('an issuer did not renew', { peer, error: reasonOf(error) })
    }
  }
  return undefined
}
