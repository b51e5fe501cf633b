/** The nodes of other realms and the pinned ones, as far as they show themselves: apart from the view of the realm, and never synced on. */
import type { Advertisement } from '../base/advertisement.ts'
import { reasonOf } from '../base/errors.ts'
import type { Log } from '../base/log.ts'
import type { Level } from '../base/need.ts'
import type { Net } from '../net/net.ts'
import type { Foreign } from './foreign.ts'
import type { PeerState } from './records.ts'
import type { Shelves } from './shelves.ts'
import type { PeerView } from './view.ts'

export interface GuestPeer {
  readonly peer: string
  /** `unregistered` for a pinned node, `cross-realm` for one of a named realm. */
  readonly level: Exclude<Level, 'realm'>
  /** The id and name of its realm; undefined for a pinned node without one. */
  readonly realm: string | undefined
  readonly realmName: string | undefined
  readonly state: PeerState
  /** What it shares of itself: no labels, no internal addresses, and of its slots only the shared fraction. */
  readonly ad: Advertisement
  readonly ageMs: number
  /** Agents of this node may go there: this side lets them out, and the peer shows that it takes some. */
  readonly usable: boolean
}

export interface GuestView {
  get(peer: string): GuestPeer | undefined
  entries(): Iterable<GuestPeer>
  /** Tells of every change; `undefined` as `entry` where the peer is known no longer. Listeners must not throw. */
  onChange(fn: (peer: string, entry: GuestPeer | undefined) => void): () => void
}

/** The writing side, for the parts of this room. */
export interface MeshGuestView extends GuestView {
  /** Something changed that an entry rests on: it is told anew. */
  touch(peer: string): void
  touchRealm(realm: string): void
}

export const createGuestView = (deps: {
  shelves: Shelves
  foreign: Foreign
  net: Pick<Net, 'isAdmitted'>
  log: Log
}): MeshGuestView => {
  const { shelves, foreign, net, log } = deps
  const listeners = new Set<(peer: string, entry: GuestPeer | undefined) => void>()

  const shownOf = (realm: string, { peer, state, ad, ageMs }: PeerView): GuestPeer | undefined => {
    const named = foreign.named(realm)
    if (!named) return undefined
    const usable = named.out && ad.maxConcurrent > 0
    return { peer, level: 'cross-realm', realm, realmName: named.name, state, ad, ageMs, usable }
  }

  /** A pinned node is heard from over its own connection alone: without one it is not known how it is. */
  const pinnedOf = ({ peer, state, ad, ageMs }: PeerView): GuestPeer => ({
    peer,
    level: 'unregistered',
    realm: undefined,
    realmName: undefined,
    state: state === 'alive' && !net.isAdmitted(peer) ? 'suspect' : state,
    ad,
    ageMs,
    usable: ad.maxConcurrent > 0,
  })

  const get = (peer: string): GuestPeer | undefined => {
    const pinned = shelves.pinned.get(peer)
    if (pinned) return pinnedOf(pinned)
    for (const realm of shelves.realms()) {
      const entry = shelves.of(realm)?.get(peer)
      const shown = entry && shownOf(realm, entry)
      if (shown) return shown
    }
    return undefined
  }

  const touch = (peer: string): void => {
    const entry = get(peer)
    for (const listener of listeners) {
      try {
        listener(peer, entry)
      } catch (error) {
        log.error('a listener of the guests failed', { error: reasonOf(error) })
      }
    }
  }
  shelves.onChange((_, peer) => touch(peer))

  return {
    get,
    entries() {
      const pinned = [...shelves.pinned.entries()]
      const hidden = new Set(pinned.map(({ peer }) => peer))
      const shared = shelves.realms().flatMap((realm) =>
        [...(shelves.of(realm)?.entries() ?? [])].flatMap((entry) => {
          const shown = hidden.has(entry.peer) ? undefined : shownOf(realm, entry)
          return shown ? [shown] : []
        }),
      )
      return [...pinned.map(pinnedOf), ...shared]
    },
    onChange(fn) {
      listeners.add(fn)
      return () => void listeners.delete(fn)
    },
    touch,
    touchRealm(realm) {
      for (const { peer } of [...(shelves.of(realm)?.entries() ?? [])]) touch(peer)
    },
  }
}
