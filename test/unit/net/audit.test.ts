/** What net puts down for the operator: calls and transfers that were not allowed, and nothing else. */
import { Type } from 'typebox'
import { afterEach, describe, expect, it } from 'vitest'
import type { AuditEntry } from '../../../src/base/audit.ts'
import { GodelError } from '../../../src/base/errors.ts'
import { limits } from '../../../src/base/limits.ts'
import { silentLog } from '../../../src/base/log.ts'
import { silentMeter } from '../../../src/base/meter.ts'
import { createRefusals } from '../../../src/base/refusals.ts'
import { createNodeKey } from '../../../src/identity/node-key.ts'
import { bind, unary } from '../../../src/net/method.ts'
import { startNet, type Net } from '../../../src/net/net.ts'
import { clock, connect, createTestNets } from './nets.ts'

const nets = createTestNets()
const audited: Net[] = []
afterEach(async () => {
  await Promise.all(audited.splice(0).map((net) => net.close()))
  await nets.close()
})

const pair = async () => {
  const entries: AuditEntry[] = []
  const audit = { record: (entry: AuditEntry) => void entries.push(entry) }
  const listen = ['/ip4/127.0.0.1/tcp/0']
  const host = await startNet(
    { key: createNodeKey(), limits, clock, log: silentLog, meter: silentMeter, audit },
    { listen },
  )
  audited.push(host)
  const caller = await nets.start()
  await connect(caller, host)
  return { host, caller, entries }
}
const shape = { request: Type.Object({}), response: Type.Object({}) }
const forAdmins = unary({ name: 'test.admins', access: 'admin', ...shape })
const forMembers = unary({ name: 'test.members', ...shape })
const codeOf = (answer: Promise<unknown>) =>
  answer.then(
    () => 'done',
    (error: GodelError) => error.code,
  )

describe('on the audit log', () => {
  it('are calls of strangers and of roles that do not reach, with who called what', async () => {
    const { host, caller, entries } = await pair()
    host.rpc.register([bind(forAdmins, () => ({})), bind(forMembers, () => ({}))])
    expect(await codeOf(caller.rpc.call(host.peer, forMembers, {}))).toBe('NOT_A_MEMBER')
    host.admit(caller.peer, { kind: 'member', role: 'member' })
    expect(await codeOf(caller.rpc.call(host.peer, forMembers, {}))).toBe('done')
    expect(await codeOf(caller.rpc.call(host.peer, forAdmins, {}))).toBe('FORBIDDEN')
    expect(entries).toEqual([
      {
        action: 'call test.members',
        by: caller.peer,
        outcome: 'refused',
        reason: expect.stringMatching(/^NOT_A_MEMBER: /),
      },
      {
        action: 'call test.admins',
        by: caller.peer,
        outcome: 'refused',
        reason: expect.stringMatching(/^FORBIDDEN: /),
      },
    ])
  })

  it('is what a handler forbids, and not what merely fails in it', async () => {
    const { host, caller, entries } = await pair()
    host.admit(caller.peer, { kind: 'member', role: 'member' })
    const throwing = { now: new GodelError({ code: 'AGENT_NOT_FOUND', agent: 'ag_1' }) }
    const row = bind(forMembers, () => {
      throw throwing.now
    })
    host.rpc.register([row])
    expect(await codeOf(caller.rpc.call(host.peer, forMembers, {}))).toBe('AGENT_NOT_FOUND')
    expect(entries).toEqual([])
    throwing.now = new GodelError({ code: 'FORBIDDEN', action: 'killing it', reason: 'it is not yours' })
    expect(await codeOf(caller.rpc.call(host.peer, forMembers, {}))).toBe('FORBIDDEN')
    expect(entries).toMatchObject([{ action: 'call test.members', by: caller.peer }])
  })

  it('are transfers that are not allowed', async () => {
    const { host, caller, entries } = await pair()
    host.bulk.handle('files', async () => ({}), { access: 'admin' })
    host.admit(caller.peer, { kind: 'member', role: 'observer' })
    const sent = caller.bulk.send(host.peer, 'files', {}, (async function* () {})())
    expect(await codeOf(sent)).toBe('FORBIDDEN')
    expect(entries).toMatchObject([{ action: 'bulk files', by: caller.peer, outcome: 'refused' }])
  })

  it('is every refusal of a connection or a join, each time, while the log has it once', () => {
    const entries: AuditEntry[] = []
    const logged: string[] = []
    const log = { ...silentLog, warn: (message: string) => void logged.push(message) }
    const audit = { record: (entry: AuditEntry) => void entries.push(entry) }
    const refusals = createRefusals({ log, meter: silentMeter, limits, audit }, { metric: 'refusals' })
    const error = new GodelError({ code: 'TOKEN_USED_UP', uses: 1 })
    for (let n = 0; n < 3; n++) refusals.note('refused a join', 'mallory', error)
    expect(logged).toHaveLength(1)
    expect(entries).toHaveLength(3)
    expect(entries[0]).toEqual({
      action: 'a join',
      by: 'mallory',
      outcome: 'refused',
      reason: expect.stringMatching(/^TOKEN_USED_UP: /),
    })
  })
})
