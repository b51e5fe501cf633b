import { once } from 'node:events'
import { createServer, type AddressInfo } from 'node:net'
import { afterEach, describe, expect, test } from 'vitest'
import { decode } from '../../../src/base/codec.ts'
import { realmDocument, realmNews, realmPresent, shareDigests, viewSync } from '../../../src/mesh/methods.ts'
import { shareTopicOf } from '../../../src/mesh/share.ts'
import { openMemoryStore } from '../../../src/store/memory.ts'
import { createFederation, guestsSeenBy, name } from '../../support/federation.ts'
import { until, type MeshNode } from '../../support/mesh.ts'

const bed = createFederation()
afterEach(bed.dispose)

const codeOf = async (work: Promise<unknown>): Promise<string> => {
  try {
    await work
    return 'nothing'
  } catch (error) {
    return (error as { detail: { code: string } }).detail.code
  }
}
const connected = (a: MeshNode, b: MeshNode) => a.net.standingOf(b.net.peer) !== undefined
const pair = async () => {
  const [a] = await bed.realm('alpha', [{ name: 'a1' }])
  const [b] = await bed.realm('beta', [{ name: 'b1' }])
  return { a: a!, b: b! }
}
const linked = async (options: Parameters<typeof name>[2] = {}) => {
  const { a, b } = await pair()
  await name(a, b, options)
  await name(b, a, options)
  await until('both let the other in', () => connected(a, b) && connected(b, a))
  return { a, b }
}

