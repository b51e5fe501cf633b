/** What routing knows of the peers, as the view of the realm and the view of what is outside it change. */
import { expect, test } from 'vitest'
import { limits } from '../../../src/base/limits.ts'
import type { GuestPeer } from '../../../src/mesh/guest-view.ts'
import type { PeerView, View } from '../../../src/mesh/view.ts'
import { feedCandidates } from '../../../src/node/candidate-feed.ts'
import { createCandidates } from '../../../src/routing/candidates.ts'
import { route } from '../../../src/routing/route.ts'
import { createFakeClock } from '../../fakes/clock.ts'
import { createFakeGuestView } from '../../fakes/guest-view.ts'
import { needOf, peerOf, policyOf, rowOf } from '../routing/views.ts'

const adOf = (index: number) => rowOf(index, { shareable: true }).ad as PeerView['ad']
const guest = (index: number, fields: Partial<GuestPeer> = {}): GuestPeer => ({
  ...{ peer: peerOf(index), level: 'cross-realm', realm: 'b'.repeat(64), realmName: 'there', state: 'alive' },
  ...{ ad: adOf(index), ageMs: 0, usable: true, ...fields },
})
const member = (index: number): PeerView => ({
  ...{ peer: peerOf(index), state: 'alive', ad: adOf(index), ageMs: 0, self: false, restarts: 0 },
})

const fed = (known: GuestPeer[] = [], inView: PeerView[] = []) => {
  const clock = createFakeClock()
  const guests = createFakeGuestView()
  for (const entry of known) guests.set(entry)
  const members = new Map(inView.map((entry) => [entry.peer, entry]))
  const told = new Set<(entry: PeerView) => void>()
  const view = {
    entries: () => members.values(),
    get: (peer: string) => members.get(peer),
    onChange(fn: (entry: PeerView) => void) {
      told.add(fn)
      return () => void told.delete(fn)
    },
  } as unknown as View
  const candidates = createCandidates()
  const stop = feedCandidates({ view, guests, candidates, clock, limits })
  const join = (entry: PeerView) => {
    members.set(entry.peer, entry)
    for (const fn of told) fn(entry)
  }
  const picks = () => route(needOf(), candidates, policyOf()).pick
  return { clock, guests, candidates, stop, join, picks, forget: (peer: string) => members.delete(peer) }
}

test('a node of another realm is a candidate of its level, from the start and when it shows itself later', () => {
  const { guests, candidates, picks } = fed([guest(1)])
  guests.set(guest(2, { level: 'unregistered', realm: undefined }))
  expect(candidates.get(peerOf(1))).toMatchObject({ level: 'cross-realm', trusted: true, self: false })
  expect(candidates.get(peerOf(2))).toMatchObject({ level: 'unregistered' })
  expect(picks()).toBe(peerOf(2))
})

test.each([
  ['that may not be used', { usable: false }],
  ['that is down', { state: 'down' }],
  ['that is suspect', { state: 'suspect' }],
  ['that drains', { ad: { ...adOf(1), status: 'draining' } }],
  ['that is not shareable any more', { ad: { ...adOf(1), shareable: false } }],
] as const)('a node %s is not chosen', (_what, fields) => {
  const { guests, candidates, picks } = fed([guest(1)])
  expect(picks()).toBe(peerOf(1))
  guests.set(guest(1, fields as Partial<GuestPeer>))
  expect(picks()).toBeNull()
  expect(candidates.size).toBe(1)
})

test('a node that is known no longer is no candidate any more', () => {
  const { guests, candidates } = fed([guest(1)])
  guests.drop(peerOf(1))
  expect(candidates.size).toBe(0)
})

test('a member of the realm is one, however it shows itself outside, until the realm has forgotten it', async () => {
  const { clock, guests, candidates, join, forget } = fed([guest(1)])
  join(member(1))
  guests.set(guest(1, { usable: false }))
  expect(candidates.get(peerOf(1))).toMatchObject({ level: 'realm', trusted: true })
  guests.drop(peerOf(1))
  expect(candidates.get(peerOf(1))).toMatchObject({ level: 'realm' })
  guests.set(guest(1))
  forget(peerOf(1))
  await clock.advance(limits.syncIntervalMs)
  expect(candidates.get(peerOf(1))).toMatchObject({ level: 'cross-realm' })
})

test('a member that only one other accuses is chosen as before, one that more accuse is not', () => {
  const { join, picks } = fed()
  join({ ...member(1), state: 'suspect', doubted: true })
  expect(picks()).toBe(peerOf(1))
  join({ ...member(1), state: 'suspect' })
  expect(picks()).toBeNull()
})

test('nothing is fed after the end', () => {
  const { guests, candidates, stop } = fed()
  stop()
  guests.set(guest(1))
  expect(candidates.size).toBe(0)
})
