/** A peer that speaks libp2p well and our protocols badly. */
import { generateKeyPair } from '@libp2p/crypto/keys'
import type { Libp2p, Stream } from '@libp2p/interface'
import { noise } from '@libp2p/noise'
import { peerIdFromString } from '@libp2p/peer-id'
import { tcp } from '@libp2p/tcp'
import { yamux } from '@libp2p/yamux'
import { multiaddr } from '@multiformats/multiaddr'
import fc from 'fast-check'
import { createLibp2p } from 'libp2p'
import { encode as msgpack } from 'msgpackr'
import { Type } from 'typebox'
import { afterEach, describe, expect, it } from 'vitest'
import { Kind, frameHeaderBytes, requestBytes, writeHead, writeRequest } from '../../../src/net/frame.ts'
import { bind, streaming, unary } from '../../../src/net/method.ts'
import type { Net } from '../../../src/net/net.ts'
import { createTestNets, heldBytes, until } from './nets.ts'

const nets = createTestNets()
const hosts: Libp2p[] = []
afterEach(async () => {
  await Promise.all(hosts.splice(0).map((host) => host.stop()))
  await nets.close()
})

const rogue = async (net: Net): Promise<Libp2p> => {
  const host = await createLibp2p({
    privateKey: await generateKeyPair('Ed25519'),
    transports: [tcp()],
    connectionEncrypters: [noise()],
    streamMuxers: [yamux()],
  })
  hosts.push(host)
  await dial(host, net)
  return host
}

const dial = async (host: Libp2p, net: Net) => {
  await host.dial(multiaddr(`${net.addresses()[0]}/p2p/${net.peer}`))
  await until(() => net.isConnected(host.peerId.toString()))
}

const openStream = async (host: Libp2p, net: Net, protocol: string): Promise<Stream> => {
  if (host.getConnections(peerIdFromString(net.peer)).length === 0) await dial(host, net)
  return host.getConnections(peerIdFromString(net.peer))[0]!.newStream(protocol, { maxOutboundStreams: 1_000 })
}

const frame = (kind: number, call: number, body: Uint8Array): Buffer => {
  const bytes = Buffer.alloc(frameHeaderBytes + body.length)
  bytes.set(body, writeHead(bytes, 0, bytes.length, kind, call))
  return bytes
}

const request = (name: string, payload: Uint8Array, call = 1, stream = false): Buffer => {
  const size = requestBytes(name, payload)
  const bytes = Buffer.alloc(size)
  const head = { stream, outgoing: stream, version: 1, timeoutMs: 0, creditBytes: 100_000, name, payload }
  writeRequest(bytes, writeHead(bytes, 0, size, Kind.request, call), head)
  return bytes
}

/** The kinds of the frames that come back, until one does. */
const answer = (stream: Stream): Promise<number> =>
  new Promise((resolve, reject) => {
    stream.addEventListener('message', (event) => resolve(event.data.subarray()[4]!))
    stream.addEventListener('close', () => reject(new Error('closed')))
  })

const Num = Type.Object({ n: Type.Number() })
const open = unary({ name: 'test.open', access: 'anyone', request: Num, response: Num })
const feed = streaming({
  name: 'test.feed',
  access: 'anyone',
  request: Num,
  response: Num,
  incoming: Num,
  incomingBytesMax: 1_000,
})

const serve = async () => {
  const net = await nets.start()
  net.rpc.register([
    bind(open, (each) => each),
    bind(feed, async function* (each, { signal }) {
      yield each
      await new Promise((resolve) => signal.addEventListener('abort', resolve))
    }),
  ])
  return net
}

/** The net still answers an honest peer. */
const unharmed = async (net: Net) => {
  const honest = await nets.start()
  await honest.dial(net.peer, net.addresses())
  expect(await honest.rpc.call(net.peer, open, { n: 1 })).toEqual({ n: 1 })
}

