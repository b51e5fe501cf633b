/** Everything that this node has to do with nodes outside its realm, built and tied together: what one hears, another acts on. */
import { every } from '../base/clock.ts'
import { GodelError, reasonOf } from '../base/errors.ts'
import type { Refusals } from '../base/refusals.ts'
import type { Seed } from '../identity/realm-document.ts'
import { bind, type BoundMethod } from '../net/method.ts'
import type { Direction } from '../net/net.ts'
import type { Certificates } from './certificates.ts'
import { openForeign, type Foreign } from './foreign.ts'
import { createGuestSeeds, type GuestSeeds } from './guest-seeds.ts'
import { createGuestView, type MeshGuestView } from './guest-view.ts'
import { createGuests, isUnwanted, type Guests } from './guests.ts'
import type { Incarnation } from './incarnation.ts'
import type { Member } from './membership.ts'
import type { MeshDeps } from './mesh.ts'
import { nodeShown, realmNews, shareLeft } from './methods.ts'
import { openPins, type OwnPins } from './pins.ts'
import { isPublicAddress } from './public-address.ts'
import { createShare, type Share } from './share.ts'
import { createSharedSelf, type SharedSelf } from './shared-self.ts'
import { createShelves, type Shelves } from './shelves.ts'
import type { MeshView } from './view.ts'

export interface Outside {
  readonly foreign: Foreign
  readonly guests: Guests
  readonly pins: OwnPins
  readonly view: MeshGuestView
  readonly methods: BoundMethod[]
  addressesOf(peer: string): string[]
  /** Looks at what this node shares, and tells it as the rate allows. */
  advertise(): void
  /** A member was let in: what it knows of the shared nodes is worth having. */
  memberAdmitted(peer: string, direction: Direction): void
  /** Nodes by which this realm is found from another. */
  cardSeeds(): Seed[]
  start(connect: (peer: string) => Promise<void>): void
  /** Says good-bye outside the realm. */
  leave(): Promise<void>
  stop(): void
  close(): void
}

interface OutsideDeps extends MeshDeps {
  random: () => number
  member: Member
  incarnation: Incarnation
  realmView: MeshView
  certificates: Certificates
  refusals: Refusals
  announce: readonly string[]
}

interface Parts {
  foreign: Foreign
  pins: OwnPins
  guests: Guests
  shelves: Shelves
  view: MeshGuestView
  share: Share
  self: SharedSelf
  seeds: GuestSeeds
}

export const openOutside = async (deps: OutsideDeps): Promise<Outside> => {
  const { net, member, realmView, limits, announce } = deps
  const parts = await openParts(deps)
  const { foreign, pins, guests, shelves, view, share, self, seeds } = parts
  const ties = tie(deps, parts)
  share.follow()
  let running: { stop(): void }[] = []

  return {
    foreign,
    guests,
    pins,
    view,
    methods: [...share.methods, ...methodsOf(deps, parts)],
    addressesOf: seeds.addressesOf,
    advertise: self.advertise,
    memberAdmitted: (peer, direction) => ties.pullSoon(peer, member.realm().id, direction),
    cardSeeds() {
      const others = shelves.own.alive().flatMap(({ peer, ad }) => (ad.addresses.length > 0 ? [{ peer, ad }] : []))
      const own = [...new Set([...announce, ...net.addresses().filter(isPublicAddress)])]
      // The operator hands the card out: within one site the internal addresses are the only ones there are.
      const addresses = (own.length > 0 ? own : net.addresses().filter((one) => !one.includes('/p2p-circuit'))).slice(
        0,
        8,
      )
      return [{ peer: net.peer, addresses }, ...others.map(({ peer, ad }) => ({ peer, addresses: ad.addresses }))]
        .filter((seed) => seed.addresses.length > 0 && realmView.get(seed.peer)?.state !== 'down')
        .slice(0, limits.cardSeedsMax)
    },
    start(connect) {
      seeds.start(connect)
      share.start()
      self.advertise()
      running = [ties.housekeeping(), ties.showing(), ties.telling()]
    },
    leave: () => sayGoodBye(deps, parts),
    stop() {
      seeds.close()
      for (const loop of running) loop.stop()
    },
    close() {
      self.close()
      share.close()
      guests.close()
      foreign.close()
      ties.close()
    },
  }
}

const openParts = async (deps: OutsideDeps): Promise<Parts> => {
  const { net, key, member, store, clock, log, limits, random, refusals, certificates, realmView } = deps
  const { traits, capacity, incarnation, announce } = deps
  const foreign = await openForeign({ net, member, store, clock, log, limits })
  const pins = openPins({ self: key.peer, store, log, limits, isConnected: net.isAdmitted })
  const guests = createGuests({ net, member, foreign, pins, refusals, clock, log })
  const shelves = createShelves({ net, member, certificates, foreign, clock, log, limits })
  const view = createGuestView({ shelves, foreign, net, log })
  const share = createShare({
    ...{ net, member, certificates, foreign, shelves, refusals, clock, log, limits, random },
    view: realmView,
    self: () => self,
  })
  const self: SharedSelf = createSharedSelf({
    ...{ net, member, incarnation, traits, capacity, announce, clock, log, limits, random },
    peers: realmView.size,
    publish: share.publish,
  })
  const seeds = createGuestSeeds({
    ...{ net, foreign, pins, shelves, store, clock, log, limits, random },
    onFailed(peer, error) {
      // The one node that was left says that it is over: what is known of its realm is of no use, or not true any more.
      const realm = foreign.all().find(({ id }) => shelves.of(id)?.record(peer))?.id
      if (realm !== undefined && isUnwanted(error) && guests.of(realm).length === 0) shelves.drop(realm)
    },
  })
  return { foreign, pins, guests, shelves, view, share, self, seeds }
}

