/** A whole node under attack by a member and by a stranger: every method, every protocol, every topic. */
import { randomBytes } from 'node:crypto'
import { connect as connectTcp } from 'node:net'
import fc from 'fast-check'
import { afterAll, beforeAll, beforeEach, afterEach, describe, expect, test, vi } from 'vitest'
import { agentList } from '../../src/agents/methods.ts'
import { encode } from '../../src/base/codec.ts'
import { mintId } from '../../src/base/ids.ts'
import { limits } from '../../src/base/limits.ts'
import { topicOf } from '../../src/mesh/gossip.ts'
import { nodeHeartbeat } from '../../src/mesh/methods.ts'
import { bulkEnd, bulkFrame } from '../../src/net/bulk-frame.ts'
import { Kind } from '../../src/net/frame.ts'
import type { BoundMethod } from '../../src/net/method.ts'
import type { Net } from '../../src/net/net.ts'
import { sealGrant } from '../../src/ownership/records.ts'
import { amendRealm, foundRealm, verifyChain } from '../../src/identity/realm-document.ts'
import { signRevocation } from '../../src/identity/revocation.ts'
import { overtakenAd, requestsOf, seed, storm } from '../support/attacks.ts'
import { forgeries } from '../support/forgeries.ts'
import { garbageFor, nearly, pack } from '../support/garbage.ts'
import { frame, gossipRpc, join, present, startRawPeer, type Credentials, type RawPeer } from '../support/raw-peer.ts'
import { startSiege, type Siege } from '../support/siege.ts'
import { waitFor } from '../support/wait.ts'

type Method = BoundMethod['method']

/** What every net of this process answers, so that no method is forgotten here. */
const started = vi.hoisted(() => [] as { net: Net; rows: BoundMethod[] }[])
vi.mock(import('../../src/net/net.ts'), async (original) => {
  const room = await original()
  const startNet: typeof room.startNet = async (...given) => {
    const net = await room.startNet(...given)
    const rows: BoundMethod[] = []
    const register = (more: readonly BoundMethod[]) => {
      rows.push(...more)
      net.rpc.register(more)
    }
    const watched = { ...net, rpc: { ...net.rpc, register } }
    started.push({ net: watched, rows })
    return watched
  }
  return { ...room, startNet }
})

let siege: Siege
let net: Net
let methods: Method[]
let agent: string
let usedUp: string
let credentials: Credentials
let member: RawPeer
let stranger: RawPeer
let before: unknown
const faults: unknown[] = []
const onFault = (error: unknown) => void faults.push(error)

beforeAll(async () => {
  process.on('unhandledRejection', onFault)
  process.on('uncaughtExceptionMonitor', onFault)
  siege = await startSiege()
  const own = started.find((each) => each.net.peer === siege.node.peerId)!
  net = own.net
  methods = own.rows.map((row) => row.method)
  agent = (await siege.api('POST', '/v1/agents', {})).body.id
  member = await startRawPeer(siege.target)
  stranger = await startRawPeer(siege.target)
  // An admin, which gets past the checks of roles to what lies behind them.
  usedUp = await siege.invite(1, 'admin')
  credentials = await join(member, usedUp)
  before = await siege.shown()
  await member.hangUp()
})
afterAll(async () => {
  await Promise.all([member.stop(), stranger.stop()])
  await siege.stop()
})
beforeEach(() => void faults.splice(0))
afterEach(async () => {
  await Promise.all([member.hangUp(), stranger.hangUp()])
  await siege.calm(net)
  expect(await siege.shown()).toEqual(before)
  expect((await siege.api('GET', '/v1/health')).body.status).toBe('ok')
  expect(faults).toEqual([])
  const lines = await siege.log()
  expect(lines.filter((line) => line.level >= 50)).toEqual([])
  const refusals = lines.filter((line) => line.level >= 40).map(({ msg, peer, code }) => [msg, peer, code].join(' '))
  expect(refusals).toEqual([...new Set(refusals)])
  expect(lines.length).toBeLessThan(100)
})