describe('two realms', () => {
  test('that do not name each other are shut to each other', async () => {
    const { a, b } = await pair()
    await a.net.dial(b.net.peer, b.net.addresses())
    expect(await codeOf(a.mesh.connect(b.net.peer))).toBe('REALM_MISMATCH')
    expect(connected(b, a)).toBe(false)
  })

  test('of which one alone names the other are shut to each other', async () => {
    const { a, b } = await pair()
    await name(a, b)
    expect(await codeOf(a.mesh.connect(b.net.peer))).toBe('REALM_MISMATCH')
    await until('the connection is closed', () => !a.net.isConnected(b.net.peer))
    expect(await codeOf(b.net.dial(a.net.peer, a.net.addresses()).then(() => b.mesh.connect(a.net.peer)))).not.toBe(
      'nothing',
    )
    await until('neither lets the other in', () => !connected(a, b) && !connected(b, a))
    expect([guestsSeenBy(a), guestsSeenBy(b)]).toEqual(['', ''])
  })

  test('that name each other find each other by their cards and show what is shared', async () => {
    const { a, b } = await linked()
    await until('a sees b', () => guestsSeenBy(a) === 'b1:alive' && guestsSeenBy(b) === 'a1:alive')
    const seen = a.mesh.guests.get(b.net.peer)!
    expect(seen).toMatchObject({ level: 'cross-realm', realmName: 'beta', realm: b.mesh.realm().id, usable: true })
    expect(seen.ad).toMatchObject({ labels: {}, addresses: [], maxConcurrent: 8 })
    expect([...a.mesh.view.entries()].map(({ ad }) => ad.name)).toEqual(['a1'])
  })

  test('a grant is carried in the standing, with its scopes, its quota and the role of the guest', async () => {
    const { a, b } = await linked({ scopes: ['capacity', 'exec'], agentsPerNode: 3 })
    expect(a.mesh.standingOf(b.net.peer)).toEqual({
      kind: 'guest',
      by: 'realm',
      realm: b.mesh.realm().id,
      role: 'admin',
      scopes: ['capacity', 'exec'],
      agentsPerNode: 3,
    })
  })

  test('a guest without the scope capacity hears nothing, by gossip or by asking', async () => {
    const { a, b } = await linked({ scopes: ['exec'] })
    expect(await codeOf(a.net.rpc.call(b.net.peer, shareDigests, {}))).toBe('FORBIDDEN')
    b.capacity.running = 8
    b.mesh.advertise()
    expect(guestsSeenBy(a)).toBe('')
  })

  test('a guest is refused what is for members', async () => {
    const { a, b } = await linked({ scopes: ['capacity', 'exec', 'migrate'] })
    expect(await codeOf(a.net.rpc.call(b.net.peer, viewSync, {}))).toBe('FORBIDDEN')
  })

  test('a withdrawal ends it within two seconds, with what runs', async () => {
    const { a, b } = await linked()
    const gone = Promise.withResolvers<void>()
    a.net.onDisconnected(() => gone.resolve())
    await b.mesh.governance.withdraw('alpha')
    await until('b has put a out', () => !connected(b, a), 2_000)
    await gone.promise
    expect(await codeOf(a.mesh.connect(b.net.peer))).toBe('REALM_MISMATCH')
    await until('a forgets b', () => guestsSeenBy(a) === '')
  })

  test('a guest is not kept among the peers of the realm, which are dialled for ever', async () => {
    const store = openMemoryStore()
    const kept = () => new Map([...store.scan('peers')].map(([peer, bytes]) => [peer, decode(bytes, 'a peer')]))
    const seenAtMs = (peer: string) => (kept().get(peer) as { seenAtMs: number } | undefined)?.seenAtMs ?? 0
    const limits = { seedIntervalMs: 100, seedTickMs: 20 }
    const [a1, a2] = await bed.realm('alpha', [{ name: 'a1', store, limits }, { name: 'a2' }])
    const [b1] = await bed.realm('beta', [{ name: 'b1' }])
    await name(a1!, b1!)
    await name(b1!, a1!)
    await until('b1 is in', () => connected(a1!, b1!))
    const sinceMs = Date.now()
    await until('a round has passed', () => seenAtMs(a2!.net.peer) > sinceMs + limits.seedIntervalMs)
    expect([connected(a1!, b1!), [...kept().keys()]]).toEqual([true, [a2!.net.peer]])
  })

  test('a lessened grant puts the guest out, and it comes back with less', async () => {
    const { a, b } = await linked({ scopes: ['capacity', 'exec'] })
    let ended = false
    a.net.onDisconnected(() => (ended = true))
    await b.mesh.governance.share('alpha', { scopes: ['capacity'], agentsPerNode: 2 })
    await until('it was put out', () => ended, 2_000)
    await until('it is back', () => connected(b, a) && connected(a, b))
    expect(b.mesh.standingOf(a.net.peer)).toMatchObject({ scopes: ['capacity'] })
  })

  test('a larger grant counts at once, and puts nobody out', async () => {
    const { a, b } = await linked()
    let ended = false
    a.net.onDisconnected(() => (ended = true))
    await b.mesh.governance.share('alpha', { scopes: ['capacity', 'exec'], agentsPerNode: 5 })
    await until('it counts', () => {
      const standing = b.mesh.standingOf(a.net.peer)
      return standing?.kind === 'guest' && standing.scopes.length === 2 && standing.agentsPerNode === 5
    })
    expect(ended).toBe(false)
  })

  test('a guest that tells of documents which it does not hand over keeps no other news out', async () => {
    const [a] = await bed.realm('alpha', [{ name: 'a1' }])
    const [b1, b2] = await bed.realm('beta', [{ name: 'b1' }, { name: 'b2' }])
    await name(a!, b1!)
    await name(b1!, a!)
    await until('both are guests', () => connected(a!, b1!) && connected(a!, b2!) && connected(b2!, a!))
    const head = (n: number) => ({ realm: b1!.mesh.realm().id, version: 200, hash: `${n}`.padStart(64, 'f') })
    const told = Array.from({ length: 200 }, (_, n) =>
      b2!.net.rpc.call(a!.net.peer, realmNews, { head: head(n) }).catch(() => {}),
    )
    b2!.sleep()
    await b1!.mesh.governance.revoke(b2!.net.peer)
    await until('the liar is out by the word of its realm', () => !connected(a!, b2!), 2_000)
    b2!.wake()
    await Promise.all(told)
  })

  test('a guest is asked but once for a document that it does not have', async () => {
    const { a, b } = await linked()
    let asked = 0
    const { call } = a.net.rpc
    const counted: typeof call = (peer, method, ...rest) => {
      if (method.name === 'realm.document') asked++
      return call(peer, method, ...rest)
    }
    Object.assign(a.net.rpc, { call: counted })
    for (let n = 0; n < 50; n++)
      await b.net.rpc.call(a.net.peer, realmNews, {
        head: { realm: b.mesh.realm().id, version: 200, hash: `${n}`.padStart(64, 'f') },
      })
    expect(asked).toBe(1)
  })

  test('a node is not dialled at addresses on this host or this link that it names', async () => {
    let dialled = 0
    const trap = createServer(() => dialled++).listen(0, '127.0.0.2')
    await once(trap, 'listening')
    const { port } = trap.address() as AddressInfo
    const { a, b } = await linked()
    const announce = [`/ip4/127.0.0.2/tcp/${port}`, `/ip4/169.254.169.254/tcp/${port}`]
    const join = await b.mesh.invite({ uses: 1, ttlMs: 60_000, role: 'member' })
    const liar = await bed.node({ name: 'b2', join, announce, traits: { shareable: true, shareFraction: 1 } })
    await until('a has heard of it', () => a.mesh.guests.get(liar.net.peer)?.ad.addresses.length === 2)
    await liar.kill()
    await until('it is gone', () => !a.net.isConnected(liar.net.peer))
    expect(await codeOf(a.mesh.connect(liar.net.peer))).toBe('PEER_UNREACHABLE')
    expect(dialled).toBe(0)
    trap.close()
  })

  test('a peer that its own realm has revoked is put out as a guest within two seconds', async () => {
    const [a1, a2] = await bed.realm('alpha', [{ name: 'a1' }, { name: 'a2' }])
    const [b] = await bed.realm('beta', [{ name: 'b1' }])
    await name(a1!, b!)
    await name(b!, a1!)
    await until('a2 is a guest of b', () => connected(b!, a2!) && connected(b!, a1!))
    await a1!.mesh.governance.revoke(a2!.net.peer)
    await until('a2 is out', () => !connected(b!, a2!), 2_000)
    await until('and not shown', () => guestsSeenBy(b!) === 'a1:alive', 2_000)
    await until('a2 is told why', async () => (await codeOf(a2!.mesh.connect(b!.net.peer))) === 'CERTIFICATE_INVALID')
    expect(connected(b!, a2!)).toBe(false)
  })

  test('a guest whose certificate has run out is put out, and refused from then on', async () => {
    const [a] = await bed.realm('alpha', [{ name: 'a1', limits: { certificateTtlMs: 2_000 } }])
    const [b] = await bed.realm('beta', [{ name: 'b1' }])
    await name(a!, b!)
    await name(b!, a!)
    await until('a is a guest of b', () => connected(b!, a!))
    await until('it is out', () => !connected(b!, a!), 5_000)
    // b dials as well, and a would let it in: which of the two comes first is open.
    await until('a is told why', async () => (await codeOf(a!.mesh.connect(b!.net.peer))) === 'CERTIFICATE_INVALID')
    expect(connected(b!, a!)).toBe(false)
  })

  test('a certificate of a guest opens nothing to another node', async () => {
    const { a, b } = await linked()
    const thief = await bed.node({ name: 'thief', realm: 'gamma' })
    await thief.net.dial(b.net.peer, b.net.addresses())
    const { id, document, headHash } = a.mesh.realm()
    const shown = {
      certificate: a.mesh.view.self().ad.certificate,
      head: { realm: id, version: document.version, hash: headHash },
    }
    expect(await codeOf(thief.net.rpc.call(b.net.peer, realmPresent, shown))).toBe('CERTIFICATE_INVALID')
  })

  test('a realm that a friend of ours trusts is a stranger to us: nothing is transitive', async () => {
    const [a] = await bed.realm('alpha', [{ name: 'a1' }])
    const [b1, b2] = await bed.realm('beta', [{ name: 'b1' }, { name: 'b2' }])
    const [c] = await bed.realm('gamma', [{ name: 'c1' }])
    await name(a!, b1!)
    await name(b1!, a!)
    await name(c!, b1!)
    await name(b1!, c!)
    await until(
      'a and c see b',
      () => guestsSeenBy(a!) === 'b1:alive b2:alive' && guestsSeenBy(c!) === 'b1:alive b2:alive',
    )
    await until('b sees both', () => guestsSeenBy(b2!) === 'a1:alive c1:alive')
    for (const one of [a!, c!]) {
      one.capacity.running = 8
      one.mesh.advertise()
    }
    await until('b heard the news', () => [...b2!.mesh.guests.entries()].every(({ ad }) => ad.status === 'busy'))
    expect([guestsSeenBy(a!), guestsSeenBy(c!)]).toEqual(['b1:alive b2:alive', 'b1:alive b2:alive'])
    expect(await codeOf(a!.net.rpc.call(b1!.net.peer, realmDocument, { realm: c!.mesh.realm().id }))).toBe(
      'REALM_MISMATCH',
    )
  })
})

