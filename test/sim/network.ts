/**
 * The simulated network: connections between nodes over which frames arrive in order, late by the delay of the profile, by
 * retransmission where a packet is lost, and not at all across a partition or to a host that is gone. What is sent is counted
 * as it would be at the socket.
 */
import type { Engine } from './engine.ts'
import type { Processor } from './processor.ts'
import type { Rng } from './rng.ts'

export type ProfileName = 'lan' | 'wan'

export interface Profile {
  /** One way; log-normal. */
  readonly delayMsMedian: number
  readonly delaySigma: number
  readonly delayMsMin: number
  readonly delayMsMax: number
}

export const profiles: Record<ProfileName, Profile> = {
  lan: { delayMsMedian: 0.5, delaySigma: 0.5, delayMsMin: 0.2, delayMsMax: 2 },
  wan: { delayMsMedian: 40, delaySigma: 0.6, delayMsMin: 5, delayMsMax: 250 },
}

export interface Faults {
  /** The part of frames that have to be sent again by TCP, which holds up what follows on the connection. */
  readonly loss: number
  /** Of gossip, beyond what TCP would do: never arrives, arrives twice, arrives after what was sent later. */
  readonly drop: number
  readonly duplicate: number
  readonly reorder: number
}

export const noFaults: Faults = { loss: 0, drop: 0, duplicate: 0, reorder: 0 }

/** What a frame costs beside its own bytes: Yamux's head, Noise's length and tag, the length of the message. */
export const frameOverheadBytes = 12 + 18 + 3
const retransmitMs = 200
/** A dial: TCP, Noise, Yamux and identify; the round trips, and what each side sends. */
const dialRoundTrips = 4
export const dialBytes = 2_600
const handshakeCostMs = 3
/** libp2p's own pings notice a silent connection in the end. */
const silentCloseMs = { min: 15_000, max: 30_000 }
const heldFramesMax = 256

/** What the network needs of a node. */
export interface Station {
  readonly index: number
  readonly peer: string
  readonly processor: Processor
  /** Set by whoever divides the network; only stations of one side reach each other. */
  side: number
  /** Gone without a word, as a host without power; nothing answers, not even with a refusal. */
  silent: boolean
  readonly sent: { bytes: number; frames: number }
  opened(link: Link, direction: 'inbound' | 'outbound'): void
  /** `wasLast`: no newer connection has taken its place. */
  closed(link: Link): void
}

export interface Link {
  readonly ends: readonly [Station, Station]
  /** Whether each end still thinks that it is open. */
  readonly open: [boolean, boolean]
  readonly lastArrivalMs: [number, number]
  readonly held: { from: number; bytes: number; costMs: () => number; work: () => 'quiet' | void }[]
}

export type DialOutcome = Link | 'refused' | 'silent'

export interface Network {
  /** Sends a frame of `bytes` (without overhead) over an open link; `work` runs at the other end, and costs it `costMs`. */
  send(
    link: Link,
    from: Station,
    frame: { bytes: number; costMs: () => number; isGossip: boolean; kind: number },
    work: () => 'quiet' | void,
  ): void
  /** Opens a connection; `done` is called at the dialling end, or never where nothing answers. */
  dial(from: Station, to: Station | undefined, done: (outcome: DialOutcome) => void): void
  /** A connection that stands already, for a mesh that is begun in the middle of its life. */
  establish(a: Station, b: Station): Link
  close(link: Link, by: Station): void
  /** All sockets of a process that has ended: the other ends hear of it. */
  reset(station: Station): void
  /** The other ends hear nothing, and find out by themselves. */
  vanish(station: Station): void
  /** Puts stations on sides; frames on the way across are held back for as long as their connection stands. */
  divide(sideOf: (station: Station) => number): void
  linkBetween(a: Station, b: Station): Link | undefined
}

const endOf = (link: Link, station: Station): 0 | 1 => (link.ends[0] === station ? 0 : 1)