const requests = () => requestsOf(siege, net, { raw: member, shown: credentials, agent, usedUp })
const methodOf = (name: string) => methods.find((method) => method.name === name)!

test('every method that the node registers is attacked here', async () => {
  const names = methods.map((method) => method.name)
  expect(Object.keys(await requests()).toSorted()).toEqual(names.toSorted())
})

const turned = (word: Uint8Array): Uint8Array => word.map((byte, at) => (at === word.length - 1 ? byte ^ 1 : byte))

/** A refusal that says what is wrong, and not that the node stumbled. */
const typed = ({ code }: { code: string }) => {
  expect(['INTERNAL', 'REMOTE_ERROR']).not.toContain(code)
}

describe('a member that calls every method with garbage', () => {
  test('is answered or refused with a typed error, and changes nothing', async () => {
    await present(member, credentials)
    await storm(
      { raw: member, table: await requests(), methods },
      (outcome) => {
        expect(outcome.end).not.toBe('closed')
        if (outcome.end === 'error') typed(outcome)
      },
      60,
    )
  })

  test('and sends garbage items after its requests ends its own call and nothing else', async () => {
    await present(member, credentials)
    const table: Record<string, unknown> = {
      ...(await requests()),
      'agent.exec': { agent, epoch: 1, spec: { command: 'cat', stdin: true } },
    }
    const items = fc.array(garbageFor({ data: Buffer.from('x') }, limits.execChunkBytes), {
      minLength: 1,
      maxLength: 4,
    })
    for (const name of ['agent.exec', 'agent.list', 'node.heartbeat'] as const) {
      const stream = methodOf(name).kind === 'stream'
      const send = async (some: Uint8Array[]) => {
        const outcome = await member.ask({ name, payload: encode(table[name]), stream, items: some })
        expect(outcome.end).not.toBe('closed')
        if (outcome.end === 'error') typed(outcome)
      }
      await fc.assert(fc.asyncProperty(items, send), { numRuns: name === 'agent.exec' ? 4 : 30, ...seed })
    }
    const idle = async () => (await siege.api('GET', `/v1/agents/${agent}`)).body.status === 'idle'
    await waitFor('no command is left', idle)
  })
})

describe('a stranger that calls every method with garbage', () => {
  test('is told that it is no member, and changes nothing', async () => {
    await storm(
      { raw: stranger, table: await requests(), methods },
      (outcome, method) => {
        if (method.access !== 'anyone')
          expect([{ end: 'error', code: 'NOT_A_MEMBER' }, { end: 'closed' }]).toContainEqual(outcome)
        else if (!['realm.document', 'realm.revocations'].includes(method.name)) expect(outcome.end).not.toBe('answer')
        if (outcome.end === 'error') typed(outcome)
      },
      60,
    )
  })
})

/** Bytes in place of a protocol: none of it, frames of it with anything inside, and frames that are cut or too long. */
const bytesOf: Record<string, fc.Arbitrary<Uint8Array>> = {
  '/godel/rpc/1': fc
    .tuple(fc.constantFrom(...Object.values(Kind), 0, 99, 255), fc.nat(5), fc.uint8Array({ maxLength: 300 }))
    .map(([kind, call, body]) => frame(kind, call, body)),
  '/godel/bulk/1': fc
    .tuple(fc.constantFrom<unknown>('workspace', 'nothing', 7), nearly({ reservation: 'rs_none' }), fc.uint8Array())
    .map(([purpose, header, data]) => Buffer.concat([bulkFrame(pack([purpose, header])), bulkFrame(data), bulkEnd()])),
  '/meshsub/1.2.0': fc
    .tuple(fc.constantFrom('x', '', 'x'.repeat(1_000)), fc.array(fc.uint8Array({ maxLength: 6_000 }), { maxLength: 9 }))
    .map(([topic, messages]) => gossipRpc(topic, messages)),
}
const pieces = (protocol: string) => {
  const whole = fc.oneof(bytesOf[protocol]!, fc.uint8Array({ minLength: 1, maxLength: 400 }))
  const cut = fc.tuple(whole, fc.nat(400)).map(([bytes, at]) => bytes.subarray(0, at))
  const long = fc
    .constantFrom([0x7f, 0xff, 0xff, 0xff, 1], [0xff, 0xff, 0xff, 0xff, 0x0f, 0, 0])
    .map((b) => Buffer.from(b))
  return fc.array(fc.oneof({ weight: 6, arbitrary: whole }, cut, long), { minLength: 1, maxLength: 6 })
}

