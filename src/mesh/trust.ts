/**
 * Who is let in on a connection. The one who dialled shows its certificate (`realm.present`) and is shown the other's; each
 * judges by itself and admits. A connection on which nothing is shown in time is closed, a refused peer is told once in the
 * log, and a peer whose certificate runs out, or is revoked by a newer document, is expelled.
 */
import type { Clock, Timer } from '../base/clock.ts'
import { GodelError, hasCode, reasonOf } from '../base/errors.ts'
import type { Limits } from '../base/limits.ts'
import type { Log } from '../base/log.ts'
import type { Refusals } from '../base/refusals.ts'
import type { Membership } from '../identity/certificate.ts'
import { revokers } from '../identity/revocation.ts'
import type { Direction, Net } from '../net/net.ts'
import type { Certificates } from './certificates.ts'
import type { Guest, Guests } from './guests.ts'
import type { Member } from './membership.ts'
import { realmDocument, realmPresent, realmRevocations, type Presented, type RealmHead } from './methods.ts'

export interface Trust {
  /** Dials and admits, unless that has been done. PEER_UNREACHABLE, NOT_A_MEMBER, CERTIFICATE_INVALID, CANCELLED. */
  connect(peer: string, signal?: AbortSignal): Promise<void>
  /** Takes up a newer realm document that a peer knows of, if it does. */
  learnFrom(peer: string, head: RealmHead): Promise<void>
  /** Answers `realm.present`. */
  presented(peer: string, shown: { certificate: string | null } & Omit<Presented, 'certificate'>): Promise<Presented>
  /** The membership of a peer that has shown one, while that holds. */
  membershipOf(peer: string): Membership | undefined
  /** A peer's certificate came by another way and was found good: the longer life counts. */
  note(certificate: string, membership: Membership): void
  /** Who let this node in no more, with its reason, the latest last; whoever has admitted it again since is left out. */
  refusedBy(): ReadonlyMap<string, string>
  /** Gives a newcomer time to join and come back with a certificate. */
  extend(peer: string): void
  /** Expels those whose certificate does not hold any more. */
  sweep(): Promise<void>
  /** Ends a peer's connections now; calls and streams that run end with them. `error` says why. */
  expel(peer: string, error: unknown): void
  /** `outbound` where this node has shown its certificate first; the other side has admitted it by then. */
  onAdmitted(fn: (peer: string, direction: Direction) => void): () => void
  close(): void
}

interface TrustDeps {
  net: Net
  member: Member
  certificates: Certificates
  clock: Clock
  log: Log
  refusals: Refusals
  limits: Pick<
    Limits,
    | 'admissionTimeoutMs'
    | 'presentTimeoutMs'
    | 'syncTimeoutMs'
    | 'refusedCloseMs'
    | 'revocationsPerIssuerMax'
    | 'refusalNotesMax'
    | 'revocationsPerPage'
  >
  addressesOf: (peer: string) => string[]
  /** Whoever is of another realm, or of none. */
  guests: Pick<Guests, 'judge' | 'admit'>
  /** The peer is known as one of this realm: strangers are shown no advertisement before they have shown who they are. */
  isOfRealm: (peer: string) => boolean
  ownAd: () => Promise<{ envelope: Uint8Array; ageMs: number }>
  /** An advertisement that came along, straight from its author. */
  onAd: (peer: string, ad: { envelope: Uint8Array; ageMs: number }) => void
}

const noMember = ['CERTIFICATE_INVALID', 'NOT_A_MEMBER', 'REALM_MISMATCH'] as const

interface Admitted {
  certificate: string
  membership: Membership
}

