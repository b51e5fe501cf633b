/** Standing, access and guests: what the table of methods, purposes and topics promises, on real connections. */
import { Type } from 'typebox'
import { afterEach, describe, expect, it } from 'vitest'
import type { Access, GuestStanding, Scope, Standing } from '../../../src/base/standing.ts'
import { bind, unary } from '../../../src/net/method.ts'
import type { Net } from '../../../src/net/net.ts'
import { connect, createTestNets, until } from './nets.ts'

const nets = createTestNets()
afterEach(() => nets.close())

const guest = (...scopes: Scope[]): GuestStanding => ({
  kind: 'guest',
  by: 'realm',
  realm: 'r',
  scopes,
  agentsPerNode: 1,
})
const member = (role: 'admin' | 'member' | 'observer'): Standing => ({ kind: 'member', role })

interface Row {
  access: Access
  guests?: Scope | 'any'
}
const rows: Record<string, Row> = {
  anyone: { access: 'anyone' },
  observer: { access: 'observer' },
  member: { access: 'member' },
  admin: { access: 'admin' },
  memberOrExec: { access: 'member', guests: 'exec' },
  adminOrAny: { access: 'admin', guests: 'any' },
}
/** Who may call which: `y` yes, `f` FORBIDDEN, `n` NOT_A_MEMBER, in the order of the rows. */
const table: [string, Standing | undefined, string][] = [
  ['a stranger', undefined, 'ynnnnn'],
  ['an observer', member('observer'), 'yyffff'],
  ['a member', member('member'), 'yyyfyf'],
  ['an admin', member('admin'), 'yyyyyy'],
  ['a guest without a scope', guest(), 'yffffy'],
  ['a guest that may exec', guest('exec'), 'yfffyy'],
  ['a guest that hears of capacity', guest('capacity', 'migrate'), 'yffffy'],
]
const letter = (code: unknown) => (code === 'FORBIDDEN' ? 'f' : code === 'NOT_A_MEMBER' ? 'n' : `? ${String(code)}`)

const pairWith = async (standing: Standing | undefined): Promise<[Net, Net]> => {
  const [caller, callee] = [await nets.start(), await nets.start({ admissionTimeoutMs: 60_000 })]
  await connect(caller, callee)
  caller.admit(callee.peer, member('admin'))
  if (standing) callee.admit(caller.peer, standing)
  return [caller, callee]
}

describe('a method', () => {
  it.each(table)('of each kind is answered or refused to %s as the table says', async (_who, standing, expected) => {
    const [caller, callee] = await pairWith(standing)
    let said = ''
    for (const [name, row] of Object.entries(rows)) {
      const method = unary({ name, ...row, request: Type.Object({}), response: Type.Object({}) })
      callee.rpc.register([bind(method, () => ({}))])
      said += await caller.rpc.call(callee.peer, method, {}).then(
        () => 'y',
        (error: { code?: string }) => letter(error.code),
      )
    }
    expect(said).toBe(expected)
  })

  it('is refused from the moment on in which the standing is another', async () => {
    const [caller, callee] = await pairWith(member('admin'))
    const method = unary({ name: 'rule', access: 'admin', request: Type.Object({}), response: Type.Object({}) })
    callee.rpc.register([bind(method, () => ({}))])
    await caller.rpc.call(callee.peer, method, {})
    callee.admit(caller.peer, guest('exec'))
    await expect(caller.rpc.call(callee.peer, method, {})).rejects.toMatchObject({ code: 'FORBIDDEN' })
  })
})

describe('a bulk purpose', () => {
  it.each(table)('of each kind is taken from or refused to %s as the table says', async (_who, standing, expected) => {
    const [caller, callee] = await pairWith(standing)
    let said = ''
    for (const [name, row] of Object.entries(rows)) {
      callee.bulk.handle(
        name,
        async (_peer, _header, source) => {
          for await (const _ of source);
        },
        row,
      )
      const nothing = async function* () {}
      said += await caller.bulk.send(callee.peer, name, {}, nothing()).then(
        () => 'y',
        (error: { code?: string }) => letter(error.code),
      )
    }
    // Strangers open no bulk streams at all, whatever the purpose.
    if (standing === undefined) expect(said).not.toContain('y')
    else expect(said.slice(1)).toBe(expected.slice(1))
  })
})

describe('a guest', () => {
  const heard = (net: Net, topic: string, guests?: () => boolean): string[] => {
    const seen: string[] = []
    net.pubsub.subscribe(topic, (bytes) => (seen.push(Buffer.from(bytes).toString()), 'accept'), guests)
    return seen
  }

  it('hears and is heard on a topic that takes guests, and not on one of members, until it is withdrawn', async () => {
    const [outside, inside] = await pairWith(guest('capacity'))
    const other = await nets.start()
    await connect(other, inside)
    other.admit(inside.peer, member('admin'))
    inside.admit(other.peer, member('admin'))
    const shared = [heard(outside, 'share'), heard(inside, 'share', () => true), heard(other, 'share', () => true)]
    const closed = [heard(outside, 'members'), heard(inside, 'members'), heard(other, 'members')]
    let n = 0
    const say = () => {
      for (const [who, net] of [
        ['outside', outside],
        ['inside', inside],
      ] as const) {
        void net.pubsub.publish('share', Buffer.from(`${who} ${n}`))
        void net.pubsub.publish('members', Buffer.from(`${who} ${n++}`))
      }
    }
    const has = (seen: string[] | undefined, who: string) => seen?.some((each) => each.startsWith(who)) === true
    await until(() => (say(), has(shared[0], 'inside') && has(shared[1], 'outside') && has(shared[2], 'outside')))
    await until(() => (say(), has(closed[2], 'inside')))
    expect(closed[0]).toEqual([])
    expect([closed[1], closed[2]].some((seen) => has(seen, 'outside'))).toBe(false)

    inside.expel(outside.peer)
    await until(() => !inside.isConnected(outside.peer))
    const before = shared[0]!.length
    for (let round = 0; round < 10; round++) {
      say()
      await inside.pubsub.publish('share', Buffer.from(`late ${round}`))
    }
    await until(() => (say(), shared[2]!.includes('late 9')))
    expect(shared[0]!.slice(before).filter((each) => each.startsWith('late'))).toEqual([])
  })
})
