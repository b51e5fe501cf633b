/** The caller's side of a spawn against a scripted network: every branch of the table in placement.ts. */
import { beforeAll, describe, expect, test } from 'vitest'
import type { Agent } from '../../../src/base/agent.ts'
import { GodelError, type ErrorDetail } from '../../../src/base/errors.ts'
import { limits } from '../../../src/base/limits.ts'
import { silentLog } from '../../../src/base/log.ts'
import type { Isolation } from '../../../src/base/advertisement.ts'
import { createDecisions } from '../../../src/agents/decisions.ts'
import { createPlacement } from '../../../src/agents/placement.ts'
import { createCandidates } from '../../../src/routing/candidates.ts'
import { createFakeClock } from '../../fakes/clock.ts'
import { agentWith, ID, REALM } from '../../support/agents.ts'
import { createSealer, type TestSealer } from '../../support/sealers.ts'

let caller: TestSealer
beforeAll(async () => {
  caller = await createSealer()
})
const peerOf = (letter: string) => `12D3KooW${letter.repeat(44)}`

type Reply = Record<string, unknown> | ErrorDetail | undefined
/** What each node answers, by method, in order; the last answer is repeated. */
type Script = Record<string, Record<string, Reply[]>>

const placed = { reservation: 'rs_1', held: false, advertisement: Uint8Array.of(7) }
const refused = (code: string) => ({ refusal: { code, reason: `it said ${code}` }, advertisement: new Uint8Array(1) })

const meshOf = (
  script: Script,
  fields: { known?: Agent; full?: string[]; down?: string[]; fresh?: Record<string, number> } = {},
) => {
  const clock = createFakeClock()
  const candidates = createCandidates()
  const calls: string[] = []
  const published: number[] = []
  const accepted: Uint8Array[] = []
  const upsert = (name: string, running: number) =>
    candidates.upsert({
      peer: peerOf(name),
      level: 'realm',
      state: 'alive',
      trusted: true,
      self: false,
      issuedAtMs: 0,
      ad: {
        name,
        status: running >= 4 ? 'busy' : 'available',
        currentLoad: running / 4,
        running,
        maxConcurrent: 4,
        capabilities: [],
        runtimes: [{ kind: 'process', version: '1' }],
        gpu: { count: 0, types: [] },
        labels: {},
        isolation: 'bwrap' as Isolation,
        acceptUnsandboxed: false,
        shareable: false,
        cost: {},
      },
    })
  for (const [index, name] of Object.keys(script).entries()) upsert(name, fields.full?.includes(name) ? 4 : index % 4)
  const rpc = {
    register() {},
    stream: () => {
      throw new Error('no streams here')
    },
    async call(peer: string, method: { name: string }, request: { epoch?: number }) {
      const name = peer.at(-1)!
      calls.push(`${name} ${method.name}${request.epoch === undefined ? '' : ` ${request.epoch}`}`)
      const replies = script[name]![method.name]
      const reply = replies && (replies.length > 1 ? replies.shift() : replies[0])
      if (reply && 'code' in reply) throw new GodelError(reply as ErrorDetail)
      return reply
    },
  }
  const stateOf = (peer: string) => (fields.down?.includes(peer.at(-1)!) ? 'down' : 'alive')
  const view = {
    get: (peer: string) =>
      candidates.get(peer) && { state: stateOf(peer), ad: { name: peer.at(-1)!, isolation: 'bwrap' } },
  }
  const decisions = createDecisions({ kept: 10 })
  const placement = createPlacement({
    peer: caller.peer,
    mesh: {
      view,
      realm: () => ({ id: REALM }),
      acceptAd: async (advertisement: Uint8Array) => void accepted.push(advertisement),
      refresh: async (peer: string) => {
        calls.push(`${peer.at(-1)} refresh`)
        const running = fields.fresh?.[peer.at(-1)!]
        if (running !== undefined) upsert(peer.at(-1)!, running)
      },
    },
    guests: { get: () => undefined },
    candidates,
    rpc,
    sealer: caller,
    ownership: { publish: async (record: { agent: Agent }) => published.push(record.agent.epoch) },
    directory: { find: async () => fields.known, seen() {} },
    decisions,
    sendFiles: async () => {},
    clock,
    log: silentLog,
    limits,
  } as unknown as Parameters<typeof createPlacement>[0])
  return { placement, calls, clock, decisions, published, accepted, candidates }
}