export const startTrust = (deps: TrustDeps): Trust => {
  const { net, member, certificates, clock, log, refusals, limits } = deps
  const admitted = new Map<string, Admitted>()
  const waiting = new Map<string, { timer: Timer; atMs: number }>()
  const underWay = new Map<string, Promise<void>>()
  const refusedBy = new Map<string, string>()
  const listeners = new Set<(peer: string, direction: Direction) => void>()
  let closed = false

  const stopWaiting = (peer: string): void => {
    waiting.get(peer)?.timer.cancel()
    waiting.delete(peer)
  }

  const refuse = (peer: string, error: unknown): void => {
    refusals.note('refused a connection', peer, error)
    net.disconnect(peer).then(
      // It may have opened another meanwhile, of which nobody is told, since the peer was connected all the time.
      () => net.isConnected(peer) && expectWithin(peer, limits.refusedCloseMs),
      (cause: unknown) => log.debug('a disconnect failed', { peer, error: reasonOf(cause) }),
    )
  }

  /** Closes the connection unless the peer is admitted by then. What stands is only brought forward: asking again wins no time. */
  const expectWithin = (peer: string, delayMs: number): void => {
    const atMs = clock.monotonicMs() + delayMs
    const stands = waiting.get(peer)?.atMs ?? Infinity
    if (closed || net.isAdmitted(peer) || stands <= atMs) return
    stopWaiting(peer)
    const late = () => {
      waiting.delete(peer)
      if (net.isAdmitted(peer) || !net.isConnected(peer)) return
      refuse(peer, new GodelError({ code: 'NOT_A_MEMBER', peer, reason: 'it has shown no certificate in time' }))
    }
    waiting.set(peer, { timer: clock.after(delayMs, late), atMs })
  }

  /** A newer document may be what makes the other's certificate good, so it is asked for before judging. */
  const learnFrom = async (peer: string, theirs: RealmHead): Promise<void> => {
    const { id, document, headHash } = member.realm()
    if (theirs.realm !== id) return
    if (theirs.version >= document.version && theirs.hash !== headHash) {
      const { chain } = await net.rpc.call(peer, realmDocument, { realm: id }, { timeoutMs: limits.syncTimeoutMs })
      await member.learn(chain)
    }
    if (theirs.revocations !== undefined && theirs.revocations !== member.head().revocations) await hearFrom(peer)
  }

  /** All of the other's entries, since they are few; what is known already costs no more than their bytes. */
  const hearFrom = async (peer: string): Promise<void> => {
    let after: string | undefined
    const entriesMax = revokers(member.realm().document).length * limits.revocationsPerIssuerMax
    for (let pages = 0; pages <= entriesMax / limits.revocationsPerPage; pages++) {
      const request = { realm: member.realm().id, ...(after !== undefined && { after }) }
      const page = await net.rpc.call(peer, realmRevocations, request, { timeoutMs: limits.syncTimeoutMs })
      await member.hear(page.entries)
      if (!page.more || page.last === undefined || (after !== undefined && page.last <= after)) return
      after = page.last
    }
  }

  /** A peer that refuses this node may know that it was revoked, of which nobody speaks to it any more. */
  const hearWhy = async (peer: string): Promise<void> => {
    const isOut = () => member.realm().revoked.has(net.peer)
    const request = { realm: member.realm().id }
    try {
      if (!isOut()) await hearFrom(peer)
      if (isOut()) return
      const { chain } = await net.rpc.call(peer, realmDocument, request, { timeoutMs: limits.syncTimeoutMs })
      await member.learn(chain)
    } catch (error) {
      log.debug('why a peer refuses was not heard', { peer, error: reasonOf(error) })
    }
  }

  /** Puts a peer out at once, and says why. */
  const expel = (peer: string, error: unknown): void => {
    refusals.note('a member is one no longer', peer, error)
    admitted.delete(peer)
    net.expel(peer)
    // A connection that it was opening meanwhile is told to nobody where it was connected all the time.
    expectWithin(peer, limits.refusedCloseMs)
  }

  const judge = async (
    peer: string,
    shown: { certificate: string | null } & Omit<Presented, 'certificate'>,
  ): Promise<Admitted | Guest> => {
    if (shown.head.realm !== member.realm().id) return deps.guests.judge(peer, shown)
    const { certificate } = shown
    if (certificate === null) throw new GodelError({ code: 'NOT_A_MEMBER', peer, reason: 'it has no certificate' })
    const learning = learnFrom(peer, shown.head).catch((error: unknown) =>
      refusals.note('could not take up a newer realm document', peer, error),
    )
    try {
      return { certificate, membership: await certificates.verify(certificate, peer) }
    } catch (error) {
      await learning
      return {
        certificate,
        membership: await certificates.verify(certificate, peer).catch(() => Promise.reject(error)),
      }
    }
  }

  const admit = (peer: string, granted: Admitted | Guest, ad: Presented['ad'], direction: Direction): void => {
    if (!net.isConnected(peer)) return
    if ('by' in granted) {
      admitted.delete(peer)
      deps.guests.admit(peer, granted, direction)
      return stopWaiting(peer)
    }
    certificates.mustHold(granted.certificate, peer)
    const isNew = !net.isAdmitted(peer)
    stopWaiting(peer)
    admitted.set(peer, granted)
    refusedBy.delete(peer)
    net.admit(peer, { kind: 'member', role: granted.membership.role })
    if (ad) deps.onAd(peer, ad)
    if (!isNew) return
    log.debug('admitted a member', { peer, role: granted.membership.role })
    for (const listener of listeners) listener(peer, direction)
  }

  const introduction = async (isOfRealm: boolean): Promise<Presented> => {
    const { certificate, head } = member
    return { certificate: certificate(), head: head(), ...(isOfRealm && { ad: await deps.ownAd() }) }
  }

  /** The last word of each, and of no more than a few: an operator needs to hear that it is so, and why. */
  const keepRefusal = (peer: string, reason: string): void => {
    refusedBy.delete(peer)
    refusedBy.set(peer, reason)
    if (refusedBy.size > limits.refusalNotesMax) refusedBy.delete(refusedBy.keys().next().value!)
  }

  const show = async (peer: string): Promise<Presented> => {
    try {
      const shown = await introduction(deps.isOfRealm(peer))
      return await net.rpc.call(peer, realmPresent, shown, { timeoutMs: limits.presentTimeoutMs })
    } catch (error) {
      if (hasCode(error, ...noMember)) refusals.note('was refused by a peer', peer, error)
      if (hasCode(error, 'CERTIFICATE_INVALID')) {
        keepRefusal(peer, error.detail.reason)
        await hearWhy(peer)
      }
      throw error
    }
  }

  const present = async (peer: string): Promise<void> => {
    try {
      const answer = await show(peer)
      admit(peer, await judge(peer, answer), answer.ad, 'outbound')
    } catch (error) {
      // One of two connections that were opened at once may be closed under the call.
      if (net.isAdmitted(peer)) return
      if (hasCode(error, ...noMember)) refuse(peer, error)
      throw error
    }
  }

  const dialAndPresent = async (peer: string): Promise<void> => {
    if (!net.isConnected(peer)) await net.dial(peer, deps.addressesOf(peer))
    if (!net.isAdmitted(peer)) await present(peer)
  }

  const offConnected = net.onConnected((peer) => expectWithin(peer, limits.admissionTimeoutMs))
  const offDisconnected = net.onDisconnected((peer) => {
    stopWaiting(peer)
    admitted.delete(peer)
  })
  for (const peer of net.connected()) expectWithin(peer, limits.admissionTimeoutMs)

  return {
    async connect(peer, signal) {
      if (peer === net.peer || net.isAdmitted(peer)) return
      if (member.realm().revoked.has(peer))
        throw new GodelError({ code: 'CERTIFICATE_INVALID', peer, reason: 'the peer has been revoked' })
      let running = underWay.get(peer)
      if (!running) {
        running = dialAndPresent(peer).finally(() => underWay.delete(peer))
        underWay.set(peer, running)
      }
      await (signal ? orAborted(running, signal) : running)
    },
    learnFrom,
    refusedBy: () => refusedBy,
    async presented(peer, shown) {
      try {
        const granted = await judge(peer, shown)
        admit(peer, granted, shown.ad, 'inbound')
        return await introduction(!('by' in granted))
      } catch (error) {
        refusals.note('refused a connection', peer, error)
        expectWithin(peer, limits.refusedCloseMs)
        throw error
      }
    },
    membershipOf(peer) {
      const membership = admitted.get(peer)?.membership
      return membership && membership.expiresAtMs > clock.wallMs() ? membership : undefined
    },
    note(certificate, membership) {
      const known = admitted.get(membership.peer)
      if (known && membership.expiresAtMs > known.membership.expiresAtMs)
        admitted.set(membership.peer, { certificate, membership })
    },
    extend(peer) {
      stopWaiting(peer)
      expectWithin(peer, limits.admissionTimeoutMs)
    },
    async sweep() {
      for (const [peer, { certificate }] of [...admitted]) {
        if (certificates.peek(certificate)) continue
        try {
          await certificates.verify(certificate, peer)
        } catch (error) {
          expel(peer, error)
        }
      }
    },
    expel,
    onAdmitted(fn) {
      listeners.add(fn)
      return () => void listeners.delete(fn)
    },
    close() {
      closed = true
      offConnected()
      offDisconnected()
      for (const { timer } of waiting.values()) timer.cancel()
      waiting.clear()
    },
  }
}

/** The outcome of `promise`, unless the signal is first; the work itself goes on for others who wait for it. */
const orAborted = async <T>(promise: Promise<T>, signal: AbortSignal): Promise<T> => {
  const aborted = Promise.withResolvers<never>()
  const onAbort = () => aborted.reject(new GodelError({ code: 'CANCELLED', what: 'connecting to a peer' }))
  if (signal.aborted) onAbort()
  signal.addEventListener('abort', onAbort, { once: true })
  promise.catch(() => {})
  try {
    return await Promise.race([promise, aborted.promise])
  } finally {
    signal.removeEventListener('abort', onAbort)
  }
}
