/** A peer that is put out and does not go: it keeps its sockets and streams open and goes on calling. */
import { Type } from 'typebox'
import { afterEach, describe, expect, it } from 'vitest'
import { encode } from '../../../src/base/codec.ts'
import { bind, streaming, unary } from '../../../src/net/method.ts'
import { requestFrame, startRawPeer, type RawPeer } from '../../support/raw-peer.ts'
import { createTestNets, until } from './nets.ts'

const nets = createTestNets()
const raw: RawPeer[] = []
afterEach(async () => {
  await Promise.all(raw.splice(0).map((peer) => peer.stop()))
  await nets.close()
})

const shape = { request: Type.Object({}), response: Type.Object({}) }
const counted = unary({ name: 'test.counted', ...shape })
const endless = streaming({ name: 'test.endless', ...shape, incoming: Type.Object({}) })

describe('a peer that is put out', () => {
  it('and goes on calling is cut off at once: what runs for it ends, and nothing more of it is answered', async () => {
    const hub = await nets.start({ disconnectTimeoutMs: 60_000 }) // a close that asks it to agree would take as long
    let answered = 0
    let running = 0
    hub.rpc.register([
      bind(counted, () => {
        answered++
        return {}
      }),
      bind(endless, async function* (_, { signal }) {
        running++
        yield {}
        await new Promise<void>((resolve) => signal.addEventListener('abort', () => resolve()))
        running--
      }),
    ])
    const mallory = await startRawPeer({ peer: hub.peer, address: hub.addresses()[0]! })
    raw.push(mallory)
    const session = await mallory.open('/godel/rpc/1')
    hub.admit(mallory.peer, { kind: 'member', role: 'admin' })
    session.send(requestFrame(1, { name: 'test.endless', payload: encode({}), stream: true }))
    let call = 1
    let isOn = true
    const calling = (async () => {
      while (isOn) {
        if (session.writeStatus === 'writable')
          session.send(requestFrame(++call, { name: 'test.counted', payload: encode({}) }))
        await new Promise((resolve) => setImmediate(resolve))
      }
    })()
    await until(() => running === 1 && answered > 10)

    hub.expel(mallory.peer)
    const before = answered
    expect([hub.standingOf(mallory.peer), hub.isConnected(mallory.peer)]).toEqual([undefined, false])
    await until(() => running === 0)
    await until(() => !mallory.connected)
    isOn = false
    await calling
    expect(answered).toBe(before)
    expect(hub.connected()).toEqual([])
  })
})
