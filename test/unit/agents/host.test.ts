/** The agents of one node, on a real store and real directories; the homes and the owner's grant are scripted. */
import { mkdir, mkdtemp, readdir, readFile, rm, writeFile } from 'node:fs/promises'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { afterEach, beforeEach, describe, expect, test } from 'vitest'
import type { NodeTraits } from '../../../src/base/advertisement.ts'
import type { AgentSpec } from '../../../src/base/agent.ts'
import { GodelError } from '../../../src/base/errors.ts'
import { limits } from '../../../src/base/limits.ts'
import { silentLog } from '../../../src/base/log.ts'
import { createAdmission } from '../../../src/agents/admission.ts'
import { openHost, type Host } from '../../../src/agents/host.ts'
import { createSandbox } from '../../../src/agents/sandbox.ts'
import type { Watchdog } from '../../../src/agents/watchdog.ts'
import { createWorkspaces } from '../../../src/agents/workspaces.ts'
import { openMemoryStore } from '../../../src/store/memory.ts'
import type { Store } from '../../../src/store/store.ts'
import { createFakeClock, type FakeClock } from '../../fakes/clock.ts'
import { ID, REALM, specWith } from '../../support/agents.ts'
import { waitFor } from '../../support/wait.ts'

const SELF = `12D3KooW${'A'.repeat(44)}`
const OWNER = `12D3KooW${'B'.repeat(44)}`
const traits: NodeTraits = {
  name: 'box',
  labels: {},
  capabilities: [],
  runtimes: [{ kind: 'process', version: '1' }],
  gpu: { count: 0, types: [] },
  cost: {},
  isolation: 'none',
  acceptUnsandboxed: true,
  shareable: false,
  shareFraction: 0,
}
const noSignal = new AbortController().signal

let dataDir: string
let store: Store
let clock: FakeClock
let published: { epoch: number; status: string }[]
let currentEpoch: number
let delayed: Promise<void> | undefined
let granted: { owner: string; epoch: number } | undefined

beforeEach(async () => {
  dataDir = await mkdtemp(join(tmpdir(), 'godel-host-'))
  store = openMemoryStore()
  clock = createFakeClock()
  published = []
  currentEpoch = 0
  granted = undefined
  delayed = undefined
})
afterEach(() => rm(dataDir, { recursive: true, force: true }))

const watchdog = {
  marks: () => ({}),
  started() {},
  ended() {},
  endExec: async () => {},
  endAgent: async () => {},
} as unknown as Watchdog

const open = async (slots = 2, realm = REALM) => {
  const admission = createAdmission({ clock, limits, peer: SELF, traits, onChange: () => {} }, { slots })
  const workspaces = createWorkspaces(
    { clock, log: silentLog, limits, sandbox: createSandbox('none'), watchdog },
    { dataDir },
  )
  const host = await openHost({
    peer: SELF,
    realm,
    store,
    clock,
    log: silentLog,
    limits,
    admission,
    workspaces,
    watchdog,
    runExec: async function* () {},
    traits,
    isolation: 'none',
    publish: async ({ agent }) => {
      await delayed
      if (agent.epoch < currentEpoch)
        throw new GodelError({ code: 'STALE_EPOCH', agent: agent.id, epoch: agent.epoch, current: currentEpoch })
      published.push({ epoch: agent.epoch, status: agent.status })
      return 3
    },
    openGrant: async (grant) => ({
      owner: granted?.owner ?? OWNER,
      agent: ID,
      epoch: granted?.epoch ?? grant[0]!,
      host: SELF,
    }),
  })
  return { host, admission }
}
type Opened = Awaited<ReturnType<typeof open>>

const start = ({ host, admission }: Opened, { epoch = 1, ...fields }: Partial<AgentSpec> & { epoch?: number } = {}) => {
  const spec = specWith({ owner: OWNER, ...fields })
  const from = spec.owner
  const reservation = host.get(spec.id) ? 'held' : admission.reserve(spec, epoch, from).id
  return host.start({ spec, epoch, grant: Uint8Array.of(epoch), reservation, staged: false, from })
}
const workspaceFiles = (host: Host) => readdir(join(dataDir, 'agents')).then((names) => host && names)

