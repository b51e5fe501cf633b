/** What one peer, one address and all strangers together may take of a net, by peers that try to take more. */
import { hash } from 'node:crypto'
import { Type } from 'typebox'
import { afterEach, describe, expect, it } from 'vitest'
import type { Limits } from '../../../src/base/limits.ts'
import { silentLog, type Log } from '../../../src/base/log.ts'
import type { GuestStanding, Standing } from '../../../src/base/standing.ts'
import { createBounds } from '../../../src/net/bounds.ts'
import { bind, unary, type RateClass } from '../../../src/net/method.ts'
import type { Net } from '../../../src/net/net.ts'
import { gossipControl, gossipRpc, startRawPeer, type RawPeer } from '../../support/raw-peer.ts'
import { admitEachOther, connect, createTestNets, until } from './nets.ts'

const nets = createTestNets()
const raw: RawPeer[] = []
afterEach(async () => {
  await Promise.all(raw.splice(0).map((peer) => peer.stop()))
  await nets.close()
})
const rawTo = async (hub: Net): Promise<RawPeer> => {
  const peer = await startRawPeer({ peer: hub.peer, address: hub.addresses()[0]! })
  raw.push(peer)
  return peer
}
const member: Standing = { kind: 'member', role: 'member' }
const guest: GuestStanding = { kind: 'guest', by: 'realm', realm: 'r', scopes: [], agentsPerNode: 1 }

describe('connections', () => {
  const open = (peer: string, ip: string) => ({ remotePeer: peer, remoteAddr: `/ip4/${ip}/tcp/1` })
  const limits = { strangersMax: 4, strangersPerAddressMax: 2, connectionsPerPeerMax: 3 }
  const denied = (peer: string, ip: string, all: ReturnType<typeof open>[], admitted: string[] = []): boolean => {
    const bounds = createBounds({ limits, isAdmitted: (each) => admitted.includes(each), all: () => all as never })
    return bounds.denyInboundEncryptedConnection!(peer as never, open(peer, ip) as never) as boolean
  }
  const two = [open('a', '10.0.0.1'), open('b', '10.0.0.1')]
  const four = [...two, open('c', '10.0.0.2'), open('d', '10.0.0.3')]
  it.each([
    ['the first', 'x', '10.0.0.1', [], [], false],
    ['one more than strangers may have of an address', 'x', '10.0.0.1', two, [], true],
    ['the same, told in the form of IPv6', 'x', '::ffff:10.0.0.1', two, [], true],
    ['one of another address', 'x', '10.0.0.9', two, [], false],
    ['one of that address where the others are admitted', 'x', '10.0.0.1', two, ['a'], false],
    ['one more than strangers may have in all', 'x', '10.0.0.9', four, [], true],
    ['the same of one that is admitted', 'x', '10.0.0.9', four, ['x'], false],
    ['one more than an admitted peer may have', 'x', '10.0.0.9', Array(3).fill(open('x', '10.0.0.9')), ['x'], true],
  ])('that came in and are: %s', (_what, peer, ip, all, admitted, isDenied) => {
    expect(denied(peer, ip, all, admitted)).toBe(isDenied)
  })

  it('of strangers beyond their number are closed, and a member comes in all the same once there is one less', async () => {
    const hub = await nets.start({ strangersPerAddressMax: 3 })
    const strangers = await Promise.all(Array.from({ length: 6 }, () => rawTo(hub)))
    for (const each of strangers) await each.dialAgain().catch(() => {})
    await until(() => strangers.filter(({ connected }) => connected).length === 3)
    expect(hub.connected()).toHaveLength(3)
    const late = await nets.start()
    await late.dial(hub.peer, hub.addresses()).catch(() => {})
    await until(() => !late.isConnected(hub.peer))
    hub.admit(strangers.find(({ connected }) => connected)!.peer, member)
    await connect(late, hub)
  })

  it('of one admitted peer end at their number', async () => {
    const hub = await nets.start({ connectionsPerPeerMax: 3 })
    const greedy = await rawTo(hub)
    await greedy.dialAgain()
    await until(() => hub.isConnected(greedy.peer))
    hub.admit(greedy.peer, member)
    for (let n = 0; n < 6; n++) await greedy.dialAgain().catch(() => {})
    await until(() => greedy.connections <= 3)
    expect(hub.isAdmitted(greedy.peer)).toBe(true)
  })

  it('of strangers are given up before those of admitted peers, though these are newer', async () => {
    // Once: a stream under way would keep the connection, whatever that is worth.
    const said: string[] = []
    const log: Log = { ...silentLog, child: () => log, debug: (message) => void said.push(message) }
    const hub = await nets.start({ connectionsMax: 3, gossipReopenMs: 60_000 }, log)
    const [first, second, newest] = [await rawTo(hub), await rawTo(hub), await rawTo(hub)]
    for (const each of [first, second, newest]) {
      await each.dialAgain()
      await until(() => hub.isConnected(each.peer))
    }
    hub.admit(newest.peer, member)
    await until(() => said.includes('no gossip stream could be opened'))
    const other = await nets.start()
    await hub.dial(other.peer, other.addresses()) // the fourth, and none to give up, since the hub wanted it
    await until(() => [first, second].some(({ connected }) => !connected))
    expect([newest.connected, hub.isAdmitted(newest.peer), hub.isConnected(other.peer)]).toEqual([true, true, true])
  })
})

