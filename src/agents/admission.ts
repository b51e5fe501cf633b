/**
 * Admission: the truth about this node's slots. An advertisement is a hint to others; here the node decides, against its
 * real state and in one step, and what it has promised counts as taken. A reservation is a lease: it lapses by itself.
 */
import type { Capacity, NodeTraits } from '../base/advertisement.ts'
import type { Agent, AgentSpec } from '../base/agent.ts'
import type { Clock } from '../base/clock.ts'
import { GodelError } from '../base/errors.ts'
import { mintId } from '../base/ids.ts'
import type { Level } from '../base/need.ts'
import type { GuestStanding } from '../base/standing.ts'
import type { Limits } from '../base/limits.ts'
import { createCandidates, type Candidates } from '../routing/candidates.ts'
import { explainRoute } from '../routing/route.ts'
import { needOf } from './need-of.ts'

export interface Reservation {
  readonly id: string
  readonly agent: string
  /** The realm of the agent. */
  readonly realm: string
  readonly epoch: number
  /** The node that asked, which alone may use it. */
  readonly from: string
}

export interface Admission {
  /** What the node can say about its load right now. */
  capacity(): Capacity
  /**
   * Holds a slot for `limits.reservationMs`. Asking again for the same agent and epoch gives the same reservation, renewed.
   * For a guest the node must be shareable (pins aside), and its grant and the shared part of the slots must have room.
   * AT_CAPACITY, DRAINING, UNFIT, QUEUE_FULL, QUOTA_EXCEEDED.
   */
  reserve(spec: AgentSpec, epoch: number, from: string, guest?: GuestStanding): Reservation
  /** Keeps a reservation from lapsing while its files arrive. RESERVATION_EXPIRED. */
  renew(reservation: string, from: string): Reservation
  /** Turns a reservation into the taken slot of its agent. RESERVATION_EXPIRED when it lapsed, or is another's or for another. */
  take(reservation: string, from: string, agent: string): Reservation
  /** Counts an agent that is there already, as after a restart; may exceed the capacity. */
  occupy(agent: Pick<Agent, 'id' | 'realm' | 'owner'>): void
  /** Gives a reservation of `from` back, if it is still held. */
  cancel(reservation: string, from: string): void
  /** Gives back every reservation of a peer that may not use them any more. */
  forget(from: string): void
  isReserved(agent: string): boolean
  /** Gives a slot back, whether it was reserved or taken. */
  release(agent: string): void
}

/**
 * Why this node cannot take an agent, slots aside, in the words of routing; nothing when it can. The rules are routing's own,
 * held against what this node is instead of what it advertised; to guests it shows no labels, so it has none for them.
 */
const fitness = (peer: string, traits: NodeTraits) => {
  const rowFor = (level: Level, self: boolean): Candidates => {
    const labels = level === 'realm' ? traits.labels : {}
    const ad = { ...traits, labels, status: 'available' as const, currentLoad: 0, running: 0, maxConcurrent: 1 }
    const candidates = createCandidates()
    candidates.upsert({ peer, level, state: 'alive', trusted: true, self, ad, issuedAtMs: 0 })
    return candidates
  }
  const asSelf = rowFor('realm', true)
  const asTarget = {
    member: rowFor('realm', false),
    pin: rowFor('unregistered', false),
    realm: rowFor('cross-realm', false),
  }
  const policy = { strategy: 'least-loaded' as const, offloadThreshold: 1 }
  return (spec: AgentSpec, from: string, guest: GuestStanding | undefined): string[] => {
    const row = from === peer ? asSelf : asTarget[guest?.by ?? 'member']
    const { considered } = explainRoute(needOf(spec), row, policy, 0)
    return considered.flatMap((entry) => entry.rejected ?? [])
  }
}

interface AdmissionDeps {
  clock: Clock
  limits: Limits
  peer: string
  traits: NodeTraits
  /** The id of this node's realm: agents of others are guests here. Undefined while it is not known. */
  realm?: () => string | undefined
  /** The operator lets this node take nothing new. */
  draining?: () => boolean
  /** Told after every change of what `capacity` says. */
  onChange: () => void
}

/** Whose agent holds a slot. */
interface Holder {
  readonly realm: string
  readonly owner: string
}

