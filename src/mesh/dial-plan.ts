/** Whom to dial next: pure. The realm stays one mesh as long as everybody keeps trying, ever more slowly, for ever. */
import type { Limits } from '../base/limits.ts'
import { isUp, type PeerState } from './records.ts'

export interface DialAttempt {
  readonly failures: number
  readonly notBeforeMs: number
}

interface PlanInput {
  readonly self: string
  /** How many others are up. */
  readonly up: number
  readonly stateOf: (peer: string) => PeerState | undefined
  /** Everybody that is known; read where few are up. */
  readonly known: () => Iterable<{ peer: string; state: PeerState }>
  /** One of the others that are alive; undefined where nobody is. */
  readonly someone: () => string | undefined
  readonly watched: readonly string[]
  /** Peers with addresses from the store, the token, the command line and the realm document. */
  readonly seeds: readonly string[]
  readonly connected: ReadonlySet<string>
}

type WantLimits = Pick<Limits, 'fullMeshPeersMax' | 'connectionsWanted'>

/**
 * The peers to which this node wants a connection and has none. Of a small realm everybody; of a large one those that it
 * watches, and others at random up to limits.connectionsWanted. Seeds that it knows nothing of always, since they may be
 * all that ties two parts together. Never those that have left.
 */
export const wantedPeers = (input: PlanInput, limits: WantLimits): string[] => {
  const { self, up, stateOf, known, someone, watched, seeds, connected } = input
  const wanted = new Set(seeds.filter((peer) => peer !== self && stateOf(peer) === undefined))
  if (up < limits.fullMeshPeersMax) {
    for (const { peer, state } of known()) if (peer !== self && state !== 'left') wanted.add(peer)
  } else {
    for (const peer of watched) wanted.add(peer)
    const missing = limits.connectionsWanted - [...connected].filter((peer) => isUpOther(peer, input)).length
    for (let count = 0; count < missing; count++) {
      const peer = someone()
      if (peer !== undefined) wanted.add(peer)
    }
    for (const peer of seeds) if (stateOf(peer) === 'down') wanted.add(peer)
  }
  return [...wanted].filter((peer) => !connected.has(peer))
}

const isUpOther = (peer: string, { self, stateOf }: PlanInput): boolean => {
  const state = stateOf(peer)
  return peer !== self && state !== undefined && isUp(state)
}

type DelayLimits = Pick<Limits, 'reconnectDelayMsMin' | 'reconnectDelayMsMax' | 'seedJitter'>

/** How long to wait after so many failures in a row: doubled each time, with jitter. */
export const retryDelayMs = (failures: number, random: number, limits: DelayLimits): number => {
  const delay = Math.min(limits.reconnectDelayMsMax, limits.reconnectDelayMsMin * 2 ** Math.min(failures - 1, 16))
  return delay * (1 - limits.seedJitter * random)
}
