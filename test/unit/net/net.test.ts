import fc from 'fast-check'
import { afterEach, describe, expect, it } from 'vitest'
import { connect, createTestNets, until } from './nets.ts'

const nets = createTestNets()
afterEach(() => nets.close())

describe('connections', () => {
  it('are told of on both sides, at the first and at the end of the last', async () => {
    const [a, b] = [await nets.start(), await nets.start()]
    const told: string[] = []
    a.onConnected((peer, direction) => told.push(`a ${peer === b.peer} ${direction}`))
    b.onConnected((peer, direction) => told.push(`b ${peer === a.peer} ${direction}`))
    a.onDisconnected((peer) => told.push(`a lost ${peer === b.peer}`))
    b.onDisconnected((peer) => told.push(`b lost ${peer === a.peer}`))
    await connect(a, b)
    await until(() => told.length === 2)
    expect(told.toSorted()).toEqual(['a true outbound', 'b true inbound'])
    expect([a.connected(), b.connected()]).toEqual([[b.peer], [a.peer]])
    await a.dial(b.peer, b.addresses()) // is there already
    await b.disconnect(a.peer)
    await until(() => told.length === 4)
    expect(told.slice(2).toSorted()).toEqual(['a lost true', 'b lost true'])
    expect(a.isConnected(b.peer)).toBe(false)
  })

  it('teach the addresses that a peer can be dialled at', async () => {
    const [a, b] = [await nets.start(), await nets.start()]
    await connect(a, b)
    expect(a.remoteAddresses(b.peer)).toEqual(b.addresses())
    await until(() => b.remoteAddresses(a.peer).includes(a.addresses()[0]!))
    expect(b.addresses()[0]).toMatch(/^\/ip4\/127\.0\.0\.1\/tcp\/\d+$/)
  })

  it('that cannot be made are unreachable, and one to another key than expected is not made', async () => {
    const [a, b, c] = [await nets.start(), await nets.start(), await nets.start()]
    for (const addresses of [[], ['no address'], ['/ip4/127.0.0.1/tcp/1'], c.addresses()]) {
      await expect(a.dial(b.peer, addresses)).rejects.toMatchObject({ code: 'PEER_UNREACHABLE' })
    }
    await expect(a.dial(a.peer, a.addresses())).rejects.toMatchObject({ code: 'PEER_UNREACHABLE' })
    await expect(a.dial(b.peer, b.addresses(), AbortSignal.abort())).rejects.toMatchObject({ code: 'CANCELLED' })
    expect(a.connected()).toEqual([])
  })

  it('of a burst of thirty from one address are all taken', async () => {
    const hub = await nets.start()
    const many = await Promise.all(Array.from({ length: 30 }, () => nets.start()))
    await Promise.all(many.map((net) => net.dial(hub.peer, hub.addresses())))
    await until(() => hub.connected().length === 30)
  })

  it('end admission with them', async () => {
    const [a, b] = await nets.pair()
    expect(a.isAdmitted(b.peer)).toBe(true)
    await b.close()
    await until(() => !a.isConnected(b.peer))
    expect(a.isAdmitted(b.peer)).toBe(false)
    a.admit(b.peer, { kind: 'member', role: 'admin' }) // without a connection there is nobody to admit
    expect(a.isAdmitted(b.peer)).toBe(false)
  })
})

describe('envelopes', () => {
  it('give back their author and payload, in their own domain alone', async () => {
    const [a, b] = [await nets.start(), await nets.start()]
    const envelope = await a.seal('ad', Buffer.from('payload'))
    const opened = await b.open('ad', envelope)
    expect([opened.peer, Buffer.from(opened.payload).toString()]).toEqual([a.peer, 'payload'])
    await expect(b.open('other', envelope)).rejects.toMatchObject({ code: 'INVALID_MESSAGE' })
  })

  it('that were altered anywhere, cut, or made up are refused', async () => {
    const a = await nets.start()
    const envelope = await a.seal('ad', Buffer.from('a payload of some length'))
    for (let at = 0; at < envelope.length; at++) {
      const altered = Uint8Array.from(envelope)
      altered[at]! ^= 1 << (at % 8)
      await expect(a.open('ad', altered)).rejects.toMatchObject({ code: 'INVALID_MESSAGE' })
    }
    await expect(a.open('ad', envelope.subarray(0, -1))).rejects.toMatchObject({ code: 'INVALID_MESSAGE' })
    await fc.assert(
      fc.asyncProperty(fc.uint8Array({ maxLength: 200 }), async (bytes) => {
        await expect(a.open('ad', bytes)).rejects.toMatchObject({ code: 'INVALID_MESSAGE' })
      }),
    )
  })
})

describe('a net', () => {
  it('refuses an address that it cannot listen on', async () => {
    const a = await nets.start()
    const { startNet } = await import('../../../src/net/net.ts')
    const { createNodeKey } = await import('../../../src/identity/node-key.ts')
    const { limits } = await import('../../../src/base/limits.ts')
    const { silentLog } = await import('../../../src/base/log.ts')
    const { silentMeter } = await import('../../../src/base/meter.ts')
    const { clock } = await import('./nets.ts')
    const deps = { key: createNodeKey(), limits, clock, log: silentLog, meter: silentMeter }
    await expect(startNet(deps, { listen: a.addresses() })).rejects.toMatchObject({ code: 'INVALID_ARGUMENT' })
  })
})
