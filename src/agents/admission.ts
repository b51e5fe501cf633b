/**
 * Admission: the truth about this node's slots. An advertisement is a hint to others; here the node decides, against its
 * real state and in one step, and what it has promised counts as taken. A reservation is a lease: it lapses by itself.
 */
import type { Capacity, NodeTraits } from '../base/advertisement.ts'
import type { AgentSpec } from '../base/agent.ts'
import type { Clock } from '../base/clock.ts'
import { GodelError } from '../base/errors.ts'
import { mintId } from '../base/ids.ts'
import type { Limits } from '../base/limits.ts'
import { createCandidates, type Candidates } from '../routing/candidates.ts'
import { explainRoute } from '../routing/route.ts'
import { needOf } from './need-of.ts'

export interface Reservation {
  readonly id: string
  readonly agent: string
  readonly epoch: number
  /** The node that asked, which alone may use it. */
  readonly from: string
}

export interface Admission {
  /** What the node can say about its load right now. */
  capacity(): Capacity
  /**
   * Holds a slot for `limits.reservationMs`. Asking again for the same agent and epoch gives the same reservation, renewed.
   * AT_CAPACITY, UNFIT, QUEUE_FULL.
   */
  reserve(spec: AgentSpec, epoch: number, from: string): Reservation
  /** Keeps a reservation from lapsing while its files arrive. RESERVATION_EXPIRED. */
  renew(reservation: string, from: string): Reservation
  /** Turns a reservation into the taken slot of its agent. RESERVATION_EXPIRED when it lapsed, or is another's or for another. */
  take(reservation: string, from: string, agent: string): Reservation
  /** Counts an agent that is there already, as after a restart; may exceed the capacity. */
  occupy(agent: string): void
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
 * held against what this node is instead of what it advertised.
 */
const fitness = (peer: string, traits: NodeTraits): ((spec: AgentSpec, from: string) => string[]) => {
  const ad = { ...traits, status: 'available' as const, currentLoad: 0, running: 0, maxConcurrent: 1 }
  const row = { peer, level: 'realm' as const, state: 'alive' as const, trusted: true, ad, issuedAtMs: 0 }
  const [asSelf, asTarget] = [true, false].map((self) => {
    const candidates = createCandidates()
    candidates.upsert({ ...row, self })
    return candidates
  }) as [Candidates, Candidates]
  const policy = { strategy: 'least-loaded' as const, offloadThreshold: 1 }
  return (spec, from) => {
    const { considered } = explainRoute(needOf(spec), from === peer ? asSelf : asTarget, policy, 0)
    return considered.flatMap((entry) => entry.rejected ?? [])
  }
}

interface AdmissionDeps {
  clock: Clock
  limits: Limits
  peer: string
  traits: NodeTraits
  /** Told after every change of what `capacity` says. */
  onChange: () => void
}

/** A fresh table of `slots` slots. */
export const createAdmission = (deps: AdmissionDeps, options: { slots: number }): Admission => {
  const { clock, limits, peer, traits, onChange } = deps
  const unfit = fitness(peer, traits)
  const taken = new Set<string>()
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
  const full = () =>
    new GodelError({ code: 'AT_CAPACITY', node: traits.name, running: used(), capacity: options.slots })

  return {
    capacity: () => ({
      status: used() >= options.slots ? 'busy' : 'available',
      currentLoad: options.slots === 0 ? 1 : Math.min(1, used() / options.slots),
      running: used(),
      maxConcurrent: options.slots,
    }),
    reserve(spec, epoch, from) {
      const reasons = unfit(spec, from)
      if (reasons.length > 0) throw new GodelError({ code: 'UNFIT', node: traits.name, reasons })
      const known = reserved.get(spec.id)?.reservation
      if (known && known.from === from && known.epoch === epoch) return hold(known)
      if (!known && used() >= options.slots) throw full()
      if (!known && reserved.size >= limits.reservationsMax)
        throw new GodelError({ code: 'QUEUE_FULL', what: 'the table of reservations', limit: limits.reservationsMax })
      const reservation = hold({ id: mintId('rs', clock.wallMs()), agent: spec.id, epoch, from })
      onChange()
      return reservation
    },
    renew: (id, from) => hold(find(id, from)),
    take(id, from, agent) {
      const reservation = find(id, from)
      if (reservation.agent !== agent) throw new GodelError({ code: 'RESERVATION_EXPIRED', reservation: id })
      drop(agent)
      taken.add(agent)
      return reservation
    },
    occupy(agent) {
      taken.add(agent)
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
