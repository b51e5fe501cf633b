import { gossipsub } from '@libp2p/gossipsub'
import { generateKeyPair } from '@libp2p/crypto/keys'
import { identify } from '@libp2p/identify'
import { noise } from '@libp2p/noise'
import { tcp } from '@libp2p/tcp'
import { yamux } from '@libp2p/yamux'
import { multiaddr } from '@multiformats/multiaddr'
import { createLibp2p } from 'libp2p'
import { afterEach, describe, expect, it } from 'vitest'
import type { Net, Verdict } from '../../../src/net/net.ts'
import { admitEachOther, connect, createTestNets, heldBytes, until } from './nets.ts'

const nets = createTestNets()
afterEach(() => nets.close())

const listen = (net: Net, topic: string, verdict: Verdict = 'accept') => {
  const seen: string[] = []
  net.pubsub.subscribe(topic, (bytes) => {
    seen.push(Buffer.from(bytes).toString())
    return verdict
  })
  return seen
}

/** Publishes numbered messages until the condition holds: a mesh takes a moment to form. */
const publishUntil = async (net: Net, topic: string, condition: () => boolean) => {
  let n = 0
  await until(() => {
    void net.pubsub.publish(topic, Buffer.from(`warm ${n++}`))
    return condition()
  })
}

describe('gossip', () => {
  it('reaches all of thirteen nodes behind one address, through others too, within a second', async () => {
    const all = await Promise.all(Array.from({ length: 13 }, () => nets.start()))
    for (const [index, net] of all.entries()) {
      // A ring with two chords each: most pairs are not connected.
      for (const step of [1, 3, 5]) {
        const other = all[(index + step) % all.length]!
        await connect(net, other)
        admitEachOther(net, other)
      }
    }
    const seen = all.map((net) => listen(net, 't'))
    await publishUntil(all[0]!, 't', () => seen.slice(1).every((messages) => messages.length > 0))
    for (const [index, net] of all.entries()) {
      const start = performance.now()
      await net.pubsub.publish('t', Buffer.from(`from ${index}`))
      await until(() => seen.every((messages, other) => other === index || messages.includes(`from ${index}`)))
      expect(performance.now() - start).toBeLessThan(1_000)
    }
  })

  it('is not passed on by a node whose handler does not accept it', async () => {
    const [a, b, c] = [await nets.start(), await nets.start(), await nets.start()]
    for (const [x, y] of [
      [a, b],
      [b, c],
    ] as const) {
      await connect(x, y)
      admitEachOther(x, y)
    }
    const [onB, onC] = [listen(b, 'strict', 'reject'), listen(c, 'strict')]
    const [alsoB, alsoC] = [listen(b, 'open'), listen(c, 'open')]
    await publishUntil(a, 'strict', () => onB.length > 0)
    await publishUntil(a, 'open', () => alsoB.length > 0 && alsoC.length > 0)
    expect(onC).toEqual([])
  })

  it('is not spoken with a stranger in either direction, until it is admitted', async () => {
    const [a, stranger] = [await nets.start({ admissionTimeoutMs: 60_000 }), await nets.start()]
    await connect(stranger, a)
    stranger.admit(a.peer, { kind: 'member', role: 'admin' }) // it does what it can to take part
    const [onA, onStranger] = [listen(a, 't'), listen(stranger, 't')]
    for (let i = 0; i < 20; i++) {
      await stranger.pubsub.publish('t', Buffer.from(`bad ${i}`))
      await a.pubsub.publish('t', Buffer.from(`secret ${i}`))
      await new Promise((resolve) => setTimeout(resolve, 20))
    }
    expect([onA, onStranger]).toEqual([[], []])
    a.admit(stranger.peer, { kind: 'member', role: 'admin' })
    await publishUntil(a, 't', () => onStranger.some((message) => message.startsWith('warm')))
    expect(onStranger.some((message) => message.startsWith('secret'))).toBe(false)
    await publishUntil(stranger, 't', () => onA.some((message) => message.startsWith('warm')))
  })

  it('ends with a peer that is expelled and begins again with its new admission', async () => {
    const [a, b] = await nets.pair()
    const onB = listen(b, 't')
    await publishUntil(a, 't', () => onB.length > 0)
    a.expel(b.peer)
    await until(() => !a.isConnected(b.peer) && !b.isConnected(a.peer))
    expect(a.isAdmitted(b.peer) || b.isAdmitted(a.peer)).toBe(false)
    await connect(b, a)
    admitEachOther(a, b)
    onB.length = 0
    await publishUntil(a, 't', () => onB.length > 0)
  })

  it('refuses a message beyond the bound, and a second handler for a topic', async () => {
    const a = await nets.start()
    listen(a, 't')
    expect(() => listen(a, 't')).toThrow(expect.objectContaining({ code: 'CONFLICT' }))
    await expect(a.pubsub.publish('t', Buffer.alloc(5_000))).rejects.toMatchObject({ code: 'TOO_LARGE' })
  })

  it('of one content keeps back none of another, nor the same on another topic, whoever was first', async () => {
    const [a, b] = await nets.pair()
    const [seen, elsewhere] = [listen(b, 't'), listen(b, 'u')]
    listen(a, 't')
    listen(a, 'u')
    await publishUntil(a, 't', () => seen.length > 0)
    await publishUntil(a, 'u', () => elsewhere.length > 0)
    const words = ['word', 'word of another', 'worD', '']
    for (const word of words) await a.pubsub.publish('t', Buffer.from(word))
    await a.pubsub.publish('u', Buffer.from('word'))
    await until(() => words.every((word) => seen.includes(word)) && elsewhere.includes('word'))
    expect(seen.filter((word) => !word.startsWith('warm')).toSorted()).toEqual(words.toSorted())
  })

  it('takes 350,000 topics in one message from a member without keeping them', async () => {
    const net = await nets.start()
    const rogue = await createLibp2p({
      privateKey: await generateKeyPair('Ed25519'),
      transports: [tcp()],
      connectionEncrypters: [noise()],
      streamMuxers: [yamux()],
      services: { identify: identify(), pubsub: gossipsub() },
    })
    try {
      await rogue.dial(multiaddr(`${net.addresses()[0]}/p2p/${net.peer}`))
      const peer = rogue.peerId.toString()
      await until(() => net.isConnected(peer))
      net.admit(peer, { kind: 'member', role: 'admin' })
      const stream = await rogue.getConnections()[0]!.newStream('/meshsub/1.2.0')
      const topics = Buffer.concat(Array.from({ length: 350_000 }, (_, i) => subscription(`t${i}`)))
      const before = heldBytes()
      stream.send(Buffer.concat([varint(topics.length), topics]))
      for (let i = 0; i < 200 && stream.status === 'open'; i++) await new Promise((resolve) => setTimeout(resolve, 5))
      expect(heldBytes() - before - topics.length).toBeLessThan(8 * 1024 * 1024)
      const [a, seen] = [await nets.start(), listen(net, 't')]
      await connect(a, net)
      admitEachOther(a, net)
      await publishUntil(a, 't', () => seen.length > 0)
    } finally {
      await rogue.stop()
    }
  })
})

const varint = (value: number): Buffer => {
  const bytes: number[] = []
  for (let rest = value; ; rest = Math.floor(rest / 128)) {
    if (rest < 128) return Buffer.from([...bytes, rest])
    bytes.push((rest % 128) | 128)
  }
}

/** The protobuf of a SUBSCRIBE in a gossipsub RPC. */
const subscription = (topic: string): Buffer => {
  const body = Buffer.concat([Buffer.from([0x08, 1, 0x12, topic.length]), Buffer.from(topic)])
  return Buffer.concat([Buffer.from([0x0a, body.length]), body])
}
