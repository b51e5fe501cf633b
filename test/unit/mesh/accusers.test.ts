/** Whose accusations count. */
import { expect, test } from 'vitest'
import { limits } from '../../../src/base/limits.ts'
import { createAccusers } from '../../../src/mesh/accusers.ts'
import { createNeighbours } from '../../../src/mesh/ring.ts'
import { createFakeClock } from '../../fakes/clock.ts'
import { keyOf } from './peers.ts'

const peers = Array.from({ length: 2_000 }, (_, index) => keyOf(`member ${index}`).peer)

test('in a large realm every watcher may accuse, half the realm being known or gone, and most others may not', () => {
  const accusers = createAccusers(createFakeClock(), { ...limits, accusationsPerAccuserBurst: 1_000 })
  for (const known of [peers, peers.slice(0, 1_000)])
    for (const watcher of known.slice(0, 100)) {
      const ring = createNeighbours(watcher, limits.watchersPerNode)
      for (const subject of ring.nearest(() => known))
        expect(accusers.mayCount(watcher, subject, peers.length / 2)).toBe(true)
    }
  const [liar, ...others] = peers as [string, ...string[]]
  const within = others.filter((subject) => accusers.mayCount(liar, subject, peers.length))
  expect(within.length).toBeLessThan(peers.length / 20)
  expect(within.length).toBeGreaterThan(0)
})

test('in a small realm anybody may, at a rate against all together', async () => {
  const clock = createFakeClock()
  const accusers = createAccusers(clock, limits)
  const [liar, ...others] = peers as [string, ...string[]]
  const counted = () => others.slice(0, 500).filter((subject) => accusers.mayCount(liar, subject, 30)).length
  expect(counted()).toBe(limits.accusationsPerAccuserBurst)
  await clock.advance(1_000)
  expect(counted()).toBe(limits.accusationsPerAccuserPerSecond)
})
