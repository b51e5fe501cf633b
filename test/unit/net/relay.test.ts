import { afterEach, describe, expect, it } from 'vitest'
import { createNodeKey } from '../../../src/identity/node-key.ts'
import { limits as defaults, type Limits } from '../../../src/base/limits.ts'
import { silentLog } from '../../../src/base/log.ts'
import { silentMeter } from '../../../src/base/meter.ts'
import type { GuestStanding } from '../../../src/base/standing.ts'
import { startNet, type Net } from '../../../src/net/net.ts'
import { admitEachOther, clock, connect, heldBytes, until } from './nets.ts'

const open: Net[] = []
afterEach(async () => {
  await Promise.all(open.splice(0).map((net) => net.close()))
})

const start = async (listen: string[], limits: Partial<Limits> = {}, relay = true): Promise<Net> => {
  const common = { limits: { ...defaults, ...limits }, clock, log: silentLog, meter: silentMeter }
  const net = await startNet({ key: createNodeKey(), ...common }, { listen, relay })
  open.push(net)
  return net
}
const loopback = ['/ip4/127.0.0.1/tcp/0']
const guest: GuestStanding = { kind: 'guest', by: 'realm', realm: 'r', scopes: ['exec'], agentsPerNode: 1 }

/** A relay and two nodes that listen nowhere, which is what a NAT makes of a node. */
const three = async (limits: Partial<Limits> = {}): Promise<{ relay: Net; hidden: Net; other: Net }> => {
  const [relay, hidden, other] = [await start(loopback, limits), await start([]), await start([])]
  for (const node of [hidden, other]) {
    await connect(node, relay)
    admitEachOther(node, relay)
  }
  return { relay, hidden, other }
}

const meet = async (from: Net, to: Net) => {
  await from.dial(to.peer, to.addresses())
  await until(() => to.isConnected(from.peer))
  admitEachOther(from, to)
}

/** Sends so many bytes and gives how many arrived, at how many milliseconds. */
const transfer = async (from: Net, to: Net, bytes: number): Promise<{ received: number; tookMs: number }> => {
  to.bulk.handle('test', async (_peer, _header, source) => {
    let received = 0
    for await (const part of source) received += part.byteLength
    return received
  })
  const part = Buffer.alloc(64 * 1024, 7)
  const source = async function* () {
    for (let sent = 0; sent < bytes; sent += part.byteLength)
      yield part.subarray(0, Math.min(part.length, bytes - sent))
  }
  const startMs = performance.now()
  const received = (await from.bulk.send(to.peer, 'test', {}, source())) as number
  return { received, tookMs: performance.now() - startMs }
}

