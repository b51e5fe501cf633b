/**
 * Who is let in from outside the realm, as what, and for how long. A node of another realm comes in where this realm's
 * document names that one and its certificate holds there; a pinned node where the pin is, and one of the two is in no
 * realm. Each side judges for itself, so that both must name the other. Every change of what that rests on is acted upon at
 * once: more rights count from then on, fewer put the guest out, and it may come back with what it has left.
 */
import type { Clock } from '../base/clock.ts'
import { GodelError, hasCode, reasonOf } from '../base/errors.ts'
import type { Log } from '../base/log.ts'
import type { Refusals } from '../base/refusals.ts'
import type { GuestStanding } from '../base/standing.ts'
import type { Membership } from '../identity/certificate.ts'
import type { Direction, Net } from '../net/net.ts'
import type { Foreign } from './foreign.ts'
import type { Member } from './membership.ts'
import type { Presented } from './methods.ts'
import type { OwnPins } from './pins.ts'

/** What a peer has shown to come in. */
export type Guest =
  | { readonly by: 'realm'; readonly realm: string; readonly certificate: string; readonly membership: Membership }
  | { readonly by: 'pin' }

export interface Guests {
  /** REALM_MISMATCH, NOT_A_MEMBER, CERTIFICATE_INVALID, REALM_DOCUMENT_INVALID. */
  judge(peer: string, shown: { certificate: string | null } & Omit<Presented, 'certificate'>): Promise<Guest>
  /** Lets a peer in as what it is now; NOT_A_MEMBER where that was withdrawn meanwhile. */
  admit(peer: string, guest: Guest, direction: Direction): void
  /** The guests of a realm that are connected; the pinned ones for undefined. */
  of(realm: string | undefined): string[]
  /** Judges all of a realm anew. */
  judgeAnew(realm: string): Promise<void>
  /** Judges a pinned one anew. */
  judgePinned(peer: string): void
  /** Puts out those whose certificate has run out. */
  sweep(): Promise<void>
  onAdmitted(fn: (peer: string, guest: Guest, direction: Direction) => void): void
  close(): void
}

interface GuestsDeps {
  net: Pick<Net, 'admit' | 'expel' | 'isConnected' | 'isAdmitted' | 'standingOf' | 'onDisconnected'>
  member: Pick<Member, 'realm' | 'isStandalone'>
  foreign: Foreign
  pins: OwnPins
  refusals: Refusals
  clock: Clock
  log: Log
}

