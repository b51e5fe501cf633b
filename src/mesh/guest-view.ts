/** The nodes of other realms and the pinned ones, as far as they show themselves: apart from the view of the realm, and never synced on. */
import type { Advertisement } from '../base/advertisement.ts'
import type { Level } from '../base/need.ts'
import type { PeerState } from './records.ts'

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
