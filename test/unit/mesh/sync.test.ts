import fc from 'fast-check'
import { afterEach, beforeAll, describe, expect, test } from 'vitest'
import { encode, decode } from '../../../src/base/codec.ts'
import { limits, type Limits } from '../../../src/base/limits.ts'
import { silentLog } from '../../../src/base/log.ts'
import { silentMeter } from '../../../src/base/meter.ts'
import { createAccept } from '../../../src/mesh/accept.ts'
import { createCertificates } from '../../../src/mesh/certificates.ts'
import type { Realm } from '../../../src/identity/realm-document.ts'
import { createBuckets, differing, wants } from '../../../src/mesh/digest.ts'
import { createRefusals } from '../../../src/base/refusals.ts'
import { startSync, type Sync } from '../../../src/mesh/sync.ts'
import { createView, type MeshView } from '../../../src/mesh/view.ts'
import { open } from '../../../src/net/envelope.ts'
import type { BoundMethod, Rpc } from '../../../src/net/method.ts'
import { createFakeClock } from '../../fakes/clock.ts'
import { adOf, certify, keyOf, realmOf, recordOf, sealAccusation, sealAd, wallMs } from './peers.ts'

interface Node {
  view: MeshView
  sync: Sync
  learn(name: string, change?: Parameters<typeof adOf>[3], ageMs?: number): Promise<void>
  accuse(accuser: string, subject: string, incarnation: number): Promise<void>
}

const founder = keyOf('founder')
const clock = createFakeClock({ wallMs })
let realm: Realm
const certificates = new Map<string, string>()
const nodes = new Map<string, Node>()
const callsTo = { count: 0 }

beforeAll(async () => {
  realm = await realmOf(founder)
})
afterEach(() => {
  for (const node of nodes.values()) node.sync.close()
  nodes.clear()
  callsTo.count = 0
})

const certificateOf = async (name: string): Promise<string> => {
  const { peer } = keyOf(name)
  const certificate = certificates.get(name) ?? (await certify(founder, realm, peer))
  certificates.set(name, certificate)
  return certificate
}

/** Calls run through the schemas and the codec of the wire, without a wire. */
const rpcOf = (from: string): Rpc => ({
  async call(peer, method, request) {
    callsTo.count++
    const node = nodes.get(peer)!
    const bound = node.sync.methods.find((one) => one.method.name === method.name) as BoundMethod
    const heard = method.parseRequest(decode(encode(request)))
    const context = { peer: from, signal: new AbortController().signal, incoming: [] }
    const answer = encode(await bound.handle(heard as never, context as never))
    expect(answer.byteLength).toBeLessThanOrEqual(method.responseBytesMax)
    return method.parseResponse(decode(answer))
  },
  stream: () => {
    throw new Error('no method of a sync is a stream')
  },
  register() {},
})

const startNode = async (name: string, change: Partial<Limits> = {}): Promise<Node> => {
  const bounds: Limits = { ...limits, ...change }
  const key = keyOf(name)
  const view = createView({ clock, limits: bounds, log: silentLog }, { peer: key.peer })
  const refusals = createRefusals({ log: silentLog, meter: silentMeter, limits }, { metric: 'refusals' })
  const net = { peer: key.peer, open, rpc: rpcOf(key.peer) }
  const judged = createCertificates({ realm: () => realm, clock, limits })
  const accept = createAccept({
    net,
    realm: () => realm,
    view,
    certificates: judged,
    clock,
    limits,
    onSelfHeard() {},
    onMembership() {},
    onDouble() {},
  })
  const head = { realm: realm.id, version: 1, hash: realm.headHash }
  const sync = startSync({
    net,
    view,
    accept,
    refusals,
    clock,
    log: silentLog,
    meter: silentMeter,
    limits: bounds,
    random: () => 0.5,
    partners: () => [],
    head: () => head,
    onHead: () => Promise.resolve(),
  })
  const learn: Node['learn'] = async (other, ad = {}, ageMs = 0) => {
    const words = adOf(keyOf(other).peer, realm.id, await certificateOf(other), { name: other, ...ad })
    await accept.ad(await sealAd(keyOf(other), words), ageMs)
  }
  const own = adOf(key.peer, realm.id, await certificateOf(name), { name })
  const envelope = await sealAd(key, own)
  view.setSelf(recordOf(key.peer, own, { ad: own, envelope, issuedAtMs: clock.monotonicMs() }), () => own)
  const accuse: Node['accuse'] = async (accuser, subject, incarnation) => {
    const words = {
      realm: realm.id,
      subject: keyOf(subject).peer,
      incarnation,
      certificate: await certificateOf(accuser),
    }
    await accept.accusation(await sealAccusation(keyOf(accuser), words), 0)
  }
  const node = { view, sync, learn, accuse }
  nodes.set(key.peer, node)
  return node
}

