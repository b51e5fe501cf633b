import fc from 'fast-check'
import { describe, expect, test } from 'vitest'
import type { NodeTraits } from '../../../src/base/advertisement.ts'
import type { Requirements } from '../../../src/base/agent.ts'
import { mintId } from '../../../src/base/ids.ts'
import { limits } from '../../../src/base/limits.ts'
import type { GuestStanding } from '../../../src/base/standing.ts'
import { createAdmission } from '../../../src/agents/admission.ts'
import { createFakeClock } from '../../fakes/clock.ts'
import { REALM, specWith } from '../../support/agents.ts'

const SELF = `12D3KooW${'A'.repeat(44)}`
const CALLER = `12D3KooW${'B'.repeat(44)}`
const traits: NodeTraits = {
  name: 'box',
  region: 'eu-west',
  labels: { env: 'prod' },
  capabilities: ['docker'],
  runtimes: [{ kind: 'process', version: '1' }],
  gpu: { count: 1, types: ['a100'] },
  cost: {},
  isolation: 'bwrap',
  acceptUnsandboxed: false,
  shareable: false,
  shareFraction: 0,
}

const admissionOf = (slots: number, fields: Partial<NodeTraits> = {}, draining = { now: false }) => {
  const clock = createFakeClock()
  let changes = 0
  const deps = {
    ...{ clock, limits, peer: SELF, traits: { ...traits, ...fields }, onChange: () => changes++ },
    realm: () => REALM,
    draining: () => draining.now,
  }
  return { clock, changes: () => changes, admission: createAdmission(deps, { slots }) }
}
let minted = 0
const spec = (requirements: Requirements = {}, id = mintId('ag', 1_000 + minted++)) =>
  specWith({ owner: CALLER, id, requirements })

describe('the slots of a node', () => {
  test('are never taken twice, whatever the order of reserving, taking, lapsing and releasing', () => {
    const action = fc.record({
      kind: fc.constantFrom('reserve', 'take', 'release', 'lapse'),
      agent: fc.integer({ min: 0, max: 7 }),
    })
    fc.assert(
      fc.asyncProperty(fc.array(action, { maxLength: 40 }), async (actions) => {
        const { admission, clock } = admissionOf(3)
        const specs = Array.from({ length: 8 }, () => spec())
        const held = new Map<number, string>()
        for (const { kind, agent } of actions) {
          const used = admission.capacity().running
          try {
            if (kind === 'reserve') held.set(agent, admission.reserve(specs[agent]!, 1, CALLER).id)
            if (kind === 'take') admission.take(held.get(agent) ?? 'rs_none', CALLER, specs[agent]!.id)
            if (kind === 'release') admission.release(specs[agent]!.id)
            if (kind === 'lapse') await clock.advance(limits.reservationMs)
          } catch (error) {
            expect(['AT_CAPACITY', 'RESERVATION_EXPIRED']).toContain((error as { code: string }).code)
            expect(admission.capacity().running).toBe(used)
          }
          expect(admission.capacity().running).toBeLessThanOrEqual(3)
        }
      }),
    )
  })

  test('a full node refuses and says how full it is', () => {
    const { admission } = admissionOf(1)
    admission.reserve(spec(), 1, CALLER)
    expect(() => admission.reserve(spec(), 1, CALLER)).toThrow(
      expect.objectContaining({ detail: { code: 'AT_CAPACITY', node: 'box', running: 1, capacity: 1 } }),
    )
    expect(admission.capacity()).toEqual({ status: 'busy', currentLoad: 1, running: 1, maxConcurrent: 1 })
  })

  test('asking again for the same agent and epoch takes no second slot', () => {
    const { admission } = admissionOf(1)
    const wanted = spec()
    const first = admission.reserve(wanted, 1, CALLER)
    expect(admission.reserve(wanted, 1, CALLER).id).toBe(first.id)
    expect(admission.capacity().running).toBe(1)
  })

  test('a reservation that nobody uses lapses, and one that is renewed does not', async () => {
    const { admission, clock, changes } = admissionOf(2)
    const lapsing = admission.reserve(spec(), 1, CALLER)
    const kept = admission.reserve(spec(), 1, CALLER)
    await clock.advance(limits.reservationMs - 1)
    admission.renew(kept.id, CALLER)
    const before = changes()
    await clock.advance(1)
    expect(changes()).toBe(before + 1)
    expect(admission.capacity().running).toBe(1)
    expect(() => admission.take(lapsing.id, CALLER, lapsing.agent)).toThrow(
      expect.objectContaining({ code: 'RESERVATION_EXPIRED' }),
    )
    expect(admission.take(kept.id, CALLER, kept.agent)).toMatchObject({ id: kept.id })
  })

  test('a reservation is given back by the node that asked for it, and by no other', () => {
    const { admission } = admissionOf(1)
    const { id } = admission.reserve(spec(), 1, CALLER)
    admission.cancel(id, SELF)
    expect(admission.capacity().running).toBe(1)
    admission.cancel(id, CALLER)
    admission.cancel(id, CALLER)
    expect(admission.capacity().running).toBe(0)
  })

  test("another node's reservation cannot be taken", () => {
    const { admission } = admissionOf(1)
    const { id, agent } = admission.reserve(spec(), 1, CALLER)
    expect(() => admission.take(id, SELF, agent)).toThrow(expect.objectContaining({ code: 'RESERVATION_EXPIRED' }))
  })

  test('a reservation for one agent gives no slot to another', () => {
    const { admission } = admissionOf(1)
    const { id, agent } = admission.reserve(spec(), 1, CALLER)
    const another = () => admission.take(id, CALLER, spec().id)
    expect(another).toThrow(expect.objectContaining({ code: 'RESERVATION_EXPIRED' }))
    admission.take(id, CALLER, agent)
    admission.release(agent)
    expect(admission.capacity().running).toBe(0)
  })
})

