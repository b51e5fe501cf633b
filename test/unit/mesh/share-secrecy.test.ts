import fc from 'fast-check'
import { afterAll, beforeAll, describe, expect, test } from 'vitest'
import { SHARE_DOMAIN, SHOWN_DOMAIN } from '../../../src/mesh/share-ad.ts'
import { AD_DOMAIN } from '../../../src/mesh/accept.ts'
import {
  nodeHeartbeat,
  nodeShown,
  shareDigests,
  shareLeft,
  sharePull,
  viewPull,
  viewSync,
} from '../../../src/mesh/methods.ts'
import { shareTopicOf } from '../../../src/mesh/share.ts'
import { createFederation, name } from '../../support/federation.ts'
import { until, type MeshNode } from '../../support/mesh.ts'

/** b1 and hidden are of beta, a1 is its guest, c1 is of a realm that a1 alone is a friend of. */
const bed = createFederation()
let nodes: Record<'a1' | 'b1' | 'hidden' | 'c1', MeshNode>

beforeAll(async () => {
  const [a1] = await bed.realm('alpha', [{ name: 'a1' }])
  const [b1, hidden] = await bed.realm('beta', [
    { name: 'b1', traits: { labels: { zone: 'secret-label' } } },
    { name: 'hidden', traits: { shareable: false, shareFraction: 0, labels: { zone: 'secret-label' } } },
  ])
  const [c1] = await bed.realm('gamma', [{ name: 'c1' }])
  nodes = { a1: a1!, b1: b1!, hidden: hidden!, c1: c1! }
  for (const [x, y] of [
    [a1!, b1!],
    [a1!, c1!],
  ] as const) {
    await name(x, y, { scopes: ['capacity', 'exec', 'migrate'] })
    await name(y, x, { scopes: ['capacity', 'exec', 'migrate'] })
  }
  await until('the guests are there', () => nodes.a1.mesh.guests.get(nodes.b1.net.peer) !== undefined)
  await until('the guests are there', () => nodes.a1.mesh.guests.get(nodes.c1.net.peer) !== undefined)
  await until('hidden has guests', () => nodes.hidden.net.standingOf(nodes.a1.net.peer) !== undefined)
})
afterAll(bed.dispose)

type Step = { kind: string; from: keyof typeof nodes; to: keyof typeof nodes; load: number }
const names = ['a1', 'b1', 'hidden', 'c1'] as const
const steps: fc.Arbitrary<Step> = fc.record({
  kind: fc.constantFrom(
    'advertise',
    'digests',
    'pull',
    'push',
    'sync',
    'heartbeat',
    'shown',
    'left',
    'replay',
    'reseal',
  ),
  from: fc.constantFrom(...names),
  to: fc.constantFrom(...names),
  load: fc.double({ min: 0, max: 1, noNaN: true }),
})

/** What a peer does; what is refused is no matter here. */
const take = async ({ kind, from, to, load }: Step): Promise<unknown> => {
  const [x, y] = [nodes[from], nodes[to]]
  const all = Object.values(nodes).map((node) => node.net.peer)
  const ownAd = await x.mesh.ownAd()
  const call = x.net.rpc.call
  switch (kind) {
    case 'advertise':
      x.capacity.currentLoad = load
      return x.mesh.advertise()
    case 'digests':
      return call(y.net.peer, shareDigests, {})
    case 'pull':
      return call(y.net.peer, sharePull, { peers: all })
    case 'push':
      return call(y.net.peer, viewPull, { peers: all })
    case 'sync':
      return call(y.net.peer, viewSync, {})
    case 'heartbeat':
      return call(y.net.peer, nodeHeartbeat, {})
    case 'shown':
      return call(y.net.peer, nodeShown, {})
    case 'left':
      return call(y.net.peer, shareLeft, { envelope: ownAd })
    case 'replay':
      // The whole advertisement of a node, put on the share topic by a careless member of its realm.
      return x.net.pubsub.publish(shareTopicOf(nodes.b1.mesh.realm().id), ownAd)
    default: {
      const { payload } = await x.net.open(AD_DOMAIN, ownAd)
      const domain = load < 0.5 ? SHARE_DOMAIN : SHOWN_DOMAIN
      return x.net.pubsub.publish(shareTopicOf(nodes.b1.mesh.realm().id), await y.net.seal(domain, payload))
    }
  }
}

describe('whatever members and guests say, ask and replay', () => {
  test('no node that is not shareable, no label and no internal address is seen outside its realm', async () => {
    await fc.assert(
      fc.asyncProperty(fc.array(steps, { minLength: 1, maxLength: 12 }), async (taken) => {
        for (const step of taken) await take(step).catch(() => {})
        for (const outsider of [nodes.a1, nodes.c1]) {
          const seen = [...outsider.mesh.guests.entries()]
          expect(seen.map(({ ad }) => ad.name)).not.toContain('hidden')
          expect(outsider.mesh.guests.get(nodes.hidden.net.peer)).toBeUndefined()
          expect(JSON.stringify(seen)).not.toContain('secret-label')
          expect(seen.flatMap(({ ad }) => ad.addresses)).toEqual([])
        }
        expect([...nodes.c1.mesh.guests.entries()].map(({ ad }) => ad.name)).not.toContain('b1')
        expect([...nodes.b1.mesh.guests.entries()].map(({ ad }) => ad.name)).not.toContain('c1')
        expect([...nodes.a1.mesh.view.entries()].map(({ ad }) => ad.name)).toEqual(['a1'])
      }),
      { numRuns: 40 },
    )
  }, 60_000)

  test('the one that is shareable is seen all the while', async () => {
    await until('a1 sees b1', () => nodes.a1.mesh.guests.get(nodes.b1.net.peer)?.state === 'alive')
  })
})
