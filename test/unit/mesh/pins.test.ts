import { afterEach, describe, expect, test } from 'vitest'
import { createNodeKey } from '../../../src/identity/node-key.ts'
import { nodeShown, shareDigests, sharePull, viewSync } from '../../../src/mesh/methods.ts'
import { openMemoryStore } from '../../../src/store/memory.ts'
import type { Scope } from '../../../src/base/standing.ts'
import { createFederation, guestsSeenBy } from '../../support/federation.ts'
import { until, type MeshNode } from '../../support/mesh.ts'

const bed = createFederation()
afterEach(bed.dispose)

const detailOf = async (work: Promise<unknown>): Promise<{ code: string; reason?: string; action?: string }> => {
  try {
    await work
    return { code: 'nothing' }
  } catch (error) {
    return (error as { detail: { code: string; reason?: string; action?: string } }).detail
  }
}
const connected = (a: MeshNode, b: MeshNode) => a.net.standingOf(b.net.peer) !== undefined
const pin = (here: MeshNode, there: MeshNode, scopes: Scope[] = ['capacity', 'exec'], agentsPerNode = 2) =>
  here.mesh.pins.register({ peer: there.net.peer, addresses: there.net.addresses(), scopes, agentsPerNode })

describe('a pinned node', () => {
  test('comes in where both sides have pinned, with the scopes of the pin, and is shown as unregistered', async () => {
    const [a] = await bed.realm('alpha', [{ name: 'a1' }])
    const loner = await bed.node({ name: 'loner', traits: { labels: { secret: 'yes' } } })
    await pin(a!, loner, ['capacity', 'exec'], 3)
    await pin(loner, a!, ['capacity'])
    await until('each sees the other', () => guestsSeenBy(a!) === 'loner:alive' && guestsSeenBy(loner) === 'a1:alive')
    expect(a!.mesh.standingOf(loner.net.peer)).toEqual({
      kind: 'guest',
      by: 'pin',
      realm: undefined,
      scopes: ['capacity', 'exec'],
      agentsPerNode: 3,
    })
    const seen = a!.mesh.guests.get(loner.net.peer)!
    expect(seen).toMatchObject({ level: 'unregistered', realm: undefined, realmName: undefined, usable: true })
    expect(seen.ad).toMatchObject({ labels: {}, maxConcurrent: 8, addresses: [] })
    expect((await detailOf(loner.net.rpc.call(a!.net.peer, viewSync, {}))).code).toBe('FORBIDDEN')
    expect(a!.mesh.pins.list()).toMatchObject([{ peer: loner.net.peer, name: 'loner', connected: true }])
  })

  test('is not told what the other nodes of the realm share, whatever its scopes', async () => {
    const [a1, a2] = await bed.realm('alpha', [{ name: 'a1' }, { name: 'a2' }])
    const loner = await bed.node({ name: 'loner' })
    await pin(a1!, loner, ['capacity', 'exec', 'migrate'])
    await pin(loner, a1!)
    await until('it is in', () => connected(a1!, loner) && connected(loner, a1!))
    const { call } = loner.net.rpc
    const digests = call(a1!.net.peer, shareDigests, {})
    const pulled = call(a1!.net.peer, sharePull, { peers: [a1!.net.peer, a2!.net.peer] })
    expect([(await detailOf(digests)).code, (await detailOf(pulled)).code]).toEqual(['FORBIDDEN', 'FORBIDDEN'])
  })

  test('is refused with a clear word where one side alone has pinned', async () => {
    const [a] = await bed.realm('alpha', [{ name: 'a1' }])
    const loner = await bed.node({ name: 'loner' })
    await pin(a!, loner)
    const detail = await detailOf(a!.mesh.connect(loner.net.peer))
    expect(detail.code).toBe('NOT_A_MEMBER')
    expect(detail.reason).toContain('federation register')
    expect([connected(a!, loner), connected(loner, a!)]).toEqual([false, false])
  })

  test('is never told to others: a third node of the realm does not hear of it', async () => {
    const [a1, a2] = await bed.realm('alpha', [{ name: 'a1' }, { name: 'a2' }])
    const loner = await bed.node({ name: 'loner' })
    await pin(a1!, loner)
    await pin(loner, a1!)
    await until('a1 sees it', () => guestsSeenBy(a1!) === 'loner:alive' && guestsSeenBy(loner) === 'a1:alive')
    await until('a2 has synced', () => a2!.mesh.view.alive().length === 2)
    a1!.mesh.advertise()
    loner.mesh.advertise()
    await a2!.mesh.refresh(a1!.net.peer)
    expect([...a2!.mesh.guests.entries(), ...a2!.mesh.pins.list()]).toEqual([])
    expect([...a1!.mesh.view.entries()].map(({ ad }) => ad.name).toSorted()).toEqual(['a1', 'a2'])
    expect((await detailOf(a2!.net.rpc.call(a1!.net.peer, nodeShown, {}))).code).toBe('FORBIDDEN')
  })

  test('of another realm keeps its level and its rights: its pin records where it is, and lets nobody in', async () => {
    const [a] = await bed.realm('alpha', [{ name: 'a1' }])
    const [b] = await bed.realm('beta', [{ name: 'b1' }])
    await pin(a!, b!)
    await pin(b!, a!)
    await until('the realm is recorded', () => a!.mesh.pins.list()[0]?.realm === b!.mesh.realm().id)
    expect(connected(a!, b!)).toBe(false)
    expect(guestsSeenBy(a!)).toBe('')
  })

  test('is out within two seconds when the pin ends, and the pin outlives a restart otherwise', async () => {
    const store = openMemoryStore()
    const key = createNodeKey()
    const [a] = await bed.realm('alpha', [{ name: 'a1', store, key }])
    const loner = await bed.node({ name: 'loner' })
    await pin(a!, loner)
    await pin(loner, a!)
    await until('they meet', () => connected(a!, loner) && connected(loner, a!))
    await a!.kill()
    const again = await bed.node({ name: 'a1', store, key })
    await until('they meet again', () => connected(again, loner))
    await again.mesh.pins.unregister(loner.net.peer)
    await until('it is out', () => !connected(again, loner) && guestsSeenBy(again) === '', 2_000)
    expect((await detailOf(again.mesh.pins.unregister(loner.net.peer))).code).toBe('NOT_FOUND')
  })

  test('cannot be this node itself, nor more than there is room for', async () => {
    const a = await bed.node({ name: 'a1', limits: { pinsMax: 1 } })
    expect((await detailOf(pin(a, a))).code).toBe('INVALID_ARGUMENT')
    const one = { addresses: [], scopes: [], agentsPerNode: 1 }
    await a.mesh.pins.register({ ...one, peer: createNodeKey().peer })
    expect((await detailOf(a.mesh.pins.register({ ...one, peer: createNodeKey().peer }))).code).toBe('QUEUE_FULL')
  })
})

