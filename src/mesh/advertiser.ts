/**
 * What this node says of itself: builds, seals and publishes its advertisement, and is the only writer of the own entry
 * of the view. When it speaks is decided in advertise-rate.ts; the incarnation is on disk before it is used.
 */
import type { Advertisement, Capacity, NodeTraits } from '../base/advertisement.ts'
import type { Clock, Timer } from '../base/clock.ts'
import { encode } from '../base/codec.ts'
import { GodelError, reasonOf } from '../base/errors.ts'
import type { Limits } from '../base/limits.ts'
import type { Log } from '../base/log.ts'
import type { Meter } from '../base/meter.ts'
import type { Net } from '../net/net.ts'
import { AD_DOMAIN } from './accept.ts'
import { initialRate, refreshIntervalMs, stepRate } from './advertise-rate.ts'
import type { Incarnation } from './incarnation.ts'
import { compareAds, type PeerRecord } from './records.ts'
import type { MeshView } from './view.ts'

export interface Advertiser {
  /** Looks at the capacity and tells it, as the rate allows. */
  advertise(): void
  /** Tells it now, whatever the rate: there is somebody new to hear it. */
  publish(): Promise<void>
  /** The state of this moment, sealed. */
  fresh(): Promise<Uint8Array>
  /** The last sealed word if it still says the truth, otherwise a fresh one. */
  sealed(): Promise<{ envelope: Uint8Array; ageMs: number }>
  /** Answers a word about this node with an incarnation above `incarnation`. */
  refute(incarnation: number): void
  /** Seals and publishes the last word; nothing is said after it. */
  leave(): Promise<Uint8Array>
  close(): void
}

interface AdvertiserDeps {
  net: Pick<Net, 'peer' | 'seal' | 'addresses'>
  /** Puts a sealed advertisement on the topic of the realm. */
  gossip: (envelope: Uint8Array) => Promise<void>
  view: MeshView
  incarnation: Incarnation
  clock: Clock
  log: Log
  meter: Meter
  limits: Limits
  random: () => number
  capacity: () => Capacity
  traits: NodeTraits
  realm: () => string
  certificate: () => string
}

