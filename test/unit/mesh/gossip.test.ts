/** How much of one author a node passes on, and what that is to those who pass it on. */
import { expect, test } from 'vitest'
import { encode } from '../../../src/base/codec.ts'
import { limits } from '../../../src/base/limits.ts'
import { silentLog } from '../../../src/base/log.ts'
import { silentMeter } from '../../../src/base/meter.ts'
import { createRefusals } from '../../../src/base/refusals.ts'
import { startGossip } from '../../../src/mesh/gossip.ts'
import type { TopicHandler } from '../../../src/net/net.ts'
import { createFakeClock } from '../../fakes/clock.ts'
import { keyOf, sealBy } from './peers.ts'

const rig = () => {
  const clock = createFakeClock()
  const taken: Uint8Array[] = []
  const subscribed: TopicHandler[] = []
  const take = (envelope: Uint8Array) => (taken.push(envelope), Promise.resolve('news' as const))
  const nothing = () => Promise.resolve('stale' as const)
  startGossip(
    {
      accept: { ad: take, accusation: take },
      news: { revocation: nothing, head: nothing },
      pubsub: {
        subscribe: (_topic, handler) => (subscribed.push(handler), () => {}),
        publish: () => Promise.resolve(),
      },
      refusals: createRefusals({ log: silentLog, meter: silentMeter, limits }, { metric: 'refusals' }),
      ...{ clock, limits },
    },
    { realm: 'r' },
  )
  const [handle] = subscribed
  let n = 0
  const hear = async (author: string, kind = 'ad') => {
    const envelope = await sealBy(keyOf(author), 'ad', Buffer.from(`${n++}`))
    return handle!(encode({ kind, envelope }), 'an honest neighbour')
  }
  return { clock, taken, hear }
}

test('what an author says above its rate is taken in and not passed on, and is nobody else’s fault', async () => {
  const { clock, taken, hear } = rig()
  const said = { loud: [] as string[], quiet: [] as string[] }
  for (let n = 0; n < limits.gossipAuthorBurst + 5; n++) said.loud.push(await hear('loud'))
  // An author whose words come by the same neighbour is passed on as before.
  for (let n = 0; n < 5; n++) said.quiet.push(await hear('quiet'))
  expect(said.loud.filter((verdict) => verdict === 'accept')).toHaveLength(limits.gossipAuthorBurst)
  // Never `reject`, for which gossip would hold the neighbour to account.
  expect(new Set(said.loud.slice(limits.gossipAuthorBurst))).toEqual(new Set(['ignore']))
  expect(new Set(said.quiet)).toEqual(new Set(['accept']))
  expect(taken).toHaveLength(limits.gossipAuthorBurst + 10)
  await clock.advance(1_000)
  const later = [await hear('loud'), await hear('loud'), await hear('loud')]
  expect(later).toEqual(['accept', 'accept', 'ignore'])
})

test('what one accuses counts against the rate of its author too', async () => {
  const { hear } = rig()
  for (let n = 0; n < limits.gossipAuthorBurst; n++) await hear('loud', n % 2 === 0 ? 'ad' : 'accusation')
  expect(await hear('loud', 'accusation')).toBe('ignore')
})