describe('what a node cannot do it refuses, whatever its advertisement says', () => {
  test.each([
    ['a GPU it has not', { gpu: true }, { gpu: { count: 0, types: [] } }, /GPU/],
    ['a GPU of another type', { gpu: true, gpuType: 'h100' }, {}, /h100/],
    ['another region', { region: 'us-east' }, {}, /us-east/],
    ['a capability it lacks', { capabilities: ['cuda'] }, {}, /cuda/],
    ['a label it lacks', { nodeLabels: { env: 'test' } }, {}, /env=test/],
    [
      'isolation it cannot give',
      { isolation: 'bwrap' as const },
      { isolation: 'none' as const, acceptUnsandboxed: true },
      /isolation/,
    ],
    ["another node's agent without a sandbox", {}, { isolation: 'none' as const }, /unsandboxed/],
  ] satisfies [string, Requirements, Partial<NodeTraits>, RegExp][])('%s', (_what, requirements, fields, words) => {
    const { admission } = admissionOf(4, fields)
    expect(() => admission.reserve(spec(requirements), 1, CALLER)).toThrow(
      expect.objectContaining({ code: 'UNFIT', message: expect.stringMatching(words) }),
    )
    expect(admission.capacity().running).toBe(0)
  })

  test('its own agents it runs without a sandbox', () => {
    const { admission } = admissionOf(1, { isolation: 'none' })
    expect(admission.reserve(spec(), 1, SELF).from).toBe(SELF)
  })
})

test('a peer that is put out holds no reservation from then on, and others keep theirs', () => {
  const { admission, changes } = admissionOf(3)
  const [theirs, another] = [spec(), spec()]
  const held = admission.reserve(theirs, 1, CALLER)
  admission.reserve(another, 1, SELF)
  const before = changes()
  admission.forget(CALLER)
  expect([admission.isReserved(theirs.id), admission.isReserved(another.id)]).toEqual([false, true])
  expect(admission.capacity().running).toBe(1)
  expect(changes()).toBe(before + 1)
  expect(() => admission.take(held.id, CALLER, theirs.id)).toThrow(
    expect.objectContaining({ code: 'RESERVATION_EXPIRED' }),
  )
})

describe('a draining node', () => {
  test('takes nothing new, of nobody, and keeps what it has', () => {
    const draining = { now: false }
    const { admission } = admissionOf(4, {}, draining)
    const { id, agent } = admission.reserve(spec(), 1, CALLER)
    draining.now = true
    for (const from of [CALLER, SELF])
      expect(() => admission.reserve(spec(), 1, from)).toThrow(
        expect.objectContaining({ detail: { code: 'DRAINING', node: 'box' } }),
      )
    expect(admission.capacity()).toMatchObject({ status: 'draining', running: 1 })
    // What was promised before is kept.
    expect(admission.take(id, CALLER, agent)).toMatchObject({ agent })
    draining.now = false
    expect(admission.reserve(spec(), 1, CALLER).from).toBe(CALLER)
  })
})

