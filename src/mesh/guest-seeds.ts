/**
 * Keeps connections to what is outside the realm: to every pinned node, and to a few nodes of each named realm, found by its
 * seeds, by what its nodes share and by those that were met before. A peer that does not answer is tried ever more seldom.
 */
import { Type } from 'typebox'
import { every, type Clock } from '../base/clock.ts'
import { decode, encode } from '../base/codec.ts'
import { reasonOf } from '../base/errors.ts'
import type { Limits } from '../base/limits.ts'
import type { Log } from '../base/log.ts'
import { parser } from '../base/schema.ts'
import type { Net } from '../net/net.ts'
import type { Store, Write } from '../store/store.ts'
import { retryDelayMs, type DialAttempt } from './dial-plan.ts'
import type { Foreign } from './foreign.ts'
import type { OwnPins } from './pins.ts'
import { mayLeadOutside } from './public-address.ts'
import type { Shelves } from './shelves.ts'

const SPACE = 'guests'
const parseAddresses = parser('a remembered guest', Type.Array(Type.String({ maxLength: 255 }), { maxItems: 16 }))

export interface GuestSeeds {
  addressesOf(peer: string): string[]
  /** A node of a realm was let in: it is remembered with its addresses. */
  admitted(peer: string, realm: string): void
  /** The peer is worth a try at once. */
  retry(peer: string): void
  start(connect: (peer: string) => Promise<void>): void
  close(): void
}

interface GuestSeedsDeps {
  net: Pick<Net, 'peer' | 'isAdmitted' | 'remoteAddresses' | 'standingOf' | 'connected'>
  foreign: Foreign
  pins: OwnPins
  shelves: Shelves
  store: Store
  clock: Clock
  log: Log
  limits: Limits
  random: () => number
  /** A peer could not be connected to. */
  onFailed: (peer: string, error: unknown) => void
}

export const createGuestSeeds = (deps: GuestSeedsDeps): GuestSeeds => {
  const { net, foreign, pins, shelves, clock, log, limits, random } = deps
  const remembered = openRemembered(deps)
  const attempts = new Map<string, DialAttempt>()
  const dialling = new Set<string>()
  let loop: { stop(): void } | undefined

  const candidates = (realm: string): string[] => {
    const shared = [...(shelves.of(realm)?.records() ?? [])].filter(
      ({ ad }) => !ad.left && ad.addresses.some(mayLeadOutside),
    )
    const seeds = foreign.named(realm)?.seeds ?? []
    const peers = new Set([...seeds, ...shared, ...remembered.of(realm)].map(({ peer }) => peer))
    return [...peers].filter((peer) => foreign.realm(realm)?.revoked.has(peer) !== true)
  }

  const wanted = (): string[] => {
    const connected = net.connected().map((peer) => net.standingOf(peer))
    const missing = foreign.all().flatMap(({ id }) => {
      const has = connected.filter((one) => one?.kind === 'guest' && one.realm === id).length
      if (has >= limits.guestConnectionsWanted) return []
      return candidates(id)
    })
    const all = [...pins.list().map(({ peer }) => peer), ...missing]
    return [...new Set(all)].filter((peer) => peer !== net.peer && !net.isAdmitted(peer))
  }

  const dial = async (peer: string, connect: (peer: string) => Promise<void>): Promise<void> => {
    dialling.add(peer)
    try {
      await connect(peer)
      attempts.delete(peer)
    } catch (error) {
      const failures = (attempts.get(peer)?.failures ?? 0) + 1
      attempts.set(peer, { failures, notBeforeMs: clock.monotonicMs() + retryDelayMs(failures, random(), limits) })
      log.debug('a peer outside the realm could not be connected to', { peer, failures, error: reasonOf(error) })
      deps.onFailed(peer, error)
    } finally {
      dialling.delete(peer)
    }
  }

  const round = (connect: (peer: string) => Promise<void>): void => {
    const nowMs = clock.monotonicMs()
    const peers = wanted()
    for (const peer of attempts.keys()) if (!peers.includes(peer)) attempts.delete(peer)
    const due = peers.filter((peer) => !dialling.has(peer) && (attempts.get(peer)?.notBeforeMs ?? 0) <= nowMs)
    // The ones that failed least first, and among equals any: not all are to crowd in on the first seed.
    const ranked = due
      .map((peer) => ({ peer, rank: (attempts.get(peer)?.failures ?? 0) + random() }))
      .toSorted((a, b) => a.rank - b.rank)
    for (const { peer } of ranked.slice(0, Math.max(0, limits.seedDialsAtOnce - dialling.size)))
      void dial(peer, connect)
  }

  return {
    addressesOf(peer) {
      const realms = foreign.all()
      const seeds = [...realms.flatMap(({ id, seeds: own }) => [...own, ...remembered.of(id)])]
      const shared = realms.flatMap(({ id }) => shelves.of(id)?.record(peer)?.ad.addresses ?? []).filter(mayLeadOutside)
      return [
        ...(pins.get(peer)?.addresses ?? []),
        ...shared,
        ...seeds.filter((seed) => seed.peer === peer).flatMap(({ addresses }) => addresses),
      ]
    },
    admitted(peer, realm) {
      attempts.delete(peer)
      const addresses = net.remoteAddresses(peer).slice(0, limits.addressesPerPeerMax)
      if (addresses.length > 0) remembered.add(realm, peer, addresses)
    },
    retry: (peer) => void attempts.delete(peer),
    start(connect) {
      const failed = (error: unknown) => log.warn('looking for guests failed', { error: reasonOf(error) })
      loop = every(
        clock,
        () => limits.guestTickMs,
        () => round(connect),
        failed,
      )
    },
    close: () => loop?.stop(),
  }
}

/** The last few nodes of each realm that were let in. */
const openRemembered = ({ store, log, limits }: GuestSeedsDeps) => {
  const kept = new Map<string, string[]>()
  for (const [key, bytes] of store.scan(SPACE)) {
    try {
      kept.set(key, parseAddresses(decode(bytes, 'a remembered guest')))
    } catch (error) {
      log.warn('a remembered guest could not be read', { key, error: reasonOf(error) })
    }
  }
  const of = (realm: string) =>
    [...kept].flatMap(([key, addresses]) =>
      key.startsWith(`${realm}/`) ? [{ peer: key.slice(realm.length + 1), addresses }] : [],
    )
  return {
    of,
    add(realm: string, peer: string, addresses: string[]): void {
      const key = `${realm}/${peer}`
      if (kept.get(key)?.join() === addresses.join()) return
      kept.delete(key)
      kept.set(key, addresses)
      const gone = of(realm)
        .slice(0, -limits.guestsRememberedMax)
        .map((old) => `${realm}/${old.peer}`)
      for (const old of gone) kept.delete(old)
      const writes: Write[] = [
        { space: SPACE, key, value: encode(addresses) },
        ...gone.map((old) => ({ space: SPACE, key: old, value: null })),
      ]
      store.commit(writes).catch((error: unknown) => log.warn('a guest was not kept', { error: reasonOf(error) }))
    },
  }
}
