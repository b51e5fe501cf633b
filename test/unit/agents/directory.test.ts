/** How an agent is shown whose host gives no answer; the record at its homes and the answers of hosts are scripted. */
import { describe, expect, test } from 'vitest'
import type { Agent } from '../../../src/base/agent.ts'
import { GodelError, type ErrorDetail } from '../../../src/base/errors.ts'
import { limits } from '../../../src/base/limits.ts'
import { createDirectory } from '../../../src/agents/directory.ts'
import type { PeerState } from '../../../src/mesh/records.ts'
import { createFakeClock } from '../../fakes/clock.ts'
import { createFakeGuestView } from '../../fakes/guest-view.ts'
import { ID, specWith } from '../../support/agents.ts'

const owner = `12D3KooW${'B'.repeat(44)}`
const host = `12D3KooW${'C'.repeat(44)}`
const unreachable: ErrorDetail = { code: 'PEER_UNREACHABLE', peer: host, reason: 'no address of it is known' }

const shown = async (states: Record<string, PeerState>, fault: ErrorDetail = unreachable): Promise<Agent> => {
  const entries = Object.entries(states).map(([peer, state]) => ({ peer, state, self: false, ad: { name: peer } }))
  const { requirements: _, ...spec } = specWith({ owner })
  const agent = { ...spec, host, hostName: 'box', status: 'idle', epoch: 1 } as unknown as Agent
  const directory = createDirectory({
    rpc: { call: async () => Promise.reject(new GodelError(fault)) },
    view: { entries: () => entries, get: (peer: string) => entries.find((entry) => entry.peer === peer) },
    guests: createFakeGuestView(),
    ownership: { lookup: async () => ({ agent, version: 1, mode: 'pinned' }) },
    clock: createFakeClock(),
    limits,
  } as unknown as Parameters<typeof createDirectory>[0])
  return directory.get(ID)
}

describe('an agent whose host gives no answer', () => {
  test('is in doubt on a node that does not see a host which its owner may see', async () => {
    const agent = await shown({ [owner]: 'alive' })
    expect(agent).toMatchObject({ status: 'in-doubt' })
    expect(agent.reason).toContain('which spawned it')
  })

  test('is lost where the host is known to be down, or its owner is gone as well', async () => {
    expect(await shown({ [owner]: 'alive', [host]: 'down' })).toMatchObject({ status: 'lost' })
    expect(await shown({ [owner]: 'down' })).toMatchObject({ status: 'lost' })
  })

  test('is lost where the host lets its realm in no longer, without advice that was meant for others', async () => {
    const out = await shown({ [owner]: 'alive' }, { code: 'REALM_MISMATCH', expected: 'aa', actual: 'bb' })
    expect(out).toMatchObject({ status: 'lost', reason: 'its host box lets this realm in no longer' })
  })
})