export const createGuests = (deps: GuestsDeps): Guests => {
  const { net, member, foreign, pins, refusals, clock, log } = deps
  const inside = new Map<string, Guest>()
  const listeners = new Set<(peer: string, guest: Guest, direction: Direction) => void>()

  const standingOf = (peer: string, guest: Guest): GuestStanding => {
    if (guest.by === 'pin') {
      const pin = pins.get(peer)
      if (!pin) throw notPinned(peer, 'it is pinned here no longer')
      const { scopes, agentsPerNode } = pin
      return { kind: 'guest', by: 'pin', realm: undefined, scopes, agentsPerNode }
    }
    const { realm, membership } = guest
    const named = foreign.named(realm)
    if (!named) throw new GodelError({ code: 'REALM_MISMATCH', expected: member.realm().id, actual: realm })
    const { scopes, agentsPerNode } = named
    return { kind: 'guest', by: 'realm', realm, role: membership.role, scopes, agentsPerNode }
  }

  const putOut = (peer: string, error: unknown): void => {
    refusals.note('a guest is one no longer', peer, error)
    inside.delete(peer)
    net.expel(peer)
  }

  /** Fewer rights put it out, so that nothing goes on that it began with more. */
  const stand = (peer: string, guest: Guest): void => {
    const before = net.standingOf(peer)
    const now = standingOf(peer, guest)
    if (before?.kind === 'guest' && isLess(now, before)) {
      const error = new GodelError({
        code: 'FORBIDDEN',
        action: 'staying as a guest',
        reason: 'its grant was lessened',
      })
      return putOut(peer, error)
    }
    net.admit(peer, now)
  }

  const judgeOne = async (peer: string, guest: Guest): Promise<void> => {
    try {
      if (guest.by === 'realm') {
        standingOf(peer, guest)
        await foreign.verify(guest.realm, guest.certificate, peer)
      }
      if (inside.get(peer) === guest) stand(peer, guest)
    } catch (error) {
      if (inside.get(peer) === guest) putOut(peer, error)
    }
  }

  const judgeRealm = async (
    peer: string,
    { head, certificate }: { certificate: string | null } & Pick<Presented, 'head'>,
  ): Promise<Guest> => {
    const realm = head.realm
    if (certificate === null) throw new GodelError({ code: 'NOT_A_MEMBER', peer, reason: 'it has no certificate' })
    try {
      await foreign.learnFrom(peer, head)
    } catch (error) {
      if (!foreign.realm(realm)) throw error
      refusals.note('could not take up a newer document of another realm', peer, error)
    }
    const membership = await foreign.verify(realm, certificate, peer)
    pins.note(peer, { realm }).catch((error: unknown) => log.warn('a pin was not kept', { error: reasonOf(error) }))
    return { by: 'realm', realm, certificate, membership }
  }

  const offDisconnected = net.onDisconnected((peer) => inside.delete(peer))

  return {
    async judge(peer, shown) {
      const { realm, standalone = false } = shown.head
      if (foreign.named(realm)) return judgeRealm(peer, shown)
      const isPair = standalone || member.isStandalone()
      if (pins.get(peer) && isPair) return { by: 'pin' }
      if (pins.get(peer)) await pins.note(peer, { realm })
      if (standalone) throw notPinned(peer, 'it is in no realm, and this node has not pinned it')
      if (member.isStandalone()) throw notPinned(peer, 'this node is in no realm, and has not pinned it')
      throw new GodelError({ code: 'REALM_MISMATCH', expected: member.realm().id, actual: realm })
    },
    admit(peer, guest, direction) {
      if (!net.isConnected(peer)) return
      const standing = standingOf(peer, guest)
      const isNew = !net.isAdmitted(peer)
      inside.set(peer, guest)
      net.admit(peer, standing)
      if (!isNew) return
      log.debug('admitted a guest', { peer, by: guest.by, realm: standing.realm, scopes: standing.scopes })
      for (const listener of listeners) listener(peer, guest, direction)
    },
    of: (realm) =>
      [...inside].flatMap(([peer, guest]) =>
        (guest.by === 'realm' ? guest.realm : undefined) === realm ? [peer] : [],
      ),
    async judgeAnew(realm) {
      for (const [peer, guest] of [...inside])
        if (guest.by === 'realm' && guest.realm === realm) await judgeOne(peer, guest)
    },
    judgePinned(peer) {
      const guest = inside.get(peer)
      if (guest?.by !== 'pin') return
      try {
        stand(peer, guest)
      } catch (error) {
        putOut(peer, error)
      }
    },
    async sweep() {
      for (const [peer, guest] of [...inside])
        if (guest.by === 'realm' && guest.membership.expiresAtMs <= clock.wallMs()) await judgeOne(peer, guest)
    },
    onAdmitted: (fn) => void listeners.add(fn),
    close: () => offDisconnected(),
  }
}

const isLess = (now: GuestStanding, before: GuestStanding): boolean =>
  before.scopes.some((scope) => !now.scopes.includes(scope)) || now.agentsPerNode < before.agentsPerNode

/** Both sides pin; the one that has not says what is to be done. */
const notPinned = (peer: string, reason: string) =>
  new GodelError({ code: 'NOT_A_MEMBER', peer, reason: `${reason}; its operator can, with federation register` })

/** Errors that say that the other side does not, or does no longer, let this node in. */
export const isUnwanted = (error: unknown): boolean => hasCode(error, 'REALM_MISMATCH', 'NOT_A_MEMBER')