describe('an agent that was started', () => {
  test('is durable, told to its homes, and holds one slot', async () => {
    const opened = await open()
    expect(await start(opened)).toMatchObject({
      id: ID,
      status: 'idle',
      host: SELF,
      hostName: 'box',
      owner: OWNER,
      epoch: 1,
    })
    expect(published).toEqual([{ epoch: 1, status: 'idle' }])
    expect(opened.admission.capacity().running).toBe(1)
    expect(store.get('agents', ID)).toBeDefined()
  })

  test('is the same when the start is repeated, and takes no second slot', async () => {
    const opened = await open()
    const first = await start(opened)
    expect(await start(opened)).toEqual(first)
    expect(opened.admission.capacity().running).toBe(1)
  })

  test('keeps its files under a raised epoch', async () => {
    const opened = await open()
    await start(opened)
    await writeFile(join(dataDir, 'agents', ID, 'workspace', 'kept'), 'yes')
    expect(await start(opened, { epoch: 3 })).toMatchObject({ epoch: 3, status: 'idle' })
    expect(await readFile(join(dataDir, 'agents', ID, 'workspace', 'kept'), 'utf8')).toBe('yes')
    await expect(start(opened, { epoch: 2 })).rejects.toMatchObject({ detail: { code: 'STALE_EPOCH', current: 3 } })
  })

  test('is there after a restart with its slot; one that had no files yet is failed', async () => {
    await start(await open())
    const again = await open()
    expect(again.host.get(ID)).toMatchObject({ status: 'idle', epoch: 1 })
    expect(again.admission.capacity().running).toBe(1)

    const { encode, decode } = await import('../../../src/base/codec.ts')
    const entry = decode(store.get('agents', ID)!) as { agent: { status: string } }
    entry.agent.status = 'starting'
    await store.commit([{ space: 'agents', key: ID, value: encode(entry) }])
    const third = await open()
    expect(third.host.get(ID)).toMatchObject({ status: 'failed', reason: expect.stringContaining('before its files') })
    expect(third.admission.capacity().running).toBe(0)
  })

  test('comes along into the realm that its node has joined since, if that node spawned it', async () => {
    granted = { owner: SELF, epoch: 1 }
    await start(await open(), { owner: SELF })
    expect((await open(2, 'ef'.repeat(32))).host.get(ID)).toMatchObject({ status: 'idle', realm: 'ef'.repeat(32) })
  })

  test('stays of the realm of its owner, whatever realm its host has joined since', async () => {
    await start(await open())
    expect((await open(2, 'ef'.repeat(32))).host.get(ID)).toMatchObject({ status: 'idle', realm: REALM })
  })

  test('ends by itself at its timeout, also when the node was restarted meanwhile', async () => {
    await start(await open(), { timeoutSeconds: 60 })
    await clock.advance(30_000)
    const { host, admission } = await open()
    await clock.advance(30_000)
    await waitFor('it has ended', () => host.get(ID)!.status === 'stopped')
    expect(host.get(ID)).toMatchObject({ reason: expect.stringContaining('timeout') })
    expect(admission.capacity().running).toBe(0)
  })

  test('of thirty days lives that long, though no timer does', async () => {
    const { host } = await (async () => {
      const opened = await open()
      await start(opened, { timeoutSeconds: 30 * 24 * 60 * 60 })
      return opened
    })()
    for (let day = 0; day < 29; day++) await clock.advance(24 * 60 * 60_000)
    expect(host.get(ID)!.status).toBe('idle')
    await clock.advance(24 * 60 * 60_000)
    await waitFor('it has ended', () => host.get(ID)!.status === 'stopped')
  })

  test('stops when its homes know a higher epoch', async () => {
    const { host, admission } = await (async () => {
      const opened = await open()
      await start(opened)
      return opened
    })()
    currentEpoch = 2
    await host.publishAll()
    expect(host.get(ID)).toMatchObject({ status: 'stopped', reason: 'superseded by epoch 2' })
    expect(admission.capacity().running).toBe(0)
  })
})

describe('an agent that ended here without anybody wanting it to end', () => {
  const startAnew = ({ host, admission }: Opened, epoch: number) => {
    const spec = specWith({ owner: OWNER })
    const reservation = admission.reserve(spec, epoch, OWNER).id
    return host.start({ spec, epoch, grant: Uint8Array.of(epoch), reservation, staged: false, from: OWNER })
  }

  test('comes back under a higher epoch after it was superseded', async () => {
    const opened = await open()
    await start(opened)
    currentEpoch = 2
    await opened.host.publishAll()
    const again = await open()
    await expect(startAnew(again, 1)).rejects.toMatchObject({ code: 'CONFLICT' })
    expect(await startAnew(again, 3)).toMatchObject({ status: 'idle', epoch: 3 })
    expect(again.admission.capacity().running).toBe(1)
  })

  test('does not come back under any epoch once it was killed', async () => {
    const opened = await open()
    await start(opened)
    await opened.host.kill(ID, { purge: false })
    await expect(startAnew(opened, 9)).rejects.toMatchObject({ code: 'CONFLICT' })
  })

  test('and whose files were half made leaves none of them to the next start of the node', async () => {
    const half = join(dataDir, 'agents', `.new-${ID}.0192`)
    await mkdir(half, { recursive: true })
    const opened = await open()
    await start(opened)
    expect(await workspaceFiles(opened.host)).toEqual([ID])
  })
})