describe('a node without a realm', () => {
  test('invites nobody and governs nothing', async () => {
    const loner = await bed.node({ name: 'loner' })
    expect(loner.mesh.isStandalone()).toBe(true)
    expect(await detailOf(loner.mesh.invite({ uses: 1, ttlMs: 1_000, role: 'member' }))).toEqual({
      code: 'REALM_REQUIRED',
      action: 'inviting',
    })
    expect((await detailOf(loner.mesh.governance.card())).code).toBe('REALM_REQUIRED')
    expect((await detailOf(loner.mesh.governance.revoke(createNodeKey().peer))).code).toBe('REALM_REQUIRED')
  })

  test('lets nobody in that it has not pinned', async () => {
    const [one, two] = [await bed.node({ name: 'one' }), await bed.node({ name: 'two' })]
    await one.net.dial(two.net.peer, two.net.addresses())
    expect((await detailOf(one.mesh.connect(two.net.peer))).code).toBe('NOT_A_MEMBER')
    expect(connected(two, one)).toBe(false)
  })

  test('joins a realm later on with its own identity, and its pins', async () => {
    const store = openMemoryStore()
    const key = createNodeKey()
    const loner = await bed.node({ name: 'loner', store, key })
    await loner.mesh.pins.register({ peer: createNodeKey().peer, addresses: [], scopes: [], agentsPerNode: 1 })
    await loner.kill()
    const [a] = await bed.realm('alpha', [{ name: 'a1' }])
    const join = await a!.mesh.invite({ uses: 1, ttlMs: 60_000, role: 'member' })
    const member = await bed.node({ name: 'loner', store, key, join, realm: 'alpha' })
    expect(member.mesh.isStandalone()).toBe(false)
    expect(member.net.peer).toBe(key.peer)
    expect(member.mesh.realm().id).toBe(a!.mesh.realm().id)
    expect(member.mesh.pins.list()).toHaveLength(1)
    await until('a1 sees it', () => a!.mesh.view.get(key.peer)?.state === 'alive')
  })

  test('stays without one at the next start, founds one by its name, and keeps to that', async () => {
    const store = openMemoryStore()
    const key = createNodeKey()
    const first = await bed.node({ name: 'loner', store, key })
    const id = first.mesh.realm().id
    await first.kill()
    const second = await bed.node({ name: 'loner', store, key })
    expect([second.mesh.isStandalone(), second.mesh.realm().id]).toEqual([true, id])
    await second.kill()
    expect(
      (
        await detailOf(
          bed.node({ name: 'loner', store, key, bootstrap: [`/ip4/127.0.0.1/tcp/1/p2p/${createNodeKey().peer}`] }),
        )
      ).code,
    ).toBe('JOIN_REQUIRED')
    const third = await bed.node({ name: 'loner', store, key, realm: 'lab' })
    expect([third.mesh.isStandalone(), third.mesh.realm().name]).toEqual([false, 'lab'])
    await third.kill()
    expect((await bed.node({ name: 'loner', store, key })).mesh.realm().name).toBe('lab')
  })
})