/** A fresh table of `slots` slots. */
export const createAdmission = (deps: AdmissionDeps, options: { slots: number }): Admission => {
  const { clock, limits, peer, traits, onChange, realm = () => undefined, draining = () => false } = deps
  const unfit = fitness(peer, traits)
  const taken = new Map<string, Holder>()
  const reserved = new Map<string, { reservation: Reservation; lapse: { cancel(): void } }>()

  const used = () => taken.size + reserved.size
  const drop = (agent: string): boolean => {
    const entry = reserved.get(agent)
    entry?.lapse.cancel()
    return reserved.delete(agent)
  }
  const hold = (reservation: Reservation): Reservation => {
    drop(reservation.agent)
    const lapse = clock.after(limits.reservationMs, () => {
      if (reserved.delete(reservation.agent)) onChange()
    })
    reserved.set(reservation.agent, { reservation, lapse })
    return reservation
  }
  const find = (id: string, from: string): Reservation => {
    for (const { reservation } of reserved.values())
      if (reservation.id === id && reservation.from === from) return reservation
    throw new GodelError({ code: 'RESERVATION_EXPIRED', reservation: id })
  }
  /** A guest of a realm is told of the shared part alone, as by what this node shares. */
  const full = (guest: GuestStanding | undefined) => {
    const capacity = guest?.by === 'realm' ? Math.floor(options.slots * traits.shareFraction) : options.slots
    const running = guest?.by === 'realm' ? capacity : used()
    return new GodelError({ code: 'AT_CAPACITY', node: traits.name, running, capacity })
  }

  const guests = (): Holder[] => {
    const held = [...reserved.values()].map(({ reservation }) => ({
      realm: reservation.realm,
      owner: reservation.from,
    }))
    return [...taken.values(), ...held].filter(({ realm: of, owner }) => of !== realm() && owner !== peer)
  }

  /** What the grant of the caller, and the part of the slots that is shared with other realms, leave room for. QUOTA_EXCEEDED. */
  const checkQuota = (from: string, { by, realm: of, agentsPerNode }: GuestStanding): void => {
    const now = guests()
    const same = now.filter(({ realm: other, owner }) => (by === 'pin' ? owner === from : other === of)).length
    const whose = by === 'pin' ? `node ${from}` : `realm ${of}`
    if (same >= agentsPerNode)
      throw new GodelError({
        code: 'QUOTA_EXCEEDED',
        what: `agents of ${whose} on ${traits.name}`,
        limit: agentsPerNode,
      })
    const shared = Math.floor(options.slots * traits.shareFraction)
    if (by === 'realm' && now.length >= shared)
      throw new GodelError({ code: 'QUOTA_EXCEEDED', what: `agents of other realms on ${traits.name}`, limit: shared })
  }

  return {
    capacity: () => ({
      status: draining() ? 'draining' : used() >= options.slots ? 'busy' : 'available',
      currentLoad: options.slots === 0 ? 1 : Math.min(1, used() / options.slots),
      running: used(),
      maxConcurrent: options.slots,
    }),
    reserve(spec, epoch, from, guest) {
      const reasons = unfit(spec, from, guest)
      if (reasons.length > 0) throw new GodelError({ code: 'UNFIT', node: traits.name, reasons })
      const known = reserved.get(spec.id)?.reservation
      // What was promised before is kept.
      if (!known && draining()) throw new GodelError({ code: 'DRAINING', node: traits.name })
      if (known && known.from === from && known.epoch === epoch) return hold(known)
      if (known?.from !== from && guest) checkQuota(from, guest)
      if (!known && used() >= options.slots) throw full(guest)
      if (!known && reserved.size >= limits.reservationsMax)
        throw new GodelError({ code: 'QUEUE_FULL', what: 'the table of reservations', limit: limits.reservationsMax })
      const reservation = hold({ id: mintId('rs', clock.wallMs()), agent: spec.id, realm: spec.realm, epoch, from })
      onChange()
      return reservation
    },
    renew: (id, from) => hold(find(id, from)),
    take(id, from, agent) {
      const reservation = find(id, from)
      if (reservation.agent !== agent) throw new GodelError({ code: 'RESERVATION_EXPIRED', reservation: id })
      drop(agent)
      taken.set(agent, { realm: reservation.realm, owner: from })
      return reservation
    },
    occupy({ id, realm: of, owner }) {
      taken.set(id, { realm: of, owner })
      onChange()
    },
    cancel(id, from) {
      for (const { reservation } of reserved.values())
        if (reservation.id === id && reservation.from === from && drop(reservation.agent)) return onChange()
    },
    forget(from) {
      const theirs = [...reserved.values()].filter(({ reservation }) => reservation.from === from)
      for (const { reservation } of theirs) drop(reservation.agent)
      if (theirs.length > 0) onChange()
    },
    isReserved: (agent) => reserved.has(agent),
    release(agent) {
      const had = drop(agent)
      if (taken.delete(agent) || had) onChange()
    },
  }
}