const methodsOf = ({ net }: OutsideDeps, { foreign, guests, pins, shelves, self }: Parts): BoundMethod[] => [
  bind(realmNews, async ({ head }, { peer, standing }) => {
    // Only of its own realm a guest has news.
    if (standing?.kind === 'guest' && standing.realm === head.realm) await foreign.learnFrom(peer, head)
    return {}
  }),
  bind(nodeShown, (_, { peer, standing }) => {
    if (standing?.kind !== 'guest' || standing.by !== 'pin' || !pins.get(peer))
      throw new GodelError({ code: 'FORBIDDEN', action: 'node.shown', reason: 'it is for pinned nodes' })
    return self.shown()
  }),
  bind(shareLeft, async ({ envelope }, { peer, standing }) => {
    const record = { envelope, ageMs: 0 }
    if (standing?.kind !== 'guest') return {}
    if (standing.by === 'pin') await shelves.shown(peer, record)
    else if (guests.of(standing.realm).includes(peer) && peer !== net.peer) await shelves.share(standing.realm!, record)
    return {}
  }),
]

/** What follows from what. */
const tie = (deps: OutsideDeps, parts: Parts) => {
  const { net, member, clock, log, limits, refusals } = deps
  const { foreign, pins, guests, shelves, view, share, seeds } = parts
  const failed = (what: string) => (error: unknown) => log.debug(what, { error: reasonOf(error) })

  /** The other side of a dial that came in admits this node a moment later, and refuses what it is asked before. */
  const settleMs = (direction: Direction) => (direction === 'outbound' ? 0 : limits.shareRealmSettleMs)
  const pullSoon = (peer: string, realm: string, direction: Direction): void => {
    const pull = () => void share.pull(peer, realm).catch(failed('what is shared could not be pulled'))
    clock.after(settleMs(direction), pull)
  }
  const show = async (peer: string): Promise<void> => {
    const record = await net.rpc.call(peer, nodeShown, {}, { timeoutMs: limits.probeTimeoutMs })
    if (!pins.get(peer)) return
    await shelves
      .shown(peer, record)
      .catch((error: unknown) => refusals.note('refused what a pinned node shows', peer, error))
    const name = shelves.pinned.get(peer)?.ad.name
    if (name !== undefined) await pins.note(peer, { name })
  }
  const showAll = async (): Promise<void> => {
    await Promise.all(
      guests.of(undefined).map((peer) => show(peer).catch(failed('a pinned node does not show itself'))),
    )
  }

  guests.onAdmitted((peer, guest, direction) => {
    if (guest.by === 'realm') {
      seeds.admitted(peer, guest.realm)
      pullSoon(peer, guest.realm, direction)
      // What came between showing and being let in.
      clock.after(limits.shareRealmSettleMs, () => tellGuest(peer))
    } else clock.after(settleMs(direction), () => void show(peer).catch(failed('a pinned node does not show itself')))
    view.touch(peer)
  })
  pins.onChange((peer) => {
    guests.judgePinned(peer)
    seeds.retry(peer)
    if (!pins.get(peer) && shelves.pinned.get(peer)) shelves.pinned.forget(peer)
    view.touch(peer)
  })
  foreign.onChange((realm) => {
    share.follow()
    void guests.judgeAnew(realm).catch(failed('judging the guests anew failed'))
    void shelves.judgeAnew(realm).catch(failed('judging what is shared anew failed'))
    view.touchRealm(realm)
  })

  /** Guests hear of it at once: it may be why one of this realm is no guest of theirs any more. */
  const tellGuest = (peer: string): void => {
    const standing = net.standingOf(peer)
    if (standing?.kind !== 'guest' || standing.by !== 'realm') return
    const call = net.rpc.call(peer, realmNews, { head: member.head() }, { timeoutMs: limits.presentTimeoutMs })
    call.catch(failed('a guest was not told of the news of the realm'))
  }
  const tellGuests = (): void => net.connected().forEach(tellGuest)
  const offMember = member.onChange((now, before) => {
    if (now.trustHash === before.trustHash) return
    tellGuests()
    void shelves.judgeAnew(now.id).catch(failed('judging what is shared anew failed'))
  })
  const offGone = net.onDisconnected((peer) => {
    if (shelves.pinned.get(peer)) view.touch(peer)
  })

  const onError = (error: unknown) => log.warn('looking after guests failed', { error: reasonOf(error) })
  return {
    pullSoon,
    telling: () => every(clock, () => limits.syncIntervalMs, tellGuests, onError),
    showing: () => every(clock, () => limits.pinShownIntervalMs, showAll, onError),
    housekeeping: () =>
      every(
        clock,
        () => limits.probeIntervalMs,
        async () => {
          shelves.sweep()
          await guests.sweep()
        },
        onError,
      ),
    close() {
      offMember()
      offGone()
    },
  }
}

const sayGoodBye = async ({ net, limits }: OutsideDeps, { guests, self }: Parts): Promise<void> => {
  const { share, shown } = await self.leave()
  const options = { timeoutMs: limits.leaveTimeoutMs }
  const calls = net.connected().map((peer) => {
    const standing = net.standingOf(peer)
    if (standing?.kind !== 'guest') return undefined
    if (standing.by === 'pin') return net.rpc.call(peer, shareLeft, { envelope: shown }, options)
    const mayHear = standing.scopes.includes('capacity') && guests.of(standing.realm).includes(peer)
    return share && mayHear ? net.rpc.call(peer, shareLeft, { envelope: share }, options) : undefined
  })
  await Promise.allSettled(calls)
}