describe('guests', () => {
  const ABROAD = 'b'.repeat(64)
  const THIRD = 'c'.repeat(64)
  const OTHER = `12D3KooW${'D'.repeat(44)}`
  const shared = { shareable: true, shareFraction: 0.5 }
  const standing = (fields: Partial<GuestStanding> = {}): GuestStanding => ({
    ...{ kind: 'guest', by: 'realm', realm: ABROAD, scopes: ['exec'], agentsPerNode: 2, ...fields },
  })
  const pin = standing({ by: 'pin', realm: undefined })
  const foreign = (realm = ABROAD) => ({ ...spec(), realm })
  const exceeded = (limit: number) =>
    expect.objectContaining({ detail: expect.objectContaining({ code: 'QUOTA_EXCEEDED', limit }) })

  test('of one realm get as many slots of a node as their grant says, reservations and other guests of it included', () => {
    const { admission } = admissionOf(8, shared)
    admission.occupy({ id: spec().id, realm: ABROAD, owner: OTHER })
    const { agent } = admission.reserve(foreign(), 1, CALLER, standing())
    expect(() => admission.reserve(foreign(), 1, CALLER, standing())).toThrow(exceeded(2))
    expect(() => admission.reserve(foreign(), 1, OTHER, standing())).toThrow(exceeded(2))
    // A member is not held up by it, nor another realm, and a slot given back can be had again.
    admission.reserve(spec(), 1, CALLER)
    admission.reserve(foreign(THIRD), 1, OTHER, standing({ realm: THIRD }))
    admission.release(agent)
    expect(admission.reserve(foreign(), 1, CALLER, standing()).realm).toBe(ABROAD)
  })

  test('of all realms together get the shared part of the slots, rounded down', () => {
    const { admission } = admissionOf(5, shared)
    admission.reserve(foreign(), 1, CALLER, standing({ agentsPerNode: 9 }))
    admission.reserve(foreign(THIRD), 1, OTHER, standing({ realm: THIRD, agentsPerNode: 9 }))
    expect(() => admission.reserve(foreign(), 1, CALLER, standing({ agentsPerNode: 9 }))).toThrow(exceeded(2))
    for (let slot = 2; slot < 5; slot++) admission.reserve(spec(), 1, CALLER)
    expect(admission.capacity()).toMatchObject({ running: 5, maxConcurrent: 5 })
  })

  test('that are pinned need no shareable node, and are counted one by one', () => {
    const { admission } = admissionOf(8)
    for (let slot = 0; slot < 2; slot++) admission.reserve(foreign(), 1, CALLER, pin)
    expect(() => admission.reserve(foreign(), 1, CALLER, pin)).toThrow(exceeded(2))
    expect(admission.reserve(foreign(), 1, OTHER, pin).from).toBe(OTHER)
    expect(() => admission.reserve(foreign(), 1, OTHER, standing())).toThrow(
      expect.objectContaining({ code: 'UNFIT', message: expect.stringContaining('not shareable') }),
    )
  })

  test('are refused on a full node like everybody', () => {
    const { admission } = admissionOf(2, { shareable: true, shareFraction: 1 })
    for (let slot = 0; slot < 2; slot++) admission.reserve(spec(), 1, CALLER)
    expect(() => admission.reserve(foreign(), 1, OTHER, standing())).toThrow(
      expect.objectContaining({ code: 'AT_CAPACITY' }),
    )
  })

  test('are not told how many slots a full node has, beyond the shared part', () => {
    const { admission } = admissionOf(6, shared)
    for (let slot = 0; slot < 6; slot++) admission.reserve(spec(), 1, CALLER)
    expect(() => admission.reserve(foreign(), 1, OTHER, standing())).toThrow(
      expect.objectContaining({ detail: { code: 'AT_CAPACITY', node: 'box', running: 3, capacity: 3 } }),
    )
  })

  test('learn nothing of its labels', () => {
    const { admission } = admissionOf(4, shared)
    const wants = { requirements: { nodeLabels: { env: 'prod' } } }
    expect(() => admission.reserve({ ...foreign(), ...wants }, 1, CALLER, standing())).toThrow(
      expect.objectContaining({ code: 'UNFIT' }),
    )
    expect(admission.reserve({ ...spec(), ...wants }, 1, CALLER).from).toBe(CALLER)
  })
})
