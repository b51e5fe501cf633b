/**
 * A peer that speaks libp2p well and everything above it as a test wants: requests byte by byte, frames that are none,
 * gossip that nobody would publish. With a certificate it is a member, without one a stranger.
 */
import { privateKeyFromRaw } from '@libp2p/crypto/keys'
import type { Libp2p, Stream } from '@libp2p/interface'
import { noise } from '@libp2p/noise'
import { peerIdFromString } from '@libp2p/peer-id'
import { tcp } from '@libp2p/tcp'
import { yamux } from '@libp2p/yamux'
import { multiaddr } from '@multiformats/multiaddr'
import { createLibp2p } from 'libp2p'
import { decode, encode } from '../../src/base/codec.ts'
import { createNodeKey, type NodeKey } from '../../src/identity/node-key.ts'
import { verifyChain } from '../../src/identity/realm-document.ts'
import { seal } from '../../src/net/envelope.ts'
import {
  createFrameReader,
  frameHeaderBytes,
  Kind,
  readRequest,
  requestBytes,
  writeHead,
  writeRequest,
} from '../../src/net/frame.ts'
import { waitFor } from './wait.ts'

export interface RawRequest {
  name: string
  payload: Uint8Array
  stream?: boolean
  /** Items to send after a stream request, as they are. */
  items?: readonly Uint8Array[]
}

/** What came of a request: how the node ended it, with the first item of a stream as the value. */
export type Outcome = { end: 'answer'; value: unknown } | { end: 'error'; code: string } | { end: 'closed' }

export interface RawPeer {
  readonly peer: string
  readonly key: NodeKey
  readonly connected: boolean
  /** The names of the requests that the node has sent to it. */
  readonly asked: string[]
  /** What it answers to requests of the node, by name; nothing to all others. */
  readonly answers: Record<string, unknown>
  /** Told of every answer and refusal, as bytes. */
  tap: ((body: Buffer) => void) | undefined
  /** How many connections it has. */
  readonly connections: number
  /** Opens a stream of its own, on the connection that there is or on a new one. */
  open(protocol: string): Promise<Stream>
  /** Sends one request on the session, opened when there is none. */
  ask(request: RawRequest): Promise<Outcome>
  seal(domain: string, payload: Uint8Array): Promise<Uint8Array>
  /** From now on takes gossip; gives what came by then, as it came. */
  hearGossip(): Promise<() => Buffer>
  /** Opens a connection beside those that there are. */
  dialAgain(): Promise<void>
  /** Cuts its connections, as a program that ends does. */
  hangUp(): Promise<void>
  stop(): Promise<void>
}

export const frame = (kind: number, call: number, body: Uint8Array): Buffer => {
  const bytes = Buffer.alloc(frameHeaderBytes + body.byteLength)
  bytes.set(body, writeHead(bytes, 0, bytes.length, kind, call))
  return bytes
}

/** A REQUEST frame; the node gives up on it after some seconds, so that no handler waits for ever. */
export const requestFrame = (call: number, { name, payload, stream = false, items }: RawRequest): Buffer => {
  const size = requestBytes(name, payload)
  const bytes = Buffer.alloc(size)
  const outgoing = items !== undefined
  const head = { stream, outgoing, version: 1, timeoutMs: 5_000, creditBytes: 2 ** 31, name, payload }
  writeRequest(bytes, writeHead(bytes, 0, size, Kind.request, call), head)
  return bytes
}

