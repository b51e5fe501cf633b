/** Who may do what with an agent, for every kind of caller. */
import { describe, expect, test } from 'vitest'
import { mayAct, outstayed, shownTo, type AgentAction, type Caller, type Grants } from '../../../src/agents/rights.ts'
import type { GuestStanding, Role } from '../../../src/base/standing.ts'
import { agentWith } from '../../support/agents.ts'

const HERE = 'a'.repeat(64)
const ABROAD = 'b'.repeat(64)
const THIRD = 'c'.repeat(64)
const CALLER = `12D3KooW${'C'.repeat(44)}`
const OTHER = `12D3KooW${'D'.repeat(44)}`
const OUT = `12D3KooW${'E'.repeat(44)}`
const HOST = `12D3KooW${'H'.repeat(44)}`

const self = (role: Role): Caller => ({ kind: 'self', peer: CALLER, role })
const member = (role: Role): Caller => ({ kind: 'peer', peer: CALLER, standing: { kind: 'member', role } })
const guest = (fields: Partial<GuestStanding> = {}): Caller => ({
  kind: 'peer',
  peer: CALLER,
  standing: { kind: 'guest', by: 'realm', realm: ABROAD, scopes: ['exec'], agentsPerNode: 4, ...fields },
})
const pinned = guest({ by: 'pin', realm: undefined })

const agents = {
  'its own': { owner: CALLER, realm: HERE },
  "another's": { owner: OTHER, realm: HERE },
  'its own from another realm': { owner: CALLER, realm: ABROAD },
  "another's of the guest realm": { owner: OTHER, realm: ABROAD },
  'one of a third realm': { owner: OTHER, realm: THIRD },
}
type Which = keyof typeof agents
const actions: AgentAction[] = ['spawn', 'see', 'use', 'stop']

/** What is allowed with each agent, as letters: sp(a)wn, s(e)e, (u)se, s(t)op. */
const table: [who: string, caller: Caller, allowed: Record<Which, string>][] = [
  ['an admin', member('admin'), ['aeut', 'eut', 'eut', 'e', 'e']],
  ['a member', member('member'), ['aeut', 'e', 'eut', 'e', 'e']],
  ['an observer', member('observer'), ['e', 'e', 'e', 'e', 'e']],
  ['the operator of a host that is admin', self('admin'), ['aeut', 'eut', 'eut', 'et', 'et']],
  ['the operator of a host that is member', self('member'), ['aeut', 'et', 'eut', 'et', 'et']],
  ['the operator of a host that is observer', self('observer'), ['et', 'et', 'et', 'et', 'et']],
  ['a guest', guest(), ['', '', 'aeut', 'eut', '']],
  ['a guest that is admin at home', guest({ role: 'admin' }), ['', '', 'aeut', 'eut', '']],
  ['a guest that is member at home', guest({ role: 'member' }), ['', '', 'aeut', 'e', '']],
  ['a guest that is observer at home', guest({ role: 'observer' }), ['', '', 'e', 'e', '']],
  ['a pinned guest', pinned, ['', '', 'aeut', '', '']],
].map(([who, caller, letters]) => [
  who as string,
  caller as Caller,
  Object.fromEntries(Object.keys(agents).map((which, at) => [which, (letters as string[])[at]!])) as Record<
    Which,
    string
  >,
])
const letterOf: Record<AgentAction, string> = { spawn: 'a', see: 'e', use: 'u', stop: 't' }

describe.each(table)('%s', (_who, caller, allowed) => {
  test.each(Object.keys(agents) as Which[])('may do with %s what its standing says, and no more', (which) => {
    for (const action of actions) {
      const fault = mayAct(action, agents[which], caller, HERE)
      expect(fault === undefined, `${action}: ${fault}`).toBe(allowed[which].includes(letterOf[action]))
    }
  })
})

test.each([
  ['a member', 'use', agents["another's"], member('member'), ['role admin', 'is member', OTHER]],
  ['an observer', 'spawn', agents['its own'], member('observer'), ['role member', 'is observer', 'an admin']],
  ['a guest', 'use', agents["another's"], guest(), ['this realm', 'guest', 'member of the realm']],
  ['a pinned guest', 'stop', agents["another's of the guest realm"], pinned, ['its own agents', OTHER]],
  ['an admin', 'use', agents['one of a third realm'], member('admin'), ['another realm', 'only its realm can']],
  ['an admin', 'stop', agents['one of a third realm'], member('admin'), ['operator of its host']],
] as const)('what is refused to %s says what it takes and who could', (_who, action, agent, caller, words) => {
  const fault = mayAct(action, agent, caller, HERE)
  for (const word of words) expect(fault).toContain(word)
})

test('a guest agent is shown to the realm of its host in outline, and to its own realm whole', () => {
  const agent = agentWith({ host: HOST, owner: OTHER, realm: ABROAD, role: 'spy', model: 'm', labels: { secret: 'x' } })
  for (const caller of [member('admin'), member('observer'), self('admin')]) {
    const shown = shownTo(agent, caller, HERE)!
    expect(shown).toMatchObject({ id: agent.id, status: 'idle', realm: ABROAD, owner: OTHER })
    expect(JSON.stringify(shown)).not.toMatch(/spy|secret|"m"/)
  }
  expect(shownTo(agent, guest(), HERE)).toEqual(agent)
  expect(shownTo(agent, guest({ realm: THIRD }), HERE)).toBeUndefined()
  expect(shownTo(agent, pinned, HERE)).toBeUndefined()
})

describe('an agent of another node', () => {
  const grants: Grants = {
    revoked: new Set([OUT]),
    realms: [
      { id: ABROAD, name: 'there' },
      { id: THIRD, name: 'third' },
    ],
    grants: [
      { realm: ABROAD, scopes: ['capacity', 'exec'] },
      { realm: THIRD, scopes: ['capacity'] },
    ],
    pins: [
      { peer: OTHER, scopes: ['capacity'] },
      { peer: CALLER, scopes: ['exec'] },
    ],
  }
  test.each([
    ['of a realm with the grant', { owner: OTHER, realm: ABROAD }, undefined],
    ['of a realm without the scope', { owner: OTHER, realm: THIRD }, /grant of its realm third/],
    ['of a realm that is not named', { owner: OTHER, realm: 'd'.repeat(64) }, /withdrawn/],
    ['of a pinned node', { owner: CALLER, realm: 'd'.repeat(64) }, undefined],
    ['of this node, from before it was in this realm', { owner: HOST, realm: 'd'.repeat(64) }, undefined],
    ['of this realm', { owner: OTHER, realm: HERE }, undefined],
    ['of a revoked node of this realm', { owner: OUT, realm: HERE }, /its owner .* has been revoked/],
  ])('%s outstays what lets it run here or not', (_what, agent, reason) => {
    const said = outstayed(agent, grants, { here: HERE, self: HOST })
    if (reason) expect(said).toMatch(reason)
    else expect(said).toBeUndefined()
  })
})