describe.each([
  ['a member', () => member],
  ['a stranger', () => stranger],
])('%s that speaks no protocol right', (who, peer) => {
  beforeEach(() => (who === 'a member' ? present(member, credentials) : undefined))

  test.each(Object.keys(bytesOf))(
    'on %s loses what it has opened there, and nothing else happens',
    async (protocol) => {
      const send = async (some: Uint8Array[], how: 'close' | 'abort' | 'leave') => {
        const stream = await peer().open(protocol)
        for (const piece of some) if (stream.writeStatus === 'writable') stream.send(piece)
        if (how === 'close') await stream.close({ signal: AbortSignal.timeout(100) }).catch(() => {})
        if (how === 'abort') stream.abort(new Error('no more of it'))
      }
      const how = fc.constantFrom('close' as const, 'abort' as const, 'leave' as const)
      await fc.assert(fc.asyncProperty(pieces(protocol), how, send), { numRuns: 60, ...seed })
      expect(await siege.honest.net.rpc.call(net.peer, nodeHeartbeat, {})).toBeDefined()
    },
  )
})

describe('a member that gossips what is not true', () => {
  const topic = () => topicOf(credentials.head.realm)
  let stream: Awaited<ReturnType<RawPeer['open']>> | undefined
  /** Sends messages and waits until the node has judged so many of them. */
  const gossip = async (messages: readonly Uint8Array[], judged: number) => {
    const earlier = await siege.metric('gossip_messages_refused')
    if (stream?.writeStatus !== 'writable') stream = await member.open('/meshsub/1.2.0')
    for (let at = 0; at < messages.length; at += 100) {
      if (!stream.send(gossipRpc(topic(), messages.slice(at, at + 100)))) await stream.onDrain()
    }
    const all = async () => (await siege.metric('gossip_messages_refused')) - earlier >= judged
    await waitFor(`${judged} messages are judged`, all)
  }
  const chainOf = async (realm: string): Promise<string[]> => {
    const shown = await member.ask({ name: 'realm.document', payload: encode({ realm }) })
    return shown.end === 'answer' ? (shown.value as { chain: string[] }).chain : []
  }
  const forged = () =>
    forgeries({
      ...{ id: credentials.head.realm, founder: siege.founder, forger: member, stranger },
      ...{ certificate: credentials.certificate, victim: siege.honest.net.peer },
      victimCertificate: siege.honest.mesh.view.self().ad.certificate,
    })
  beforeEach(() => present(member, credentials))

  test('has every forgery refused, and told once', async () => {
    const all = Object.values(await forged())
    await gossip(
      all.map((forgery) => encode(forgery)),
      all.length - 1,
    ) // the one that is too large never gets that far
  })

  test('puts nobody out: its revocations, and documents that it says there are, are refused', async () => {
    const { realm } = credentials.head
    const entry = { realm, peer: siege.honest.net.peer, version: 1, revoked: true, sinceMs: 0 }
    const own = await signRevocation(member.key, entry)
    const other = await signRevocation(siege.founder, { ...entry, realm: 'f'.repeat(64) })
    const words = [own, other, `${own.slice(0, -40)}A${own.slice(-39)}`, 'nonsense'].map((jws) =>
      encode({ kind: 'revocation', envelope: Buffer.from(jws) }),
    )
    const head = { realm, version: 200, hash: 'f'.repeat(64) }
    await gossip([...words, encode({ kind: 'head', envelope: encode(head) })], words.length + 1)
  })

  test('makes the node fetch next to nothing with ten thousand documents that are not there', async () => {
    const { realm } = credentials.head
    const head = (n: number) =>
      encode({ kind: 'head', envelope: encode({ realm, version: 2 + (n % 200), hash: `${n}`.padStart(64, 'f') }) })
    member.answers['realm.document'] = { chain: await chainOf(realm) }
    const earlier = member.asked.length
    const asked = () => member.asked.slice(earlier).filter((name) => name === 'realm.document').length
    let told = 0
    const isAsked = async () => {
      await gossip([head(told++)], 1)
      return asked() > 0
    }
    await waitFor('the node asks for one', isAsked, { everyMs: 500 })
    await gossip(
      Array.from({ length: 10_000 }, (_, n) => head(told + n)),
      9_000,
    )
    expect(asked()).toBeLessThan(4)
  })

  test('brings in no document of its own making, however long the chain of them is', async () => {
    const { realm } = credentials.head
    const chain = await chainOf(realm)
    const genuine = await verifyChain(chain)
    const wallMs = Date.now()
    const alone = await foundRealm({ name: 'lab', rootKey: member.key, founder: member.peer, wallMs })
    const forked = await amendRealm(alone, member.key, { settings: { mine: true } }, wallMs)
    const chains = [
      alone.chain,
      [...chain, forked.chain[1]!],
      [...chain, ...Array.from({ length: 255 }, () => forked.chain[1]!)],
      Array.from({ length: 256 }, () => chain[0]!),
      [...chain.slice(0, -1), forked.chain[1]!],
    ]
    for (const [n, forgery] of chains.entries()) {
      member.answers['realm.document'] = { chain: forgery }
      const earlier = member.asked.length
      const head = { realm, version: genuine.document.version + 1 + n, hash: `${n}`.padStart(64, 'e') }
      await member.ask({ name: 'realm.present', payload: encode({ ...credentials, head }) })
      await waitFor('the node has asked for it', () => member.asked.slice(earlier).includes('realm.document'))
    }
    delete member.answers['realm.document']
    const { head } = (await present(member, credentials)) as any
    expect([head.version, head.hash]).toEqual([genuine.document.version, genuine.headHash])
  })

  test('has forgeries refused that it hands over by view sync too', async () => {
    for (const [what, { envelope, kind }] of Object.entries(await forged())) {
      const record =
        kind === 'ad'
          ? { envelope, ageMs: 0, accusations: [] }
          : { envelope: await overtakenAd(siege), ageMs: 0, accusations: [{ envelope, ageMs: 0 }] }
      const pushed = await member.ask({ name: 'view.push', payload: encode({ records: [record] }) })
      // One that is too large is refused with the whole page.
      const refused = pushed.end === 'answer' ? (pushed.value as { refused: number }).refused === 1 : pushed.end
      expect([what, refused]).toEqual([what, what.startsWith('larger') ? 'error' : true])
    }
  })

  test('does not stop the node by its own words, old ones and present ones, however young it says that they are', async () => {
    const words: Uint8Array[] = []
    for (const _ of [1, 2, 3]) {
      const own = await member.ask({ name: 'node.heartbeat', payload: encode({}) })
      if (own.end === 'answer') words.push((own.value as { envelope: Uint8Array }).envelope)
    }
    const made = Object.values(await forged()).slice(0, 4)
    const told = [...words, ...words.map((word) => turned(word)), ...made.map((one) => one.envelope)]
    for (const envelope of told) {
      await member.ask({ name: 'view.push', payload: encode({ records: [{ envelope, ageMs: 0, accusations: [] }] }) })
      await member.ask({ name: 'node.left', payload: encode({ envelope }) })
      await member.ask({ name: 'realm.present', payload: encode({ ...credentials, ad: { envelope, ageMs: 0 } }) })
    }
  })

  test('brings no old word back, be it of one who is here or of one who has left', async () => {
    const old = await Promise.all([overtakenAd(siege), overtakenAd(siege), siege.lastWordOfGuest])
    await gossip(
      old.map((envelope) => encode({ kind: 'ad', envelope })),
      old.length,
    )
    const records = old.map((envelope) => ({ envelope, ageMs: 0, accusations: [] }))
    await member.ask({ name: 'view.push', payload: encode({ records }) })
  })

  test('is not heard with garbage, however much of it there is', async () => {
    const kinds = fc.constantFrom<unknown>('ad', 'accusation', 'other', 7)
    const sealed = fc.uint8Array({ maxLength: 3_000 })
    const message = fc.oneof(
      fc.uint8Array({ maxLength: 6_000 }),
      fc.tuple(kinds, sealed).map(([kind, envelope]) => encode({ kind, envelope })),
      nearly({ kind: 'ad', envelope: siege.lastWordOfGuest }).map(pack),
    )
    await gossip(fc.sample(message, { numRuns: 1_000, ...seed }), 500)
    const flood = Array.from({ length: 5_000 }, (_, n) => encode({ kind: 'ad', envelope: Buffer.alloc(40, `${n}`) }))
    await gossip(flood, 4_000)
    expect(await siege.honest.net.rpc.call(net.peer, nodeHeartbeat, {})).toBeDefined()
  })
})