export const startRawPeer = async (
  target: { peer: string; address: string },
  key: NodeKey = createNodeKey(),
): Promise<RawPeer> => {
  const privateKey = privateKeyFromRaw(Buffer.concat([key.seed, key.publicKey]))
  const host: Libp2p = await createLibp2p({
    privateKey,
    transports: [tcp()],
    connectionEncrypters: [noise()],
    streamMuxers: [yamux()],
    connectionManager: { reconnectRetries: 0 },
  })
  const address = multiaddr(`${target.address}/p2p/${target.peer}`)
  const connections = () =>
    host.getConnections(peerIdFromString(target.peer)).filter((connection) => connection.status === 'open')
  const open = (protocol: string): Promise<Stream> =>
    waitFor(
      `a stream of ${protocol}`,
      async () => {
        const connection = connections().at(-1) ?? (await host.dial(address))
        return connection.newStream(protocol, { maxOutboundStreams: 1_000 }) // fails when the node closes at that moment
      },
      { everyMs: 10 },
    )

  let session: Stream | undefined
  const waiting = new Map<number, { value?: unknown; settle: (outcome: Outcome) => void }>()
  let lastCall = 0

  const asked: string[] = []
  const answers: Record<string, unknown> = {}
  const onRequest = (call: number, body: Buffer) => {
    const { name } = readRequest(body)
    asked.push(name)
    if (name in answers) session?.send(frame(Kind.response, call, encode(answers[name])))
  }

  const onFrame = (kind: number, call: number, body: Buffer) => {
    if (kind === Kind.request) return onRequest(call, body)
    if (kind !== Kind.calleeCredit) raw.tap?.(body)
    const sent = waiting.get(call)
    if (sent === undefined) return
    if (kind === Kind.item) return void (sent.value ??= decode(body))
    if (kind === Kind.response) sent.settle({ end: 'answer', value: decode(body) })
    if (kind === Kind.end) sent.settle({ end: 'answer', value: sent.value })
    if (kind === Kind.error) sent.settle({ end: 'error', code: (decode(body) as { code: string }).code })
  }

  const openSession = async (): Promise<Stream> => {
    const opened = await open('/godel/rpc/1')
    const reader = createFrameReader(2 ** 24, onFrame)
    opened.addEventListener('message', (event) => reader.push(event.data.subarray()))
    opened.addEventListener('close', () => {
      if (session === opened) session = undefined
      for (const one of [...waiting.values()]) one.settle({ end: 'closed' })
    })
    return opened
  }

  const raw: RawPeer = {
    asked,
    answers,
    tap: undefined,
    peer: key.peer,
    key,
    get connected() {
      return connections().length > 0
    },
    get connections() {
      return connections().length
    },
    open,
    async ask(request) {
      session ??= await openSession()
      const call = ++lastCall
      const outcome = new Promise<Outcome>((settle) => waiting.set(call, { settle }))
      const items = (request.items ?? []).map((item) => frame(Kind.incoming, call, item))
      const end = request.items === undefined ? [] : [frame(Kind.incomingEnd, call, new Uint8Array(0))]
      session.send(Buffer.concat([requestFrame(call, request), ...items, ...end]))
      return outcome.finally(() => waiting.delete(call))
    },
    seal: (domain, payload) => seal(privateKey, domain, payload),
    async hearGossip() {
      const heard: Uint8Array[] = []
      await host.handle('/meshsub/1.2.0', (stream) => {
        stream.addEventListener('message', (event) => heard.push(event.data.subarray()))
      })
      return () => Buffer.concat(heard)
    },
    async dialAgain() {
      await host.dial(address, { force: true })
    },
    async hangUp() {
      for (const connection of connections()) connection.abort(new Error('the program has ended'))
      await waitFor('the connections are closed', () => connections().length === 0)
    },
    stop: async () => host.stop(),
  }
  return raw
}

export interface Credentials {
  certificate: string
  /** The newest realm document, as `realm.present` names it. */
  head: { realm: string; version: number; hash: string }
}

/** Joins the realm by its token. */
export const join = async (peer: RawPeer, token: string): Promise<Credentials> => {
  const joined = await peer.ask({ name: 'realm.join', payload: encode({ token }) })
  if (joined.end !== 'answer') throw new Error(`the raw peer was not let in: ${JSON.stringify(joined)}`)
  const { certificate, chain } = joined.value as { certificate: string; chain: string[] }
  const { id, document, headHash } = await verifyChain(chain)
  return { certificate, head: { realm: id, version: document.version, hash: headHash } }
}

/** Shows its certificate, so that it is admitted; what it is shown. */
export const present = async (peer: RawPeer, credentials: unknown): Promise<unknown> => {
  const shown = await peer.ask({ name: 'realm.present', payload: encode(credentials) })
  if (shown.end !== 'answer') throw new Error(`the raw peer was not admitted: ${JSON.stringify(shown)}`)
  return shown.value
}

const varint = (value: number): Buffer => {
  const bytes: number[] = []
  for (let rest = value; ; rest = Math.floor(rest / 128)) {
    if (rest < 128) return Buffer.from([...bytes, rest])
    bytes.push((rest % 128) | 128)
  }
}

const field = (tag: number, bytes: Uint8Array): Buffer =>
  Buffer.concat([Buffer.of(tag), varint(bytes.byteLength), bytes])

/** One gossipsub RPC that publishes messages on a topic, with its length before it. */
export const gossipRpc = (topic: string, messages: readonly Uint8Array[]): Buffer => {
  const name = field(0x22, Buffer.from(topic))
  const body = Buffer.concat(messages.map((data) => field(0x12, Buffer.concat([field(0x12, data), name]))))
  return Buffer.concat([varint(body.length), body])
}

/** One gossipsub RPC that subscribes to a topic, asks to be among those it is sent to, and has and wants messages there. */
export const gossipControl = (
  topic: string,
  { has, wants }: { has: readonly Uint8Array[]; wants: readonly Uint8Array[] },
): Buffer => {
  const name = Buffer.from(topic)
  const subscription = field(0x0a, Buffer.concat([Buffer.of(0x08, 1), field(0x12, name)]))
  const ihave = field(0x0a, Buffer.concat([field(0x0a, name), ...has.map((id) => field(0x12, id))]))
  const iwant = field(0x12, Buffer.concat(wants.map((id) => field(0x0a, id))))
  const graft = field(0x1a, field(0x0a, name))
  const body = Buffer.concat([subscription, field(0x1a, Buffer.concat([ihave, iwant, graft]))])
  return Buffer.concat([varint(body.length), body])
}
