import fc from 'fast-check'
import { describe, expect, test } from 'vitest'
import { createNeighbours } from '../../../src/mesh/ring.ts'

const peers = (count: number) => Array.from({ length: count }, (_, index) => `peer ${index}`)

const watchedBy = (self: string, up: string[], watchers: number) => createNeighbours(self, watchers).nearest(() => up)

describe('who watches whom', () => {
  test('few nodes all watch each other', () => {
    expect(watchedBy('peer 0', peers(4), 5).toSorted()).toEqual(['peer 1', 'peer 2', 'peer 3'])
  })

  test('a node alone watches nobody', () => {
    expect(watchedBy('peer 0', [], 5)).toEqual([])
  })

  test('of many nodes each is watched by five others and watches five', () => {
    fc.assert(
      fc.property(fc.integer({ min: 6, max: 60 }), (count) => {
        const all = peers(count)
        const watched = all.flatMap((peer) => watchedBy(peer, all, 5).map((subject) => ({ peer, subject })))
        for (const peer of all) {
          expect(watched.filter((pair) => pair.subject === peer && pair.peer !== peer)).toHaveLength(5)
          expect(new Set(watched.filter((pair) => pair.peer === peer).map((pair) => pair.subject)).size).toBe(5)
        }
      }),
      { numRuns: 20 },
    )
  })

  test('one node less changes little', () => {
    const all = peers(100)
    const without = all.slice(1)
    const changed = without.filter((peer) => String(watchedBy(peer, all, 5)) !== String(watchedBy(peer, without, 5)))
    expect(changed).toHaveLength(5)
  })
})