const seen = (node: Node): string[] =>
  [...node.view.entries()]
    .map((entry) => `${entry.ad.name} ${entry.ad.incarnation}.${entry.ad.sequence} ${entry.state}`)
    .toSorted()

describe('a sync', () => {
  test('makes two views one, whichever side has what', async () => {
    const a = await startNode('a')
    const b = await startNode('b')
    await a.learn('c', { sequence: 5 })
    await b.learn('c', { sequence: 2 })
    await b.learn('d', { incarnation: 3 })
    await b.learn('e', { left: true })
    await a.sync.withPeer(keyOf('b').peer)
    expect(seen(a)).toEqual(seen(b))
    expect(seen(a)).toEqual(['a 1.1 alive', 'b 1.1 alive', 'c 1.5 alive', 'd 3.1 alive', 'e 1.1 left'])
  })

  test('of equal views is one call', async () => {
    const a = await startNode('a')
    await startNode('b')
    await a.sync.withPeer(keyOf('b').peer)
    callsTo.count = 0
    await a.sync.withPeer(keyOf('b').peer)
    expect(callsTo.count).toBe(1)
  })

  test('goes through in pages however small they are', async () => {
    const small = { syncEntriesPerPage: 2, syncDigestsPerPage: 3, syncBytesPerPage: 3_000, syncBuckets: 4 }
    const a = await startNode('a', small)
    const b = await startNode('b', small)
    for (let index = 0; index < 10; index++) await a.learn(`only a ${index}`.replaceAll(' ', '-'))
    for (let index = 0; index < 10; index++) await b.learn(`only b ${index}`.replaceAll(' ', '-'))
    await a.sync.withPeer(keyOf('b').peer)
    expect(seen(a)).toHaveLength(22)
    expect(seen(a)).toEqual(seen(b))
  })

  test('hands accusations on, and a third comes to the same verdict, having counted most of the wait itself', async () => {
    const a = await startNode('a')
    const b = await startNode('b')
    await a.learn('s')
    await a.accuse('x', 's', 1)
    await a.accuse('y', 's', 1)
    await clock.advance(10_000)
    await b.learn('s', {}, 10_000)
    await b.sync.withPeer(keyOf('a').peer)
    const counted = { sinceMs: limits.accusationAgeMsMax }
    expect(b.view.get(keyOf('s').peer)).toMatchObject({ state: 'suspect', verdict: counted })
    await clock.advance(limits.downWaitMs)
    b.view.sweep()
    expect(b.view.get(keyOf('s').peer)).toMatchObject({ state: 'down' })
  })

  test('adds up the ages, and never hands on what has expired', async () => {
    const a = await startNode('a')
    const b = await startNode('b')
    await a.learn('old', { ttlMs: 60_000 }, 1_000)
    await clock.advance(20_000)
    await b.sync.withPeer(keyOf('a').peer)
    expect(b.view.get(keyOf('old').peer)?.ageMs).toBe(21_000)
    const c = await startNode('c')
    await clock.advance(39_000)
    a.view.sweep()
    await c.sync.withPeer(keyOf('a').peer)
    expect(c.view.get(keyOf('old').peer)).toBeUndefined()
  })

  test('cannot bring an expired word back', async () => {
    const a = await startNode('a')
    const b = await startNode('b')
    await a.learn('old', { ttlMs: 20_000 })
    await b.learn('old', { ttlMs: 20_000 })
    await clock.advance(20_000)
    a.view.sweep()
    const replayed = b.view.record(keyOf('old').peer)!
    a.view.merge({ ...replayed, issuedAtMs: clock.monotonicMs() })
    expect(a.view.get(keyOf('old').peer)?.state).toBe('down')
  })
})

describe('digests', () => {
  const digest = fc.record({
    peer: fc.constant(keyOf('p').peer),
    incarnation: fc.integer({ min: 1, max: 3 }),
    sequence: fc.integer({ min: 1, max: 3 }),
    left: fc.boolean(),
    accusers: fc.constantFrom(0, 7, 9),
  })

  test('two that differ are wanted by at least one side, and equal ones by none', () => {
    fc.assert(
      fc.property(digest, digest, (a, b) => {
        const equal = JSON.stringify(a) === JSON.stringify(b)
        expect(wants(a, b) || wants(b, a)).toBe(!equal)
      }),
      { numRuns: 2_000 },
    )
  })

  test('a bucket has another hash as soon as anything that is handed on differs', () => {
    const [record] = [recordOf(keyOf('p').peer)]
    const hashesOf = (records: (typeof record)[]) => {
      const buckets = createBuckets(8)
      for (const one of records) buckets.replace(undefined, one)
      return buckets.hashes()
    }
    const base = hashesOf([record])
    for (const changed of [recordOf(record.peer, { sequence: 2 }), recordOf(record.peer, { left: true })])
      expect(differing(base, hashesOf([changed]))).toHaveLength(1)
    expect(differing(base, hashesOf([recordOf(record.peer, {}, { issuedAtMs: 9 })]))).toEqual([])
  })
})