export const createNetwork = (
  deps: { engine: Engine; rng: Rng; stations: () => readonly Station[] },
  { profile, faults }: { profile: Profile; faults: Faults },
): Network => {
  const { engine, rng, stations } = deps
  const links = new Map<number, Link>()
  const keyOf = (a: Station, b: Station) => Math.min(a.index, b.index) * 65_536 + Math.max(a.index, b.index)

  const delayMs = (): number =>
    Math.min(profile.delayMsMax, Math.max(profile.delayMsMin, rng.lognormal(profile.delayMsMedian, profile.delaySigma)))
  const reaches = (a: Station, b: Station) => a.side === b.side && !a.silent && !b.silent

  const closeEnd = (link: Link, end: 0 | 1): void => {
    if (!link.open[end]) return
    link.open[end] = false
    const station = link.ends[end]
    if (!link.open[1 - end]) {
      const key = keyOf(...link.ends)
      if (links.get(key) === link) links.delete(key)
    }
    if (!station.processor.isDead()) station.closed(link)
  }

  const arrive = (link: Link, to: 0 | 1, costMs: () => number, work: () => 'quiet' | void): 'quiet' | void => {
    const station = link.ends[to]
    if (!link.open[to] || station.processor.isDead()) return 'quiet'
    return station.processor.submit(costMs(), () => (link.open[to] ? work() : 'quiet'))
  }

  const send: Network['send'] = (link, from, { bytes, costMs, isGossip, kind }, work) => {
    const at = endOf(link, from)
    const to = (1 - at) as 0 | 1
    const other = link.ends[to]
    from.sent.bytes += bytes + frameOverheadBytes
    from.sent.frames++
    engine.note(from.index, other.index, kind * 65_536 + bytes)
    if (!reaches(from, other)) {
      if (link.held.length < heldFramesMax) link.held.push({ from: at, bytes, costMs, work })
      return
    }
    if (isGossip && faults.drop > 0 && rng.next() < faults.drop) return
    const leavesAtMs = Math.max(engine.nowMs(), from.processor.freeAtMs())
    let atMs = leavesAtMs + delayMs()
    if (faults.loss > 0) while (rng.next() < faults.loss) atMs += retransmitMs
    if (isGossip && faults.reorder > 0 && rng.next() < faults.reorder) {
      engine.at(atMs + rng.between(1, 50), () => arrive(link, to, costMs, work))
      return
    }
    atMs = Math.max(atMs, link.lastArrivalMs[to])
    link.lastArrivalMs[to] = atMs
    engine.at(atMs, () => arrive(link, to, costMs, work))
    if (isGossip && faults.duplicate > 0 && rng.next() < faults.duplicate)
      engine.at(atMs + delayMs(), () => arrive(link, to, costMs, work))
  }

  const establish = (a: Station, b: Station): Link => {
    const key = keyOf(a, b)
    const before = links.get(key)
    const link: Link = { ends: [a, b], open: [true, true], lastArrivalMs: [0, 0], held: [] }
    links.set(key, link)
    a.opened(link, 'outbound')
    b.opened(link, 'inbound')
    // One end may still have held an older connection that the other had given up; the new one takes its place.
    if (before) for (const end of [0, 1] as const) closeEnd(before, end)
    return link
  }

  const dial: Network['dial'] = (from, to, done) => {
    const back = (atMs: number, outcome: DialOutcome) =>
      engine.at(atMs, () => from.processor.submit(0.1, () => done(outcome)))
    from.sent.bytes += dialBytes
    from.sent.frames++
    const startMs = Math.max(engine.nowMs(), from.processor.freeAtMs())
    if (to === undefined) return void back(startMs + 2 * delayMs(), 'refused')
    engine.note(from.index, to.index, 1)
    if (!reaches(from, to)) return
    if (to.processor.isDead()) return void back(startMs + 2 * delayMs(), 'refused')
    let atMs = startMs
    for (let trip = 0; trip < 2 * dialRoundTrips - 1; trip++) atMs += delayMs()
    engine.at(atMs, () =>
      to.processor.submit(handshakeCostMs, () => {
        if (!reaches(from, to) || from.processor.isDead()) return 'quiet'
        to.sent.bytes += dialBytes
        const known = links.get(keyOf(from, to))
        const link = known?.open[0] && known.open[1] ? known : establish(from, to)
        back(engine.nowMs() + delayMs() + handshakeCostMs, link)
        return undefined
      }),
    )
  }

  const expectSilence = (link: Link): void => {
    for (const end of [0, 1] as const)
      engine.at(engine.nowMs() + rng.between(silentCloseMs.min, silentCloseMs.max), () => {
        if (!link.open[end] || reaches(...link.ends)) return 'quiet'
        return link.ends[end].processor.submit(0.1, () => closeEnd(link, end))
      })
  }

  const linksOf = (station: Station): Link[] => [...links.values()].filter((link) => link.ends.includes(station))

  return {
    send,
    dial,
    establish,
    close(link, by) {
      const at = endOf(link, by)
      const to = (1 - at) as 0 | 1
      const other = link.ends[to]
      if (!link.open[at]) return
      closeEnd(link, at)
      if (!reaches(by, other)) return
      const atMs = Math.max(engine.nowMs() + delayMs(), link.lastArrivalMs[to])
      engine.at(atMs, () => other.processor.submit(0.1, () => closeEnd(link, to)))
    },
    reset(station) {
      for (const link of linksOf(station)) {
        const at = endOf(link, station)
        link.open[at] = false
        const to = (1 - at) as 0 | 1
        if (!reaches(station, link.ends[to])) expectSilence(link)
        else
          engine.at(engine.nowMs() + delayMs() + rng.between(5, 30), () =>
            link.ends[to].processor.submit(0.1, () => closeEnd(link, to)),
          )
      }
    },
    vanish(station) {
      station.silent = true
      for (const link of linksOf(station)) {
        link.open[endOf(link, station)] = false
        expectSilence(link)
      }
    },
    divide(sideOf) {
      for (const station of stations()) station.side = sideOf(station)
      for (const link of [...links.values()]) {
        if (!reaches(...link.ends)) {
          expectSilence(link)
          continue
        }
        for (const { from, costMs, work } of link.held.splice(0)) {
          const to = (1 - from) as 0 | 1
          const atMs = Math.max(engine.nowMs() + retransmitMs * rng.between(0.5, 4), link.lastArrivalMs[to])
          link.lastArrivalMs[to] = atMs
          engine.at(atMs, () => arrive(link, to, costMs, work))
        }
      }
    },
    linkBetween: (a, b) => links.get(keyOf(a, b)),
  }
}