describe('what is shared', () => {
  test('is not passed on to a third realm that listens for it', async () => {
    const { a, b } = await linked()
    const [c] = await bed.realm('gamma', [{ name: 'c1' }])
    await name(a, c!)
    await name(c!, a)
    const heard: string[] = []
    const listen = (realm: MeshNode) =>
      c!.net.pubsub.subscribe(
        shareTopicOf(realm.mesh.realm().id),
        (_, from) => (heard.push(from), 'ignore'),
        () => true,
      )
    listen(b)
    await until('a and c are guests of each other', () => connected(a, c!) && connected(c!, a))
    await until(
      'c hears a on its topic, and a hears b',
      () => guestsSeenBy(c!) === 'a1:alive' && guestsSeenBy(a) !== '',
    )
    for (const load of [1, 0]) {
      b.capacity.running = load * 8
      b.mesh.advertise()
      const status = load === 1 ? 'busy' : 'available'
      await until('a hears b by gossip', () => a.mesh.guests.get(b.net.peer)?.ad.status === status)
    }
    // What a itself says afterwards comes by the same stream, so that what was passed on before it would be there.
    a.capacity.running = 8
    a.mesh.advertise()
    await until('c hears a', () => c!.mesh.guests.get(a.net.peer)?.ad.status === 'busy')
    expect(heard).toEqual([])
  })

  test('is the shared part of the slots, with announced addresses, without labels', async () => {
    const [a] = await bed.realm('alpha', [{ name: 'a1' }])
    const [b] = await bed.realm('beta', [
      {
        name: 'b1',
        traits: { shareFraction: 0.5, labels: { secret: 'yes' } },
        announce: ['/dns4/b.example.org/tcp/7374'],
      },
    ])
    await name(a!, b!)
    await name(b!, a!)
    await until('a sees b', () => guestsSeenBy(a!) === 'b1:alive')
    expect(a!.mesh.guests.get(b!.net.peer)!.ad).toMatchObject({
      maxConcurrent: 4,
      labels: {},
      addresses: ['/dns4/b.example.org/tcp/7374'],
    })
  })

  test('draining and leaving are told, and a node that left is not usable', async () => {
    const { a, b } = await linked()
    await until('a sees b', () => guestsSeenBy(a) === 'b1:alive')
    b.capacity.status = 'draining'
    b.mesh.advertise()
    await until('draining', () => a.mesh.guests.get(b.net.peer)?.ad.status === 'draining')
    await b.mesh.leave()
    await until('left', () => guestsSeenBy(a) === 'b1:left')
  })

  test('a node that is not shareable is never seen, whatever its realm and its guests do', async () => {
    const [a] = await bed.realm('alpha', [{ name: 'a1' }])
    const [b1, hidden] = await bed.realm('beta', [
      { name: 'b1' },
      { name: 'hidden', traits: { shareable: false, shareFraction: 0 } },
    ])
    await name(a!, b1!)
    await name(b1!, a!)
    await until('a sees b1', () => guestsSeenBy(a!) === 'b1:alive')
    await until('hidden has a as guest', () => connected(hidden!, a!) || guestsSeenBy(hidden!) === 'a1:alive')
    const { digests } = await a!.net.rpc.call(b1!.net.peer, shareDigests, {})
    expect(digests.map(({ peer }) => peer)).toEqual([b1!.net.peer])
    hidden!.capacity.running = 8
    hidden!.mesh.advertise()
    expect(guestsSeenBy(a!)).toBe('b1:alive')
  })
})
