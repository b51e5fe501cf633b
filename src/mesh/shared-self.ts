/** What this node shares of itself: sealed when something changed that others route by, at the rate of the realm's topic. */
import type { Capacity, NodeTraits } from '../base/advertisement.ts'
import type { Clock, Timer } from '../base/clock.ts'
import { encode } from '../base/codec.ts'
import { GodelError, reasonOf } from '../base/errors.ts'
import type { Limits } from '../base/limits.ts'
import type { Log } from '../base/log.ts'
import type { Net } from '../net/net.ts'
import { initialRate, refreshIntervalMs, stepRate } from './advertise-rate.ts'
import type { Incarnation } from './incarnation.ts'
import type { Member } from './membership.ts'
import type { ShareRecord } from './methods.ts'
import { isPublicAddress } from './public-address.ts'
import { projectionOf, sharedCapacity, SHARE_DOMAIN, SHOWN_DOMAIN, type ShareAd } from './share-ad.ts'

export interface SharedSelf {
  /** Looks at the capacity and tells it, as the rate allows; nothing where the node is not shareable. */
  advertise(): void
  /** The last word for federated realms; undefined where the node is not shareable. */
  last(): (ShareRecord & { ad: ShareAd }) | undefined
  /** The state of this moment for a pinned node. */
  shown(): Promise<ShareRecord>
  /** The last word of all: `share` for the topic, where there is one, and `shown` for pinned nodes. */
  leave(): Promise<{ share: Uint8Array | undefined; shown: Uint8Array }>
  close(): void
}

interface SelfDeps {
  net: Pick<Net, 'peer' | 'seal' | 'addresses'>
  member: Pick<Member, 'realm' | 'certificate'>
  incarnation: Incarnation
  traits: NodeTraits
  capacity: () => Capacity
  /** Addresses that the operator gives, told as they are. */
  announce: readonly string[]
  /** How many nodes are up in the realm. */
  peers: () => number
  publish: (envelope: Uint8Array) => Promise<void>
  clock: Clock
  log: Log
  limits: Limits
  random: () => number
}

export const createSharedSelf = (deps: SelfDeps): SharedSelf => {
  const { net, member, incarnation, traits, capacity, clock, log, limits, random } = deps
  const shares = traits.shareable && traits.shareFraction > 0
  let rate = initialRate(clock.monotonicMs(), limits)
  let sequence = 0
  let spokenFor = 0
  let timer: Timer | undefined
  let left = false
  let closed = false
  let last: { ad: ShareAd; envelope: Uint8Array; issuedAtMs: number } | undefined

  const addresses = (): string[] =>
    [...new Set([...deps.announce, ...net.addresses().filter(isPublicAddress)])].slice(0, 8)

  const seal = async (domain: string, capacityNow: Capacity) => {
    const current = incarnation.current()
    if (current !== spokenFor) [spokenFor, sequence] = [current, 0]
    sequence++
    const ad = projectionOf(traits, capacityNow, {
      realm: member.realm().id,
      peer: net.peer,
      addresses: addresses(),
      incarnation: current,
      sequence,
      ttlMs: Math.round(limits.advertiseTtlFactor * refreshIntervalMs(deps.peers(), limits)),
      left,
      certificate: member.certificate(),
    })
    const issuedAtMs = clock.monotonicMs()
    return { ad, envelope: await net.seal(domain, fit(ad, limits)), issuedAtMs }
  }

  const publish = async (): Promise<void> => {
    if (closed) return
    last = await seal(SHARE_DOMAIN, sharedCapacity(capacity(), traits.shareFraction))
    await deps.publish(last.envelope)
  }

  const advertise = (): void => {
    if (!shares || left || closed) return
    timer?.cancel()
    const nowMs = clock.monotonicMs()
    const shared = sharedCapacity(capacity(), traits.shareFraction)
    const step = stepRate(rate, { nowMs, capacity: shared, peers: deps.peers(), random: random() }, limits)
    rate = step.state
    timer = clock.after(Math.max(1, step.wakeAtMs - nowMs), advertise)
    if (step.send)
      publish().catch((error: unknown) => log.warn('what is shared was not told', { error: reasonOf(error) }))
  }

  return {
    advertise,
    last() {
      if (!last) return undefined
      return { ...last, ageMs: Math.max(0, Math.round(clock.monotonicMs() - last.issuedAtMs)) }
    },
    async shown() {
      // Whoever was pinned is bound by the pin alone, and not by what is shared with realms.
      const { envelope } = await seal(SHOWN_DOMAIN, sharedCapacity(capacity(), 1))
      return { envelope, ageMs: 0 }
    },
    async leave() {
      left = true
      timer?.cancel()
      if (shares) await publish()
      const { envelope } = await seal(SHOWN_DOMAIN, sharedCapacity(capacity(), 1))
      return { share: shares ? last?.envelope : undefined, shown: envelope }
    },
    close() {
      closed = true
      timer?.cancel()
    },
  }
}

/** Addresses give way first: a guest that is connected needs none. INVALID_ARGUMENT where the rest does not fit. */
const fit = (ad: ShareAd, limits: Pick<Limits, 'advertisementBytesMax'>): Uint8Array => {
  for (let count = ad.addresses.length; ; count--) {
    const bytes = encode({ ...ad, addresses: ad.addresses.slice(0, count) })
    if (bytes.byteLength <= limits.advertisementBytesMax) return bytes
    if (count === 0)
      throw new GodelError({
        code: 'INVALID_ARGUMENT',
        field: 'traits',
        reason: `take more than ${limits.advertisementBytesMax} bytes`,
      })
  }
}
