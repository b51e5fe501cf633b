/** What is left of a peer that the realm has put out. */
import { expect, test } from 'vitest'
import { limits } from '../../../src/base/limits.ts'
import { silentLog } from '../../../src/base/log.ts'
import type { Realm } from '../../../src/identity/realm-document.ts'
import { startExpulsion } from '../../../src/mesh/expulsion.ts'
import { createView } from '../../../src/mesh/view.ts'
import { createFakeClock } from '../../fakes/clock.ts'
import { accusationBy, keyOf, recordOf } from './peers.ts'

const [self, liar, victim] = ['self', 'liar', 'victim'].map((name) => keyOf(name).peer) as [string, string, string]

test('a revoked peer is out of the view, and what it said of others counts no more', () => {
  const clock = createFakeClock()
  const view = createView({ clock, limits, log: silentLog }, { peer: self })
  const heard = (peer: string) => recordOf(peer, {}, { issuedAtMs: clock.monotonicMs() })
  view.setSelf(heard(self), () => heard(self).ad)
  for (const peer of [liar, victim]) view.merge(heard(peer))
  view.accuse(victim, 1, accusationBy(liar, clock.monotonicMs()))
  expect(view.get(victim)?.state).toBe('suspect')
  let change: ((now: Realm, before: Realm) => void) | undefined
  const expelled: string[] = []
  startExpulsion({
    ...{ self, view, log: silentLog },
    member: { onChange: (fn: typeof change) => ((change = fn), () => {}) } as never,
    certificates: { peek: () => ({}) } as never,
    trust: { expel: (peer: string) => expelled.push(peer), sweep: async () => {} } as never,
  })
  const realm = (...out: string[]) => ({ revoked: new Map(out.map((peer) => [peer, { peer, by: self }])) }) as never
  change!(realm(liar), realm())
  expect(expelled).toEqual([liar])
  expect(view.get(liar)).toBeUndefined()
  expect(view.get(victim)).toMatchObject({ state: 'alive' })
  expect(view.get(victim)).not.toHaveProperty('verdict')
})