const running = (name: string, epoch = 1) =>
  agentWith({ host: peerOf(name), hostName: name, owner: caller.peer, epoch })
const lost: ErrorDetail = { code: 'STREAM_LOST', peer: 'a', reason: 'cut' }
const silent: ErrorDetail = { code: 'PEER_UNREACHABLE', peer: 'a', reason: 'no route' }

describe('a spawn', () => {
  test('reserves at the best candidate, then starts there, under epoch 1', async () => {
    const { placement, calls, decisions } = meshOf({
      A: { 'agent.reserve': [placed], 'agent.spawn': [running('A')] },
      B: {},
    })
    expect(await placement.spawn({})).toMatchObject({ hostName: 'A' })
    expect(calls).toEqual(['A agent.reserve 1', 'A agent.spawn 1'])
    expect(decisions.recent(1)[0]).toMatchObject({
      pick: peerOf('A'),
      attempts: [{ node: 'A', epoch: 1, outcome: 'placed' }],
    })
  })

  test('goes on to the next candidate when the first refuses, with the same epoch', async () => {
    const { placement, calls, decisions } = meshOf({
      A: { 'agent.reserve': [refused('AT_CAPACITY')] },
      B: { 'agent.reserve': [placed], 'agent.spawn': [running('B')] },
    })
    expect(await placement.spawn({})).toMatchObject({ hostName: 'B', epoch: 1 })
    expect(calls).toEqual(['A agent.reserve 1', 'B agent.reserve 1', 'B agent.spawn 1'])
    expect(decisions.recent(1)[0]!.attempts).toMatchObject([
      { outcome: 'refused', error: expect.stringContaining('AT_CAPACITY') },
      { outcome: 'placed' },
    ])
  })

  test('asks a full node how it is now before it refuses', async () => {
    const { placement, calls } = meshOf(
      { A: { 'agent.reserve': [placed], 'agent.spawn': [running('A')] } },
      { full: ['A'], fresh: { A: 3 } },
    )
    expect(await placement.spawn({})).toMatchObject({ hostName: 'A' })
    expect(calls[0]).toBe('A refresh')
  })

  test('is refused with the reason of each candidate when all are full, after asking each once', async () => {
    const { placement, calls } = meshOf({ A: {}, B: {} }, { full: ['A', 'B'] })
    const error = await placement.spawn({}).catch((thrown: unknown) => thrown as GodelError)
    expect(error).toMatchObject({ code: 'NO_CANDIDATE' })
    const { considered } = (error as GodelError).detail as Extract<ErrorDetail, { code: 'NO_CANDIDATE' }>
    expect(considered.map(({ node }) => node).toSorted()).toEqual(['A', 'B'])
    for (const { reasons } of considered) expect(reasons.join()).toMatch(/full|busy/)
    expect(calls.toSorted()).toEqual(['A refresh', 'B refresh'])
  })

  test('whose answer is lost finds the same agent at the target', async () => {
    const { placement, calls, published } = meshOf({
      A: { 'agent.reserve': [placed], 'agent.spawn': [lost], 'agent.status': [{ agent: running('A') }] },
      B: {},
    })
    expect(await placement.spawn({})).toMatchObject({ hostName: 'A', epoch: 1 })
    expect(calls.at(-1)).toBe('A agent.status')
    expect(published).toEqual([])
  })

  test('whose answer is lost at a silent target raises the epoch at the homes before it starts elsewhere', async () => {
    const { placement, calls, clock, published, decisions } = meshOf({
      A: { 'agent.reserve': [placed], 'agent.spawn': [lost], 'agent.status': [silent] },
      B: { 'agent.reserve': [placed], 'agent.spawn': [running('B', 2)] },
    })
    const spawned = placement.spawn({})
    for (let step = 0; step < 40; step++) await clock.advance(limits.spawnPollMs)
    expect(await spawned).toMatchObject({ hostName: 'B', epoch: 2 })
    expect(calls.slice(-2)).toEqual(['B agent.reserve 2', 'B agent.spawn 2'])
    expect(published).toEqual([2])
    expect(decisions.recent(1)[0]!.attempts).toMatchObject([
      { outcome: 'unknown', epoch: 1 },
      { outcome: 'placed', epoch: 2 },
    ])
  })

  test('does not wait for a silent target that the realm holds for dead', async () => {
    const { placement, calls } = meshOf(
      {
        A: { 'agent.reserve': [placed], 'agent.spawn': [lost], 'agent.status': [silent] },
        B: { 'agent.reserve': [placed], 'agent.spawn': [running('B', 2)] },
      },
      { down: ['A'] },
    )
    expect(await placement.spawn({})).toMatchObject({ hostName: 'B', epoch: 2 })
    expect(calls.filter((call) => call === 'A agent.status')).toHaveLength(1)
  })

  test.each(['INTERNAL', 'STORE_FAILED'] as const)('takes %s for a lost answer, since a copy may run', async (code) => {
    const failure = { code, path: 'store', reason: 'it broke' } as ErrorDetail
    const { placement, published } = meshOf({
      A: { 'agent.reserve': [placed], 'agent.spawn': [failure], 'agent.status': [{}] },
      B: { 'agent.reserve': [placed], 'agent.spawn': [running('B', 2)] },
    })
    expect(await placement.spawn({})).toMatchObject({ hostName: 'B', epoch: 2 })
    expect(published).toEqual([2])
  })

  test('whose target failed to start it goes on under the next epoch', async () => {
    const failed = { ...running('A'), status: 'failed' }
    const { placement } = meshOf({
      A: { 'agent.reserve': [placed], 'agent.spawn': [lost], 'agent.status': [{ agent: failed }] },
      B: { 'agent.reserve': [placed], 'agent.spawn': [running('B', 2)] },
    })
    expect(await placement.spawn({})).toMatchObject({ hostName: 'B', epoch: 2, status: 'idle' })
  })

  test('that somebody ended while its answer was lost is not started elsewhere', async () => {
    const ended = { ...running('A'), status: 'stopped' }
    const { placement, calls } = meshOf({
      A: { 'agent.reserve': [placed], 'agent.spawn': [lost], 'agent.status': [{ agent: ended }] },
      B: {},
    })
    await expect(placement.spawn({})).rejects.toMatchObject({ code: 'AGENT_NOT_RUNNING' })
    expect(calls.some((call) => call.startsWith('B'))).toBe(false)
  })

  test('gives each target that the homes were told of an epoch of its own', async () => {
    const full: ErrorDetail = { code: 'RESERVATION_EXPIRED', reservation: 'rs_1' }
    const { placement, published } = meshOf({
      A: { 'agent.reserve': [placed], 'agent.spawn': [lost], 'agent.status': [{}] },
      B: { 'agent.reserve': [placed], 'agent.spawn': [full] },
      C: { 'agent.reserve': [placed], 'agent.spawn': [running('C', 3)] },
    })
    expect(await placement.spawn({})).toMatchObject({ hostName: 'C', epoch: 3 })
    expect(published).toEqual([2, 3])
  })

  test('that nobody else can take is in doubt when the answer was lost and the target is silent', async () => {
    const { placement, clock } = meshOf({
      A: { 'agent.reserve': [placed], 'agent.spawn': [lost], 'agent.status': [silent] },
    })
    const outcome = placement.spawn({}).catch((error: unknown) => error)
    for (let step = 0; step < 40; step++) await clock.advance(limits.spawnPollMs)
    expect(await outcome).toMatchObject({ detail: { code: 'SPAWN_IN_DOUBT', node: 'A' } })
  })

  test.each(['WORKSPACE_FAILED', 'FORBIDDEN'] as const)(
    'is not tried elsewhere after %s, gives its slot back, and is on record as not placed',
    async (code) => {
      const detail = { code, action: 'it', reason: 'the repository is gone' } as ErrorDetail
      const { placement, calls, decisions } = meshOf({
        A: { 'agent.reserve': [placed], 'agent.spawn': [detail] },
        B: {},
      })
      await expect(placement.spawn({})).rejects.toMatchObject({ code })
      expect(calls).toEqual(['A agent.reserve 1', 'A agent.spawn 1', 'A agent.release'])
      expect(decisions.recent(1)[0]).toMatchObject({ pick: null, attempts: [{ node: 'A', outcome: 'refused' }] })
    },
  )

  test('takes in what the target says of itself once it counts the slot, and counts it twice no more', async () => {
    const { placement, accepted, candidates } = meshOf({
      A: { 'agent.reserve': [placed], 'agent.spawn': [running('A')] },
    })
    await placement.spawn({})
    expect(accepted).toEqual([placed.advertisement])
    expect(candidates.inFlight(peerOf('A'))).toBe(0)
  })

  test('gives up after a bounded number of attempts', async () => {
    const letters = 'ABCDEFGHJKLMNP'.split('')
    const { placement, calls } = meshOf(
      Object.fromEntries(letters.map((letter) => [letter, { 'agent.reserve': [silent] }])),
    )
    await expect(placement.spawn({})).rejects.toMatchObject({ code: 'NO_CANDIDATE' })
    expect(calls).toHaveLength(limits.placementAttemptsMax)
  })
})

