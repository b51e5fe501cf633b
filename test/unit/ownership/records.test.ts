import { beforeAll, describe, expect, test } from 'vitest'
import type { AgentRecord } from '../../../src/base/agent.ts'
import { encode } from '../../../src/base/codec.ts'
import { openGrant, openRecord, sealGrant, sealRecord, supersedes } from '../../../src/ownership/records.ts'
import { openShelf } from '../../../src/ownership/shelf.ts'
import { openMemoryStore } from '../../../src/store/memory.ts'
import { limits } from '../../../src/base/limits.ts'
import { silentLog } from '../../../src/base/log.ts'
import { createFakeClock } from '../../fakes/clock.ts'
import { agentWith, ID } from '../../support/agents.ts'
import { createSealer, type TestSealer } from '../../support/sealers.ts'

let owner: TestSealer
let host: TestSealer
let other: TestSealer
beforeAll(async () => {
  ;[owner, host, other] = await Promise.all([createSealer(), createSealer(), createSealer()])
})

const recordOf = (fields: { epoch?: number; version?: number; host?: string; owner?: string } = {}): AgentRecord => {
  const { epoch = 1, version = 1, host: at = host.peer, owner: by = owner.peer } = fields
  return { agent: agentWith({ host: at, owner: by, epoch }), version, mode: 'pinned' }
}
const sealed = async (record: AgentRecord, by: TestSealer = host, granter: TestSealer = owner) =>
  sealRecord(by, record, await sealGrant(granter, record.agent.id, record.agent.epoch, record.agent.host))

describe('a record of an agent', () => {
  test('by the host that the owner named is taken, and by the owner in its place', async () => {
    expect(await openRecord(other, await sealed(recordOf()))).toEqual(recordOf())
    expect(await openRecord(other, await sealed(recordOf(), owner))).toEqual(recordOf())
  })

  test.each([
    ['signed by neither host nor owner', () => sealed(recordOf(), other)],
    ['granted by somebody else than the owner', () => sealed(recordOf(), host, other)],
    [
      'of a host that the owner did not name',
      async () => sealRecord(other, recordOf({ host: other.peer }), await sealGrant(owner, ID, 1, host.peer)),
    ],
    [
      'of an epoch that the owner did not grant',
      async () => sealRecord(host, recordOf({ epoch: 2 }), await sealGrant(owner, ID, 1, host.peer)),
    ],
    ['that names another owner than the one who granted', () => sealed(recordOf({ owner: other.peer }))],
  ])('%s is refused', async (_what, make) => {
    await expect(openRecord(owner, await make())).rejects.toMatchObject({ code: 'FORBIDDEN' })
  })

  test.each([
    [
      'a record envelope as a grant',
      async () => ({ record: (await sealed(recordOf())).record, grant: (await sealed(recordOf())).record }),
    ],
    [
      'a changed record',
      async () => {
        const good = await sealed(recordOf())
        const record = Uint8Array.from(good.record)
        record[record.length - 80]! ^= 1
        return { ...good, record }
      },
    ],
    [
      'an epoch of 2^53',
      async () => ({
        ...(await sealed(recordOf())),
        record: await host.seal('godel-agent-record', encode(recordOf({ epoch: 2 ** 53 }))),
      }),
    ],
  ])('%s does not open', async (_what, make) => {
    await expect(openRecord(owner, await make())).rejects.toMatchObject({ code: 'INVALID_MESSAGE' })
  })

  test('a grant says who gave it', async () => {
    expect(await openGrant(other, await sealGrant(owner, ID, 3, host.peer))).toEqual({
      owner: owner.peer,
      agent: ID,
      epoch: 3,
      host: host.peer,
    })
  })

  test('a higher epoch stands over any version, and one of two hosts stands in one epoch', () => {
    expect(supersedes(recordOf({ epoch: 2, version: 0 }), recordOf({ epoch: 1, version: 9 }))).toBe(true)
    expect(supersedes(recordOf({ version: 2 }), recordOf({ version: 1 }))).toBe(true)
    const [low, high] = [host.peer, other.peer].toSorted()
    expect(supersedes(recordOf({ host: high! }), recordOf({ host: low!, version: 9 }))).toBe(true)
    expect(supersedes(recordOf({ host: low!, version: 9 }), recordOf({ host: high! }))).toBe(false)
  })
})

describe('a home', () => {
  const open = async (store = openMemoryStore(), overrides = {}) => {
    const clock = createFakeClock()
    const shelf = await openShelf({ store, sealer: other, clock, log: silentLog, limits: { ...limits, ...overrides } })
    return { shelf, store, clock }
  }

  test('keeps the newest record, whatever the order of arrival, and has it after a restart', async () => {
    const records = [recordOf({ version: 1 }), recordOf({ version: 2 }), recordOf({ epoch: 2, version: 0 })]
    const { shelf, store } = await open()
    await shelf.put(await sealed(records[1]!))
    await shelf.put(await sealed(records[0]!))
    expect(shelf.get(ID)!.record).toEqual(records[1])
    await shelf.put(await sealed(records[2]!))
    expect(shelf.get(ID)!.record).toEqual(records[2])
    const again = await open(store)
    expect(again.shelf.get(ID)!.record).toEqual(records[2])
  })

  test('refuses an epoch that is over and says which is current', async () => {
    const { shelf } = await open()
    await shelf.put(await sealed(recordOf({ epoch: 5 })))
    await expect(shelf.put(await sealed(recordOf({ epoch: 4, version: 99 })))).rejects.toMatchObject({
      detail: { code: 'STALE_EPOCH', current: 5 },
    })
  })

  test('refuses to bring back under a new epoch what has ended', async () => {
    const { shelf } = await open()
    const ended = recordOf({ version: 2 })
    ended.agent.status = 'stopped'
    await shelf.put(await sealed(ended))
    await expect(shelf.put(await sealed(recordOf({ epoch: 2 })))).rejects.toMatchObject({ code: 'CONFLICT' })
    expect(shelf.get(ID)!.record).toEqual(ended)
  })

  test('refuses to hand an agent to another owner, whatever the epoch', async () => {
    const { shelf } = await open()
    await shelf.put(await sealed(recordOf()))
    const theft = recordOf({ owner: other.peer, host: other.peer, epoch: 9 })
    await expect(shelf.put(await sealed(theft, other, other))).rejects.toMatchObject({ code: 'FORBIDDEN' })
    expect(shelf.get(ID)!.record).toEqual(recordOf())
  })

  test('refuses more records than its bound, and still takes news of those it has', async () => {
    const { shelf } = await open(openMemoryStore(), { recordsMax: 1 })
    await shelf.put(await sealed(recordOf()))
    const second = recordOf()
    second.agent.id = ID.replace(/.$/, 'c')
    await expect(shelf.put(await sealed(second))).rejects.toMatchObject({ code: 'QUEUE_FULL' })
    await expect(shelf.put(await sealed(recordOf({ version: 7 })))).resolves.toMatchObject({ version: 7 })
  })

  test('forgets an ended agent after its time and keeps a live one', async () => {
    const { shelf, clock, store } = await open()
    const ended = recordOf({ version: 2 })
    ended.agent.status = 'stopped'
    ended.agent.changedAtMs = clock.wallMs()
    await shelf.put(await sealed(ended))
    await shelf.sweep()
    expect(shelf.get(ID)).toBeDefined()
    await clock.advance(limits.killedWorkspaceMs + 1)
    await shelf.sweep()
    expect(shelf.get(ID)).toBeUndefined()
    expect(store.scan('records')).toEqual([])
  })
})