describe('a hostile peer', () => {
  it.each([
    ['an oversize frame', Buffer.from([0x7f, 0xff, 0xff, 0xff, 1])],
    ['a frame too short', Buffer.from([0, 0, 0, 2, 1, 1])],
    ['an unknown kind', frame(99, 1, Buffer.alloc(3))],
    ['a request that ends early', frame(Kind.request, 1, Buffer.alloc(3))],
    ['a name beyond the frame', frame(Kind.request, 1, Buffer.alloc(12, 255))],
    [
      'a call id in use',
      Buffer.concat([
        request('test.feed', msgpack({ n: 1 }), 5, true),
        request('test.feed', msgpack({ n: 1 }), 5, true),
      ]),
    ],
    [
      'an item for a call that announced none',
      Buffer.concat([request('test.feed', msgpack({ n: 1 }), 5, true), frame(Kind.callerCredit, 5, Buffer.alloc(3))]),
    ],
    [
      'items beyond the credit',
      Buffer.concat([
        request('test.feed', msgpack({ n: 1 }), 5, true),
        ...Array.from({ length: 600 }, () => frame(Kind.incoming, 5, Buffer.alloc(900))),
      ]),
    ],
  ])('that sends %s loses its connection, and the node is unharmed', async (_what, bytes) => {
    const net = await serve()
    const host = await rogue(net)
    const stream = await openStream(host, net, '/godel/rpc/1')
    stream.send(bytes)
    await until(() => !net.isConnected(host.peerId.toString()))
    await unharmed(net)
  })

  it.each([
    ['deep nesting', Buffer.concat([Buffer.alloc(5_000, 0x91), Buffer.from([1])])],
    ['an array that claims 2^32 items', Buffer.from([0xdd, 0xff, 0xff, 0xff, 0xff])],
    ['an extension type', Buffer.from([0xd4, 0x72, 0x40])],
    ['a wrong schema', msgpack({ n: 'x' })],
    ['no msgpack', Buffer.from([0xc1])],
    ['bytes after the value', Buffer.concat([msgpack({ n: 1 }), Buffer.from([1])])],
  ])('whose request holds %s is refused with a typed error', async (_what, payload) => {
    const net = await serve()
    const stream = await openStream(await rogue(net), net, '/godel/rpc/1')
    const answered = answer(stream)
    stream.send(request('test.open', payload))
    expect(await answered).toBe(Kind.error)
    await unharmed(net)
  })

  it('that sends random bytes on either protocol harms nothing and leaves nothing behind', async () => {
    const net = await serve()
    const host = await rogue(net)
    net.admit(host.peerId.toString(), { kind: 'member', role: 'admin' })
    await fc.assert(
      fc.asyncProperty(
        fc.constantFrom('/godel/rpc/1', '/godel/bulk/1'),
        fc.array(fc.uint8Array({ minLength: 1, maxLength: 400 }), { maxLength: 5 }),
        async (protocol, pieces) => {
          const stream = await openStream(host, net, protocol).catch(() => undefined)
          try {
            for (const piece of pieces) stream?.send(piece)
          } catch {
            // The other side has closed it by now.
          }
          await stream?.close().catch(() => {})
        },
      ),
      { numRuns: 150 },
    )
    await unharmed(net)
  })

  it('cannot bury a node in errors that it does not read', async () => {
    const net = await nets.start({ rpcSessionQueueBytesMax: 64 * 1024 })
    const host = await rogue(net)
    const stream = await openStream(host, net, '/godel/rpc/1')
    stream.pause()
    const peer = host.peerId.toString()
    const flood = Buffer.concat(
      Array.from({ length: 1_000 }, (_, call) => request('no.such.method', Buffer.alloc(0), call + 1)),
    )
    const before = heldBytes()
    for (let i = 0; i < 500 && stream.status === 'open' && net.isConnected(peer); i++) {
      try {
        stream.send(flood)
      } catch {
        break
      }
      await new Promise((resolve) => setImmediate(resolve))
    }
    await until(() => stream.status !== 'open')
    expect(heldBytes() - before).toBeLessThan(32 * 1024 * 1024)
  })

  it.each([
    ['the end of a stream', frame(Kind.end, 1, Buffer.alloc(0))],
    ['an error beyond its bound', frame(Kind.error, 1, Buffer.alloc(20_000))],
    ['an item', frame(Kind.item, 1, msgpack({ n: 1 }))],
  ])('that answers a call with %s fails the call and loses its connection', async (_what, bytes) => {
    const net = await serve()
    const host = await rogue(net)
    await host.handle('/godel/rpc/1', (stream) => stream.addEventListener('message', () => void stream.send(bytes)))
    const peer = host.peerId.toString()
    await expect(net.rpc.call(peer, open, { n: 1 }, { timeoutMs: 5_000 })).rejects.toMatchObject({
      code: 'STREAM_LOST',
    })
    await until(() => !net.isConnected(peer))
  })

  it('that is no member has its bulk streams refused', async () => {
    const net = await serve()
    const stream = await openStream(await rogue(net), net, '/godel/bulk/1')
    await until(() => stream.status !== 'open')
  })
})
