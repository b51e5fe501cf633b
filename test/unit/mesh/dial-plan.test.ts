import { describe, expect, test } from 'vitest'
import { limits } from '../../../src/base/limits.ts'
import { retryDelayMs, wantedPeers } from '../../../src/mesh/dial-plan.ts'
import type { PeerState } from '../../../src/mesh/records.ts'

const known = (...states: [string, PeerState][]) => states.map(([peer, state]) => ({ peer, state }))
interface Given {
  known?: ReturnType<typeof known>
  watched?: string[]
  seeds?: string[]
  isConnected?: (peer: string) => boolean
  random?: () => number
}
const plan = ({ known: all = [], isConnected = () => false, random = () => 0, watched = [], seeds = [] }: Given) => {
  const states = new Map(all.map(({ peer, state }) => [peer, state]))
  const up = all.filter(({ peer, state }) => peer !== 'me' && (state === 'alive' || state === 'suspect'))
  const someone = () => up[Math.floor(random() * up.length)]?.peer
  const connected = new Set([...states.keys()].filter(isConnected))
  const stateOf = (peer: string) => states.get(peer)
  const input = { self: 'me', up: up.length, stateOf, known: () => all, someone, watched, seeds, connected }
  return wantedPeers(input, limits)
}
const many = known(...Array.from({ length: 100 }, (_, index): [string, PeerState] => [`p${index}`, 'alive']))

describe('whom a node dials', () => {
  test('in a small realm everybody that is not connected, the silent too, and never itself or who has left', () => {
    const all = known(['me', 'alive'], ['a', 'alive'], ['b', 'suspect'], ['c', 'down'], ['d', 'left'])
    expect(plan({ known: all, isConnected: (peer) => peer === 'a' })).toEqual(['b', 'c'])
  })

  test('seeds that it knows nothing of, and not those that have left', () => {
    expect(plan({ known: known(['d', 'left']), seeds: ['d', 'e', 'me'] })).toEqual(['e'])
  })

  test('in a large realm those that it watches and some others', () => {
    let next = 0
    const wanted = plan({ known: many, watched: ['p7', 'p8'], random: () => (next++ % 100) / 100 })
    expect(wanted).toEqual(expect.arrayContaining(['p7', 'p8']))
    expect(wanted.length).toBeLessThanOrEqual(2 + limits.connectionsWanted)
    expect(wanted.length).toBeGreaterThanOrEqual(limits.connectionsWanted)
  })

  test('in a large realm no others while it has connections enough', () => {
    expect(plan({ known: many, watched: ['p70'], isConnected: (peer) => Number(peer.slice(1)) < 12 })).toEqual(['p70'])
  })
})

describe('the wait after failures', () => {
  test('doubles up to its bound, and jitter only shortens it', () => {
    expect([1, 2, 3, 7, 60].map((failures) => retryDelayMs(failures, 0, limits))).toEqual([
      500, 1_000, 2_000, 30_000, 30_000,
    ])
    expect(retryDelayMs(7, 1, limits)).toBeCloseTo(30_000 * (1 - limits.seedJitter))
  })
})