test('a copy whose epoch was raised is not ended by what the homes say of its former one', async () => {
  const opened = await open()
  await start(opened)
  const told = Promise.withResolvers<void>()
  delayed = told.promise
  currentEpoch = 2
  const telling = opened.host.publishAll()
  delayed = undefined
  await start(opened, { epoch: 2 })
  told.resolve()
  await telling
  expect(opened.host.get(ID)).toMatchObject({ status: 'idle', epoch: 2 })
})

test('a kill that follows a start at once ends what was started', async () => {
  const opened = await open()
  const [started, killed] = await Promise.allSettled([start(opened), opened.host.kill(ID, { purge: true })])
  expect(killed).toMatchObject({ value: { status: 'stopped' } })
  expect(started).toMatchObject({ reason: { code: 'AGENT_NOT_RUNNING' } })
  expect(opened.admission.capacity().running).toBe(0)
  expect(await workspaceFiles(opened.host)).toEqual([])
})

describe('an agent that was killed', () => {
  test('gives its slot back, keeps its files for a while, and its id stays used', async () => {
    const opened = await open()
    await start(opened)
    expect(await opened.host.kill(ID, { purge: false })).toMatchObject({ status: 'stopped', reason: 'killed' })
    expect(opened.admission.capacity().running).toBe(0)
    expect(await workspaceFiles(opened.host)).toContain(ID)
    await expect(start(opened)).rejects.toMatchObject({ code: 'CONFLICT' })
    expect(() => opened.host.exec(ID, { command: 'true' }, undefined, noSignal)).toThrow(
      expect.objectContaining({ code: 'AGENT_NOT_FOUND' }),
    )

    await clock.advance(limits.killedWorkspaceMs + 1)
    await opened.host.sweep()
    expect(await workspaceFiles(opened.host)).not.toContain(ID)
    expect(opened.host.get(ID)).toBeUndefined()
    expect(store.get('agents', ID)).toBeUndefined()
  })

  test('with purge leaves no files', async () => {
    const opened = await open()
    await start(opened)
    await opened.host.kill(ID, { purge: true })
    expect(await workspaceFiles(opened.host)).not.toContain(ID)
  })
})

describe('a start that is refused', () => {
  test.each([
    ['without a reservation', { reservation: 'rs_none' }, undefined, 'RESERVATION_EXPIRED'],
    ['with a grant of somebody else', {}, { owner: SELF, epoch: 1 }, 'FORBIDDEN'],
    ['with a grant for another epoch', {}, { owner: OWNER, epoch: 2 }, 'FORBIDDEN'],
    ['from a git URL that names a local file', { git: 'file:///etc' }, undefined, 'WORKSPACE_FAILED'],
  ] as const)('%s leaves nothing behind', async (_what, fields, grant, code) => {
    const opened = await open()
    granted = grant
    const { git, reservation } = { git: undefined, reservation: undefined, ...fields }
    const spec = specWith({ owner: OWNER, ...(git !== undefined && { git }) })
    const held = opened.admission.reserve(spec, 1, OWNER)
    const order = {
      spec,
      epoch: 1,
      grant: Uint8Array.of(1),
      reservation: reservation ?? held.id,
      staged: false,
      from: OWNER,
    }
    await expect(opened.host.start(order)).rejects.toMatchObject({ code })
    opened.admission.release(ID)
    expect(opened.admission.capacity().running).toBe(0)
    expect(opened.host.list()).toEqual([])
    expect(store.get('agents', ID)).toBeUndefined()
    await opened.host.sweep()
    expect(await readdir(join(dataDir, 'agents')).catch(() => [])).toEqual([])
  })
})

test('files that were sent ahead are used, and removed if nobody starts', async () => {
  const opened = await open()
  const { create } = await import('tar')
  const source = await mkdtemp(join(dataDir, 'source-'))
  await writeFile(join(source, 'hello'), 'there')
  const tar = () => create({ cwd: source }, ['.']) as unknown as AsyncIterable<Uint8Array>
  const spec = specWith({ owner: OWNER })
  const first = opened.admission.reserve(spec, 1, OWNER)
  await opened.host.stage(first.id, OWNER, tar(), noSignal)
  await clock.advance(limits.reservationMs)
  await opened.host.sweep()
  expect(await readdir(join(dataDir, 'agents'))).toEqual([])

  const second = opened.admission.reserve(spec, 1, OWNER)
  await opened.host.stage(second.id, OWNER, tar(), noSignal)
  await opened.host.start({
    spec,
    epoch: 1,
    grant: Uint8Array.of(1),
    reservation: second.id,
    staged: true,
    from: OWNER,
  })
  expect(await readFile(join(dataDir, 'agents', ID, 'workspace', 'hello'), 'utf8')).toBe('there')
})
