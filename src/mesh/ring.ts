/**
 * Who watches whom: consistent hashing on a ring of peers (Karger and others, 1997). A node's watchers are the next few after
 * it. A change of the mesh costs a node only where it falls among its nearest: those are kept in order, some more of them
 * than are watched, and all peers are looked at again only when too few of these are left.
 */
import { hash32 } from '../base/hash.ts'

interface Placed {
  readonly peer: string
  /** How far before this node on the ring. */
  readonly distance: number
}

export interface Neighbours {
  /** A peer is up, or is so no more. */
  came(peer: string): void
  went(peer: string): void
  /** The nearest few before this node, nearest first; `up` gives all that are up where they have to be looked at again. */
  nearest(up: () => Iterable<string>): string[]
}

const places = 2 ** 32
/** Kept beyond those that are watched, as a multiple of them. */
const reserve = 4

const place = (peer: string): number => hash32(`ring\0${peer}`)

/** Of two in one place the greater peer is the later on the ring. */
const distanceFrom = (self: string): ((peer: string) => number) => {
  const at = place(self)
  return (peer) => {
    const distance = (at - place(peer) + places) % places
    return distance === 0 && peer > self ? places : distance
  }
}

const isNearer = (a: Placed, b: Placed): boolean =>
  a.distance === b.distance ? a.peer > b.peer : a.distance < b.distance

/**
 * Whether an accuser may be among the watchers of a subject, where `up` peers are up. Its watchers are the next few after it;
 * since views differ, whoever is not many times farther than these are on average counts too, which in a small realm is anybody.
 */
export const mayWatch = (accuser: string, subject: string, up: number, within: number): boolean =>
  distanceFrom(accuser)(subject) * up <= within * places

/** Follows who is up, for the node `self`, which watches `watchers` others. */
export const createNeighbours = (self: string, watchers: number): Neighbours => {
  const distance = distanceFrom(self)
  const kept = watchers * (1 + reserve)
  let near: Placed[] = []
  /** Everybody up to here is in `near`; undefined: nobody is left out. */
  let border: Placed | undefined = { peer: self, distance: -1 }

  const insert = (one: Placed): void => {
    if (near.some(({ peer }) => peer === one.peer)) return
    const at = near.findIndex((other) => isNearer(one, other))
    near.splice(at < 0 ? near.length : at, 0, one)
    if (near.length <= kept) return
    near = near.slice(0, kept)
    border = near.at(-1)!
  }

  const came = (peer: string): void => {
    if (peer === self) return
    const one = { peer, distance: distance(peer) }
    if (border === undefined || isNearer(one, border)) insert(one)
  }

  return {
    came,
    went(peer) {
      near = near.filter((one) => one.peer !== peer)
    },
    nearest(up) {
      if (near.length < watchers && border !== undefined) {
        near = []
        border = undefined
        for (const peer of up()) came(peer)
      }
      return near.slice(0, watchers).map(({ peer }) => peer)
    },
  }
}