/** Seals the first advertisement. INVALID_ARGUMENT, naming the largest part, when the traits do not fit into one. */
export const startAdvertiser = async (deps: AdvertiserDeps): Promise<Advertiser> => {
  const { net, gossip, view, incarnation, clock, log, meter, limits, random, capacity, traits } = deps
  const startedAs = incarnation.current()
  let rate = initialRate(clock.monotonicMs(), limits)
  let sequence = 0
  let spokenFor = 0
  let timer: Timer | undefined
  let left = false
  let closed = false
  let last: PeerRecord | undefined
  let refuteAbove = 0
  let refutedAtMs = Number.NEGATIVE_INFINITY
  let refuteTimer: Timer | undefined

  const sequenceIn = (current: number): number => {
    if (current !== spokenFor) {
      spokenFor = current
      sequence = 0
    }
    return sequence
  }

  /** The load says `busy`; only `draining` is a decision of its own. */
  const present = (): Capacity => {
    const now = capacity()
    if (now.status === 'draining') return now
    return { ...now, status: now.currentLoad >= 1 ? 'busy' : 'available' }
  }

  const build = (): Advertisement => {
    const current = incarnation.current()
    const whole: Advertisement = {
      realm: deps.realm(),
      peer: net.peer,
      ...traits,
      ...present(),
      ensembles: [],
      addresses: net.addresses().slice(0, limits.addressesAdvertisedMax),
      incarnation: current,
      startedAs,
      sequence: sequenceIn(current),
      ttlMs: Math.round(limits.advertiseTtlFactor * refreshIntervalMs(view.size(), limits)),
      left,
      certificate: deps.certificate(),
    }
    return whole
  }

  /** Addresses can be found out by identify, so they are what gives way when they no longer fit. */
  const fit = (ad: Advertisement): Uint8Array => {
    let bytes = encode(ad)
    while (bytes.byteLength > limits.advertisementBytesMax && ad.addresses.length > 1) {
      ad.addresses.pop()
      bytes = encode(ad)
    }
    if (bytes.byteLength > limits.advertisementBytesMax)
      throw tooLarge(ad, bytes.byteLength, limits.advertisementBytesMax)
    return bytes
  }

  const seal = async (): Promise<PeerRecord> => {
    sequenceIn(incarnation.current())
    sequence++
    const ad = build()
    const payload = fit(ad)
    const issuedAtMs = clock.monotonicMs()
    const envelope = await net.seal(AD_DOMAIN, payload)
    const record: PeerRecord = { peer: net.peer, ad, envelope, issuedAtMs, accusations: [], accusedAtMs: undefined }
    if (last === undefined || compareAds(record, last) > 0) {
      last = record
      view.setSelf(record, () => ({ ...record.ad, ...(left ? {} : present()), left }))
    }
    return record
  }

  const isTrue = (record: PeerRecord): boolean => {
    const now = fit({ ...build(), sequence: record.ad.sequence })
    return Buffer.compare(now, encode(record.ad)) === 0
  }

  const publish = async (): Promise<void> => {
    if (left || closed) return
    const { envelope } = await seal()
    meter.count('mesh_advertisements_sent_total')
    await gossip(envelope)
  }

  const failed = (error: unknown) => log.warn('an advertisement was not sent', { error: reasonOf(error) })

  const advertise = (): void => {
    if (left || closed) return
    timer?.cancel()
    const nowMs = clock.monotonicMs()
    const step = stepRate(rate, { nowMs, capacity: present(), peers: view.size(), random: random() }, limits)
    rate = step.state
    timer = clock.after(Math.max(1, step.wakeAtMs - nowMs), advertise)
    if (step.send) publish().catch(failed)
  }

  const answer = (): void => {
    refuteTimer = undefined
    if (left || closed) return
    refutedAtMs = clock.monotonicMs()
    log.info('answering a word about this node', { incarnation: refuteAbove })
    meter.count('mesh_refutations_total')
    incarnation.raise(refuteAbove).then(publish).catch(failed)
  }

  await seal()
  return {
    advertise,
    publish,
    fresh: async () => (await seal()).envelope,
    async sealed() {
      const record = last !== undefined && !closed && isTrue(last) && !isOld(last, clock, limits) ? last : await seal()
      return { envelope: record.envelope, ageMs: Math.max(0, Math.round(clock.monotonicMs() - record.issuedAtMs)) }
    },
    refute(above) {
      if (left || closed || above < incarnation.current()) return
      refuteAbove = Math.max(refuteAbove, above)
      if (refuteTimer) return
      const waitMs = Math.max(0, refutedAtMs + limits.refuteIntervalMs - clock.monotonicMs())
      refuteTimer = clock.after(waitMs, answer)
    },
    async leave() {
      left = true
      timer?.cancel()
      refuteTimer?.cancel()
      const { envelope } = await seal()
      await gossip(envelope)
      return envelope
    },
    close() {
      closed = true
      timer?.cancel()
      refuteTimer?.cancel()
    },
  }
}

/** A word in the last third of its life is not worth handing out. */
const isOld = (record: PeerRecord, clock: Clock, limits: Pick<Limits, 'advertiseTtlFactor'>): boolean =>
  clock.monotonicMs() - record.issuedAtMs > record.ad.ttlMs / limits.advertiseTtlFactor

const tooLarge = (ad: Advertisement, bytes: number, limitBytes: number): GodelError => {
  const sizes = (['labels', 'capabilities', 'runtimes', 'gpu', 'addresses', 'name'] as const).map(
    (part) => [part, encode(ad[part]).byteLength] as const,
  )
  const [largest, size] = sizes.reduce((a, b) => (b[1] > a[1] ? b : a))
  return new GodelError({
    code: 'INVALID_ARGUMENT',
    field: largest,
    reason: `takes ${size} bytes, and with it what this node tells of itself takes ${bytes}, of which at most ${limitBytes} are carried`,
  })
}
