/** Whom to dial next: pure. The realm stays one mesh as long as everybody keeps trying, ever more slowly, for ever. */
import type { Limits } from '../base/limits.ts'
import type { PeerState } from './records.ts'

export interface DialAttempt {
  readonly failures: number
  readonly notBeforeMs: number
}

interface PlanInput {
  readonly self: string
  readonly known: readonly { peer: string; state: PeerState }[]
  readonly watched: readonly string[]
  /** Peers with addresses from the store, the token, the command line and the realm document. */
  readonly seeds: readonly string[]
  readonly isConnected: (peer: string) => boolean
  readonly random: () => number
}

type WantLimits = Pick<Limits, 'fullMeshPeersMax' | 'connectionsWanted'>

/**
 * The peers to which this node wants a connection and has none. Of a small realm everybody; of a large one those that it
 * watches, and others at random up to limits.connectionsWanted. Seeds that it knows nothing of always, since they may be
 * all that ties two parts together. Never those that have left.
 */
export const wantedPeers = (input: PlanInput, limits: WantLimits): string[] => {
  const { self, known, watched, seeds, isConnected, random } = input
  const states = new Map(known.map(({ peer, state }) => [peer, state]))
  const others = known.filter(({ peer, state }) => peer !== self && state !== 'left').map(({ peer }) => peer)
  const up = others.filter((peer) => states.get(peer) !== 'down')
  const wanted = new Set(seeds.filter((peer) => peer !== self && !states.has(peer)))
  if (up.length < limits.fullMeshPeersMax) for (const peer of others) wanted.add(peer)
  else {
    for (const peer of watched) wanted.add(peer)
    const missing = limits.connectionsWanted - up.filter(isConnected).length
    for (let count = 0; count < missing; count++) wanted.add(up[Math.floor(random() * up.length)]!)
    for (const peer of seeds) if (states.get(peer) === 'down') wanted.add(peer)
  }
  return [...wanted].filter((peer) => !isConnected(peer))
}

type DelayLimits = Pick<Limits, 'reconnectDelayMsMin' | 'reconnectDelayMsMax' | 'seedJitter'>

/** How long to wait after so many failures in a row: doubled each time, with jitter. */
export const retryDelayMs = (failures: number, random: number, limits: DelayLimits): number => {
  const delay = Math.min(limits.reconnectDelayMsMax, limits.reconnectDelayMsMin * 2 ** Math.min(failures - 1, 16))
  return delay * (1 - limits.seedJitter * random)
}