describe('calls of one peer', () => {
  const rows = (['open', 'sync', 'act', 'call'] as const).map((rate) =>
    unary({ name: `test.${rate}`, access: 'anyone', rate, request: Type.Object({}), response: Type.Object({}) }),
  )
  const rowOf = (rate: RateClass) => rows.find((row) => row.rate === rate)!
  const burst: Partial<Limits> = {
    ...{ rpcOpenCallsPerSecond: 0.001, rpcOpenCallsBurst: 3, rpcSyncCallsPerSecond: 0.001, rpcSyncCallsBurst: 4 },
    ...{ rpcActsPerSecond: 0.001, rpcActsBurst: 5, rpcCallsPerSecond: 2 },
  }
  const answeredOf = async (from: Net, to: Net, rate: RateClass): Promise<number> => {
    const calls = Array.from({ length: 12 }, () => from.rpc.call(to.peer, rowOf(rate), {}))
    const refused = (await Promise.allSettled(calls)).flatMap((one) => (one.status === 'rejected' ? [one.reason] : []))
    for (const error of refused) expect(error).toMatchObject({ code: 'RATE_LIMITED' })
    return calls.length - refused.length
  }

  it('are answered at the rate of their class, which no other class and no other peer uses up, nor a new connection fills', async () => {
    const hub = await nets.start(burst)
    hub.rpc.register(rows.map((row) => bind(row, () => ({}))))
    const [greedy, other] = [await nets.start(), await nets.start()]
    await connect(greedy, hub)
    await connect(other, hub)
    for (const net of [greedy, other]) {
      expect(await answeredOf(net, hub, 'open')).toBe(3)
      expect(await answeredOf(net, hub, 'sync')).toBe(4)
      expect(await answeredOf(net, hub, 'act')).toBe(5)
      expect(await answeredOf(net, hub, 'call')).toBeLessThan(12)
    }
    await greedy.disconnect(hub.peer)
    await until(() => !hub.isConnected(greedy.peer))
    await connect(greedy, hub)
    expect(await answeredOf(greedy, hub, 'open')).toBe(0)
  })
})

describe('the ids of messages that were seen', () => {
  it('are kept up to a number, of which the oldest give way', async () => {
    const hub = await nets.start({ gossipSeenMax: 10 })
    const heard: string[] = []
    hub.pubsub.subscribe('t', (bytes) => (heard.push(Buffer.from(bytes).toString()), 'accept'))
    const peer = await rawTo(hub)
    const stream = await peer.open('/meshsub/1.2.0')
    hub.admit(peer.peer, member)
    const say = (...words: string[]) =>
      stream.send(
        gossipRpc(
          't',
          words.map((word) => Buffer.from(word)),
        ),
      )
    const words = Array.from({ length: 30 }, (_, n) => `m${n}`)
    say(...words)
    await until(() => heard.length === 30)
    say('m29', 'm0', 'end')
    await until(() => heard.includes('end'))
    const times = (word: string) => heard.filter((each) => each === word).length
    expect([times('m29'), times('m0')]).toEqual([1, 2])
  })
})

describe('a guest that speaks gossip of its own making', () => {
  it('is sent nothing of a topic of members, whatever it says of it', async () => {
    const [inside, other] = await nets.pair()
    const heard: string[] = []
    const collect = (bytes: Uint8Array) => (heard.push(Buffer.from(bytes).toString()), 'accept' as const)
    inside.pubsub.subscribe('members', () => 'accept')
    inside.pubsub.subscribe(
      'share',
      () => 'accept',
      () => true,
    )
    other.pubsub.subscribe('members', collect)
    admitEachOther(inside, other)
    const mallory = await rawTo(inside)
    const received = await mallory.hearGossip()
    const stream = await mallory.open('/meshsub/1.2.0')
    inside.admit(mallory.peer, guest)
    let n = 0
    const say = () => {
      void inside.pubsub.publish('members', Buffer.from(`secret ${n}`))
      void other.pubsub.publish('members', Buffer.from(`secret of another ${n}`)) // which `inside` passes on
      void inside.pubsub.publish('share', Buffer.from(`open ${n++}`))
    }
    const idOf = (topic: string, word: string) =>
      hash('sha256', Buffer.from(`${topic}\0${word}`), 'buffer').subarray(0, 20)
    const unseen = hash('sha256', 'never seen', 'buffer').subarray(0, 20)
    const meddle = () => {
      const wants = Array.from({ length: n }, (_, at) => idOf('members', `secret ${at}`)).slice(-100)
      stream.send(gossipControl('members', { has: [unseen], wants }))
      stream.send(gossipControl('share', { has: [], wants: [] }))
    }
    await until(() => (say(), meddle(), received().includes('open') && heard.length > 5))
    // Several heartbeats, in which whoever takes part is told what there is.
    for (const end = n + 300; n < end; await new Promise((resolve) => setTimeout(resolve, 5))) {
      say()
      if (n % 10 === 0) meddle()
    }
    expect(received().includes('secret')).toBe(false)
    expect(received().includes(unseen)).toBe(false)
  })
})