describe('a spawn of an id that was used', () => {
  test('twice at the same moment is one spawn', async () => {
    const { placement, calls } = meshOf({ A: { 'agent.reserve': [placed], 'agent.spawn': [running('A')] } })
    const both = await Promise.all([placement.spawn({ id: ID }), placement.spawn({ id: ID })])
    expect(both[0]).toEqual(both[1])
    expect(calls).toHaveLength(2)
  })

  test('gives the agent that is there, without placing anything', async () => {
    const { placement, calls } = meshOf({ A: {} }, { known: running('A') })
    expect(await placement.spawn({ id: ID })).toEqual(running('A'))
    expect(calls).toEqual([])
  })

  test('and has ended is a conflict', async () => {
    const { placement } = meshOf({ A: {} }, { known: { ...running('A'), status: 'stopped' } })
    await expect(placement.spawn({ id: ID })).rejects.toMatchObject({ code: 'CONFLICT' })
  })

  test.each([
    ['that failed there', 'failed', undefined],
    ['of which the target never heard, since its caller died', 'starting', {}],
  ] as const)('%s starts anew under the next epoch', async (_what, status, said) => {
    const { placement } = meshOf(
      {
        A: { 'agent.status': [said] },
        B: { 'agent.reserve': [placed], 'agent.spawn': [running('B', 3)] },
      },
      { known: { ...running('A', 2), status }, full: ['A'] },
    )
    expect(await placement.spawn({ id: ID })).toMatchObject({ hostName: 'B', epoch: 3 })
  })

  test('and whose host is lost starts anew under the next epoch, which the homes hear first', async () => {
    const { placement, calls, published } = meshOf(
      { B: { 'agent.reserve': [placed], 'agent.spawn': [running('B', 2)] } },
      { known: { ...running('A'), status: 'lost' } },
    )
    expect(await placement.spawn({ id: ID })).toMatchObject({ hostName: 'B', epoch: 2 })
    expect(published).toEqual([2])
    expect(calls).toEqual(['B agent.reserve 2', 'B agent.spawn 2'])
  })
})
