/** What may run here of those outside the realm ends soon after it may no longer. */
import { expect, test } from 'vitest'
import type { Agent } from '../../../src/base/agent.ts'
import { limits } from '../../../src/base/limits.ts'
import { silentLog } from '../../../src/base/log.ts'
import type { Host } from '../../../src/agents/host.ts'
import type { Grants } from '../../../src/agents/rights.ts'
import type { Mesh } from '../../../src/mesh/mesh.ts'
import { guestsOf, watchGrants } from '../../../src/node/outside.ts'
import { createFakeClock } from '../../fakes/clock.ts'
import { agentWith, REALM } from '../../support/agents.ts'
import { peerOf } from '../routing/views.ts'

const ABROAD = 'b'.repeat(64)
const [SELF, OWNER, PINNED] = [peerOf(1), peerOf(2), peerOf(3)]

const watched = () => {
  const clock = createFakeClock()
  const agents = [
    agentWith({ id: 'of the realm', host: SELF, owner: OWNER, realm: REALM }),
    agentWith({ id: 'of another realm', host: SELF, owner: OWNER, realm: ABROAD }),
    agentWith({ id: 'of a pinned node', host: SELF, owner: PINNED, realm: 'c'.repeat(64) }),
  ]
  const ended = new Map<string, string>()
  const endWhere: Host['endWhere'] = async (why) => {
    for (const agent of agents) {
      const reason = why(agent as Agent)
      if (reason !== undefined) ended.set(agent.id, reason)
    }
  }
  const document = { realms: [{ id: ABROAD, name: 'there' }], grants: [{ realm: ABROAD, scopes: ['exec'] }] }
  let pins: Grants['pins'] = [{ peer: PINNED, scopes: ['exec'] }]
  const revoked = new Set<string>()
  const tell = new Set<() => void>()
  const onRevoked = (fn: () => void) => {
    tell.add(fn)
    return () => tell.delete(fn)
  }
  const mesh = { realm: () => ({ id: REALM, document, revoked }), onRevoked } as unknown as Mesh
  const revoke = (peer: string) => {
    revoked.add(peer)
    for (const fn of tell) fn()
  }
  const stop = watchGrants({
    ...{ host: { endWhere } as Host, mesh },
    ...{ peer: SELF, pins: () => pins, clock, log: silentLog, limits },
  })
  return { clock, ended, document, stop, revoke, listeners: tell, unpin: () => void (pins = []) }
}

test('nothing is ended while the grants stand', async () => {
  const { clock, ended } = watched()
  await clock.advance(3 * limits.grantCheckMs)
  expect([...ended]).toEqual([])
})

test('a withdrawn grant ends the agents of that realm, and a lifted pin those of that node', async () => {
  const { clock, ended, document, unpin, stop } = watched()
  document.grants.splice(0)
  await clock.advance(limits.grantCheckMs)
  expect([...ended]).toEqual([['of another realm', 'the grant of its realm there was withdrawn']])
  unpin()
  await clock.advance(limits.grantCheckMs)
  expect([...ended.keys()]).toEqual(['of another realm', 'of a pinned node'])
  stop()
  expect(clock.pending()).toBe(0)
})

test('a node that is revoked loses its agents at once, without waiting for the next look', () => {
  const { ended, revoke, listeners, stop } = watched()
  revoke(OWNER)
  expect(ended.get('of the realm')).toBe(`its owner ${OWNER} has been revoked`)
  expect(ended.has('of a pinned node')).toBe(false)
  stop()
  expect(listeners.size).toBe(0)
})

test('the guests of a realm are those that are connected as such', () => {
  const standings = new Map<string, unknown>([
    [OWNER, { kind: 'guest', by: 'realm', realm: ABROAD }],
    [PINNED, { kind: 'guest', by: 'pin', realm: undefined }],
    [peerOf(4), { kind: 'member', role: 'member' }],
    [peerOf(5), undefined],
  ])
  const net = { connected: () => [...standings.keys()], standingOf: (peer: string) => standings.get(peer) }
  expect(guestsOf(net as never)(ABROAD)).toEqual([OWNER])
})