test('a spawn that says more than it may gives an agent without that', async () => {
  await present(member, credentials)
  const spec = {
    ...{ id: mintId('ag', Date.now()), realm: credentials.head.realm, owner: member.peer, role: 'worker' },
    ...{ runtime: 'process', labels: {}, requirements: {} },
  }
  const extra = { status: 7, reason: 7, hostName: 7, expiresAtMs: 'never', more: 'x'.repeat(200_000) }
  const order = { spec: { ...spec, ...extra }, epoch: 1 }
  const held = (await member.ask({ name: 'agent.reserve', payload: encode(order) })) as {
    value: { reservation: string }
  }
  const grant = await sealGrant({ seal: member.seal, open: net.open }, spec.id, 1, net.peer)
  const spawn = encode({ ...order, grant, reservation: held.value.reservation, staged: false })
  expect(await member.ask({ name: 'agent.spawn', payload: spawn })).toMatchObject({ end: 'answer' })
  const listed: unknown[] = []
  for await (const page of siege.honest.net.rpc.stream(net.peer, agentList, { unanswered: [] }))
    listed.push(...page.agents)
  expect(listed).toContainEqual(expect.objectContaining({ id: spec.id, status: 'idle', hostName: 'fort' }))
  expect(JSON.stringify(listed)).not.toMatch(/xxx|never/)
  expect((await siege.api('DELETE', `/v1/agents/${spec.id}?purge=true`)).body.status).toBe('stopped')
})

test('a stranger that asks again and again, on one connection after the other, is shut out of all of them', async () => {
  const closed = async () => {
    await stranger.dialAgain().catch(() => {})
    return (await stranger.ask({ name: 'realm.present', payload: encode(credentials) })).end === 'closed'
  }
  await waitFor('the connection on which it asks is closed', closed, { everyMs: 10 })
  await waitFor('all of its connections are closed', () => !net.isConnected(stranger.peer))
})

test('sockets that say nothing or nonsense keep no member out', async () => {
  const { port } = /\/tcp\/(?<port>\d+)/.exec(siege.target.address)!.groups!
  const sockets = Array.from({ length: 60 }, () => connectTcp(Number(port), '127.0.0.1').on('error', () => {}))
  for (const [n, socket] of sockets.entries()) if (n % 2 === 0) socket.write(randomBytes(500))
  await present(member, credentials)
  for (const socket of sockets) socket.destroy()
})