describe('a relay', () => {
  it('joins two nodes that cannot be dialled, for more than a stock relay carries, and both say through whom', async () => {
    const { relay, hidden, other } = await three()
    expect(hidden.addresses()).toEqual([])
    await hidden.relays.reserve(relay.peer)
    expect(hidden.addresses()).toEqual([`${relay.addresses()[0]}/p2p/${relay.peer}/p2p-circuit`])
    await meet(other, hidden)
    expect(other.connectionKind(hidden.peer)).toEqual({ kind: 'relayed', through: relay.peer })
    expect(hidden.connectionKind(other.peer)).toEqual({ kind: 'relayed', through: relay.peer })
    expect(other.connectionKind(relay.peer)).toEqual({ kind: 'direct', isDialled: true, dialledUs: false })
    expect(await transfer(other, hidden, 5 * 1024 * 1024)).toMatchObject({ received: 5 * 1024 * 1024 })
    expect(relay.relays.carried()).toBe(1)
    const seen: string[] = []
    hidden.pubsub.subscribe('t', (bytes) => (seen.push(Buffer.from(bytes).toString()), 'accept'))
    await until(() => (void other.pubsub.publish('t', Buffer.from(`n${performance.now()}`)), seen.length > 0))
    await other.disconnect(hidden.peer)
    await until(() => relay.relays.carried() === 0)
  })

  it('gives no reservation to a stranger, nor to a guest, and none where relaying is switched off', async () => {
    const relay = await start(loopback, { admissionTimeoutMs: 60_000 })
    const stranger = await start([])
    await connect(stranger, relay)
    await expect(stranger.relays.reserve(relay.peer)).rejects.toMatchObject({ code: 'PEER_UNREACHABLE' })
    relay.admit(stranger.peer, guest)
    await expect(stranger.relays.reserve(relay.peer)).rejects.toMatchObject({ code: 'PEER_UNREACHABLE' })
    expect(stranger.addresses()).toEqual([])
    relay.admit(stranger.peer, { kind: 'member', role: 'observer' })
    await stranger.relays.reserve(relay.peer)

    const unwilling = await start(loopback, {}, false)
    await connect(stranger, unwilling)
    admitEachOther(stranger, unwilling)
    await expect(stranger.relays.reserve(unwilling.peer)).rejects.toMatchObject({ code: 'PEER_UNREACHABLE' })
  })

  it('carries nothing for a stranger or a guest, nor to one whose admission has ended', async () => {
    const { relay, hidden, other } = await three()
    await hidden.relays.reserve(relay.peer)
    relay.admit(other.peer, guest)
    await expect(meet(other, hidden)).rejects.toMatchObject({ code: 'PEER_UNREACHABLE' })
    relay.admit(other.peer, { kind: 'member', role: 'member' })
    await meet(other, hidden)
    relay.expel(hidden.peer)
    // The one that was cut believes in its connection for a moment, and would not dial.
    await until(() => !other.isConnected(hidden.peer) && !hidden.isConnected(relay.peer))
    await connect(hidden, relay)
    relay.admit(hidden.peer, { kind: 'member', role: 'member' })
    // Admitted anew, it has to reserve anew.
    const address = `${relay.addresses()[0]}/p2p/${relay.peer}/p2p-circuit`
    await expect(other.dial(hidden.peer, [address])).rejects.toMatchObject({ code: 'PEER_UNREACHABLE' })
  })

  it('brings no circuit to a node that has not reserved there, or has given it up', async () => {
    const { relay, hidden, other } = await three()
    await hidden.relays.reserve(relay.peer)
    hidden.relays.release(relay.peer)
    expect(hidden.relays.held()).toEqual([])
    expect(hidden.addresses()).toEqual([])
    const address = `${relay.addresses()[0]}/p2p/${relay.peer}/p2p-circuit`
    await expect(other.dial(hidden.peer, [address])).rejects.toMatchObject({ code: 'PEER_UNREACHABLE' })
    expect(hidden.relays.held()).toEqual([])
  })

  it('is one of several that a node holds at a time', async () => {
    const { relay, hidden } = await three()
    const second = await start(loopback)
    await connect(hidden, second)
    admitEachOther(hidden, second)
    await Promise.all([hidden.relays.reserve(relay.peer), hidden.relays.reserve(second.peer)])
    expect(hidden.relays.held().toSorted()).toEqual([relay.peer, second.peer].toSorted())
    expect(hidden.addresses()).toHaveLength(2)
    await relay.close()
    await until(() => hidden.relays.held().join() === second.peer)
    await hidden.relays.reserve(second.peer)
  })

  it('takes no more circuits than it carries', async () => {
    const { relay, hidden, other } = await three({ relayCircuitsMax: 1 })
    const third = await start([])
    await connect(third, relay)
    admitEachOther(third, relay)
    await hidden.relays.reserve(relay.peer)
    await meet(other, hidden)
    await expect(meet(third, hidden)).rejects.toMatchObject({ code: 'PEER_UNREACHABLE' })
  })

  it('holds a circuit to its rate, but for a second of it and one window', async () => {
    const { relay, hidden, other } = await three({ relayBytesPerSecond: 2 * 1024 * 1024 })
    await hidden.relays.reserve(relay.peer)
    await meet(other, hidden)
    const { received, tookMs } = await transfer(other, hidden, 12 * 1024 * 1024)
    expect(received).toBe(12 * 1024 * 1024)
    expect(tookMs).toBeGreaterThan(2_000)
  })

  it('keeps little of what the far end does not take', async () => {
    const { relay, hidden, other } = await three({ relayBytesPerSecond: 2 ** 40 })
    await hidden.relays.reserve(relay.peer)
    await meet(other, hidden)
    let left = () => {}
    const blocked = new Promise<void>((resolve) => (left = resolve))
    hidden.bulk.handle('stuck', () => blocked)
    const part = Buffer.alloc(64 * 1024)
    let sent = 0
    const source = async function* () {
      for (; sent < 400 * 1024 * 1024; sent += part.byteLength) yield part
    }
    const before = heldBytes()
    const sending = other.bulk.send(hidden.peer, 'stuck', {}, source()).catch(() => {})
    let last = -1
    await until(() => {
      const isStill = sent > 0 && sent === last
      last = sent
      return isStill
    }, 20_000)
    expect(sent).toBeLessThan(64 * 1024 * 1024)
    expect(heldBytes() - before).toBeLessThan(64 * 1024 * 1024)
    left()
    await hidden.disconnect(other.peer)
    await sending
  })
})

describe('a dial', () => {
  it('tries what is direct first, and the relay where nothing answers there', async () => {
    const { relay, hidden, other } = await three()
    await hidden.relays.reserve(relay.peer)
    const shown = await start(loopback)
    await connect(shown, relay)
    admitEachOther(shown, relay)
    await shown.relays.reserve(relay.peer)
    await other.dial(shown.peer, shown.addresses())
    expect(other.connectionKind(shown.peer)).toMatchObject({ kind: 'direct' })
    await other.dial(hidden.peer, ['/ip4/127.0.0.1/tcp/9', ...hidden.addresses()])
    expect(other.connectionKind(hidden.peer)).toMatchObject({ kind: 'relayed' })
  })
})

describe('addresses', () => {
  it('of IPv6 are listened on, shown and dialled', async () => {
    const [a, b] = [await start(['/ip6/::1/tcp/0']), await start([])]
    expect(a.addresses()[0]).toMatch(/^\/ip6\/::1\/tcp\/\d+$/)
    await connect(b, a)
    expect(a.observedIp(b.peer)).toBe('::1')
    expect(await b.probe(a.addresses())).toBe(true)
  })

  it('of WebSockets are dialled by a node that was told nothing of them', async () => {
    const [a, b] = [await start(['/ip4/127.0.0.1/tcp/0/ws']), await start(loopback)]
    expect(a.addresses()[0]).toMatch(/\/ws$/)
    await connect(b, a)
    admitEachOther(a, b)
    expect(await transfer(b, a, 1024 * 1024)).toMatchObject({ received: 1024 * 1024 })
    expect(await b.probe(a.addresses())).toBe(true)
  })

  it('are found out to be dead by a probe, as are those of something else', async () => {
    const [a, b] = [await start(loopback), await start([], { dialBackTimeoutMs: 300 })]
    expect(await b.probe(a.addresses())).toBe(true)
    await a.close()
    expect(await b.probe(['/ip4/127.0.0.1/tcp/9'])).toBe(false)
    expect(await b.probe([])).toBe(false)
    expect(await b.probe([`/ip4/127.0.0.1/tcp/9/p2p/${a.peer}/p2p-circuit`])).toBe(false)
  })
})
