/** The whole room over real sockets on loopback. */
import { afterEach, describe, expect, test } from 'vitest'
import type { Log } from '../../../src/base/log.ts'
import type { AuditEntry } from '../../../src/base/audit.ts'
import { limits } from '../../../src/base/limits.ts'
import { createNodeKey } from '../../../src/identity/node-key.ts'
import { downWaitMs } from '../../../src/mesh/records.ts'
import { startNet } from '../../../src/net/net.ts'
import { silentLog } from '../../../src/base/log.ts'
import { silentMeter } from '../../../src/base/meter.ts'
import { createRealClock } from '../../../src/node/real-clock.ts'
import { startMeshNode, statesSeenBy, until, type MeshNode, type MeshNodeOptions } from '../../support/mesh.ts'

const open: (() => Promise<void>)[] = []
afterEach(async () => {
  await Promise.allSettled(open.splice(0).map((close) => close()))
})

const start = async (options: MeshNodeOptions): Promise<MeshNode> => {
  const node = await startMeshNode(options)
  open.push(() => node.kill())
  return node
}

const found = (name = 'a', options: Partial<MeshNodeOptions> = {}) => start({ name, realm: 'lab', ...options })
const invite = (node: MeshNode, uses = 10, ttlMs = 60_000) => node.mesh.invite({ uses, ttlMs, role: 'member' })

const startThree = async (options: Partial<MeshNodeOptions> = {}): Promise<[MeshNode, MeshNode, MeshNode]> => {
  const a = await found('a', options)
  const token = await invite(a)
  const b = await start({ name: 'b', join: token, ...options })
  const c = await start({ name: 'c', join: token, ...options })
  await until('three equal views', () => allSee([a, b, c], 'a:alive b:alive c:alive'))
  return [a, b, c]
}

const allSee = (nodes: MeshNode[], states: string) => {
  const seen = nodes.map(statesSeenBy)
  return seen.every((one) => one === states) || seen
}

const code = (name: string) => expect.objectContaining({ code: name })

/** Collects the warnings of a node. */
const warnings = (): Log & { lines: { message: string; fields: Record<string, unknown> }[] } => {
  const lines: { message: string; fields: Record<string, unknown> }[] = []
  const warn: Log['warn'] = (message, fields = {}) => void lines.push({ message, fields })
  const log = { ...silentLog, lines, warn, child: () => log }
  return log
}

describe('joining', () => {
  test('three nodes join by a token alone and see the same', async () => {
    const [a, b, c] = await startThree()
    expect(b.mesh.realm().id).toBe(a.mesh.realm().id)
    expect(c.mesh.membership()).toMatchObject({ role: 'member', issuer: a.key.peer })
    expect([a.mesh.roleOf(b.key.peer), b.mesh.roleOf(a.key.peer), b.mesh.roleOf(c.key.peer)]).toEqual([
      'member',
      'admin',
      'member',
    ])
    await until('everybody connected', () => [a, b, c].every((node) => node.net.connected().length === 2))
  })

  test('nobody is refused where three join, and where one of them comes again', async () => {
    const refused: string[] = []
    const audit = { record: ({ action, reason }: AuditEntry) => void refused.push(`${action}: ${reason}`) }
    const a = await found('a', { audit })
    const token = await invite(a)
    const b = await start({ name: 'b', join: token, audit })
    const c = await start({ name: 'c', join: token, audit })
    await until('three equal views', () => allSee([a, b, c], 'a:alive b:alive c:alive'))
    await until('c remembers both', () => c.store.scan('peers').length === 2)
    await c.kill()
    const again = await start({ name: 'c', key: c.key, store: c.store, realm: 'lab', audit })
    await until('all are connected', () => [a, b, again].every((node) => node.net.connected().length === 2))
    const settled = Date.now() + 2 * Math.max(limits.syncSettleMs, limits.shareRealmSettleMs)
    await until('what a connection begins with is over', () => Date.now() > settled)
    expect(refused).toEqual([])
  })

  test('a token that is used up, has run out, or is of another realm lets nobody in', async () => {
    const a = await found()
    const elsewhere = await found('e', { realm: 'lab' })
    const once = await invite(a, 1)
    await start({ name: 'b', join: once })
    await expect(start({ name: 'c', join: once })).rejects.toEqual(code('TOKEN_USED_UP'))
    const short = await invite(a, 1, 1)
    const expired = Date.now() + 2
    await until('the token has run out', () => Date.now() > expired)
    await expect(start({ name: 'c', join: short })).rejects.toEqual(code('TOKEN_EXPIRED'))
    await expect(start({ name: 'c', realm: 'other', join: await invite(a) })).rejects.toEqual(code('REALM_MISMATCH'))
    const foreign = await invite(elsewhere)
    const b = await start({ name: 'd', join: await invite(a) })
    const store = b.store
    await b.kill()
    await expect(start({ name: 'd', key: b.key, store, join: foreign })).rejects.toEqual(code('REALM_MISMATCH'))
  })

  test('one use is one node, however many come at once', async () => {
    const a = await found()
    const token = await invite(a, 2)
    const tries = await Promise.allSettled(['b', 'c', 'd', 'e'].map((name) => start({ name, join: token })))
    expect(tries.filter((one) => one.status === 'fulfilled')).toHaveLength(2)
    for (const one of tries) if (one.status === 'rejected') expect(one.reason).toEqual(code('TOKEN_USED_UP'))
  })

  test('an issuer that does not answer is named, after trying for a while', async () => {
    const a = await found()
    const token = await invite(a)
    await a.kill()
    const brief = { joinTimeoutMs: 1_500 }
    await expect(start({ name: 'b', join: token, limits: brief })).rejects.toEqual(code('SEED_UNREACHABLE'))
  })

  test('a node without a token is told to join', async () => {
    const a = await found()
    const seed = `${a.net.addresses()[0]}/p2p/${a.key.peer}`
    await expect(start({ name: 'b', realm: 'lab', bootstrap: [seed] })).rejects.toEqual(code('JOIN_REQUIRED'))
    await expect(start({ name: 'b', bootstrap: ['/ip4/127.0.0.1/tcp/1'] })).rejects.toEqual(code('INVALID_ARGUMENT'))
  })

  test('only an issuer invites, and says who can', async () => {
    const [a, b] = await startThree()
    await expect(invite(b)).rejects.toMatchObject({ code: 'FORBIDDEN', message: expect.stringContaining(a.key.peer) })
  })

  test('what does not fit into an advertisement is refused at the start, by name', async () => {
    const labels = Object.fromEntries(Array.from({ length: 20 }, (_, index) => [`k${index}`, 'x'.repeat(100)]))
    await expect(found('a', { traits: { labels } })).rejects.toMatchObject({
      detail: { code: 'INVALID_ARGUMENT', field: 'labels' },
    })
  })
})

describe('strangers', () => {
  test('are disconnected when they show nothing, and told once in the log', async () => {
    const log = warnings()
    const a = await found('a', { log, limits: { admissionTimeoutMs: 300 } })
    const common = { limits, clock: createRealClock(), log: silentLog, meter: silentMeter }
    const stranger = await startNet({ ...common, key: createNodeKey() }, { listen: [] })
    open.push(() => stranger.close())
    for (let round = 0; round < 3; round++) {
      await stranger.dial(a.key.peer, a.net.addresses())
      await until('it is disconnected', () => a.net.connected().length === 0 && stranger.connected().length === 0)
    }
    expect(log.lines.filter(({ fields }) => fields['peer'] === stranger.peer)).toHaveLength(1)
  })

  test('a realm of the same name is another realm', async () => {
    const a = await found('a')
    const log = warnings()
    const seed = `${a.net.addresses()[0]}/p2p/${a.key.peer}`
    const e = await start({ name: 'e', realm: 'lab' })
    const again = { name: 'e', key: e.key, store: e.store, bootstrap: [seed], log }
    await e.kill()
    const other = await start(again)
    await until('it was refused', () => log.lines.some(({ fields }) => fields['code'] === 'REALM_MISMATCH'))
    await until('it is disconnected', () => other.net.connected().length === 0)
    expect(statesSeenBy(a)).toBe('a:alive')
    expect(statesSeenBy(other)).toBe('e:alive')
  })

  test('a peer whose certificate runs out is expelled', async () => {
    const a = await found('a', { limits: { certificateTtlMs: 3_000 } })
    const b = await start({ name: 'b', join: await invite(a) })
    await until('they see each other', () => allSee([a, b], 'a:alive b:alive'))
    await until('it is out', () => !a.net.isAdmitted(b.key.peer) && !a.net.isConnected(b.key.peer))
  })

  test('a certificate is renewed at half its life', async () => {
    const brief = { certificateTtlMs: 4_000, certificateCheckIntervalMs: 200 }
    const a = await found('a', { limits: brief })
    const b = await start({ name: 'b', join: await invite(a), limits: brief })
    const [first, firstOfA] = [b.mesh.membership().expiresAtMs, a.mesh.membership().expiresAtMs]
    await until(
      'both have new ones',
      () => b.mesh.membership().expiresAtMs > first && a.mesh.membership().expiresAtMs > firstOfA,
    )
    await until('the old ones are over', () => Date.now() > Math.max(first, firstOfA) + 500)
    expect(allSee([a, b], 'a:alive b:alive')).toBe(true)
    expect(a.net.isAdmitted(b.key.peer)).toBe(true)
  })
})

describe('coming and going', () => {
  test('who says good-bye is gone from every view within two seconds', async () => {
    const [a, b, c] = await startThree()
    const leaving = b.leave()
    expect(await until('b has left', () => allSee([a, c], 'a:alive b:left c:alive'))).toBeLessThan(2_000)
    await leaving
  })

  test('who dies without a word is down for all others within the bound', async () => {
    const [a, b, c] = await startThree()
    await b.kill()
    const bound =
      limits.failureThreshold * (limits.probeIntervalMs + limits.probeTimeoutMs) + downWaitMs(3, 2, limits) + 2_000
    await until('b is down', () => allSee([a, c], 'a:alive b:down c:alive'), bound)
    expect(a.mesh.view.get(b.key.peer)?.verdict?.accusers).toHaveLength(2)
  })

  test('a node that starts again is the same peer with a higher incarnation, and needs no token', async () => {
    const [a, b, c] = await startThree()
    const before = b.mesh.view.self().ad.incarnation
    await until('b remembers both', () => b.store.scan('peers').length === 2)
    await b.kill()
    const again = await start({ name: 'b', key: b.key, store: b.store, realm: 'lab' })
    await until('b is back', () => {
      const seen = [a, c].map((node) => node.mesh.view.get(b.key.peer)?.ad.incarnation ?? 0)
      return seen.every((incarnation) => incarnation > before) || seen
    })
    await until('equal views', () => allSee([a, again, c], 'a:alive b:alive c:alive'))
  })

  test('a node that was cut off comes back by itself and clears its name', async () => {
    const [a, b, c] = await startThree({ limits: { downWaitMs: 1_000 } })
    b.cut()
    await until('b is down for the others', () => allSee([a, c], 'a:alive b:down c:alive'))
    await until('the others are down for b', () => allSee([b], 'a:down b:alive c:down'), 20_000)
    b.heal()
    await until('all see all again', () => allSee([a, b, c], 'a:alive b:alive c:alive'))
    expect(b.mesh.view.self().ad.incarnation).toBeGreaterThan(1)
  }, 45_000)

  test('a node that was only stopped is down meanwhile and is told as soon as it answers, without gossip or sync', async () => {
    const [a, b, c] = await startThree({
      limits: { downWaitMs: 1_000, syncFirstIntervalMs: 60_000, syncIntervalMs: 60_000, recoveryTimeMs: 1_000 },
    })
    await until('everybody admitted', () =>
      [a, b, c].every((node) => node.net.connected().filter(node.net.isAdmitted).length === 2),
    )
    b.sleep()
    await until('b is down for the others', () => allSee([a, c], 'a:alive b:down c:alive'))
    const downForMs = () => a.mesh.view.get(b.key.peer)?.verdict?.sinceMs ?? 0
    await until('it has been down for a while', () => downForMs() > 4_000 || downForMs())
    expect(a.net.isConnected(b.key.peer)).toBe(true)
    b.wake()
    const tookMs = await until('all see all again', () => allSee([a, b, c], 'a:alive b:alive c:alive'))
    expect(tookMs).toBeLessThan(5_000)
    expect(b.mesh.view.self().ad.incarnation).toBeGreaterThan(1)
  }, 30_000)

  test('a change of capacity that matters is known to all at once, and one’s own view is never behind', async () => {
    const [a, b, c] = await startThree()
    Object.assign(b.capacity, { currentLoad: 1, running: 8 })
    expect(b.mesh.view.self().ad).toMatchObject({ running: 8, status: 'busy' })
    b.mesh.advertise()
    const seen = () => [a, c].every((node) => node.mesh.view.get(b.key.peer)?.ad.status === 'busy')
    expect(await until('all know', seen)).toBeLessThan(2_000)
    const order: number[] = []
    a.mesh.view.onChange((entry) => entry.peer === b.key.peer && order.push(entry.ad.running))
    for (const running of [7, 6, 5, 4, 3, 2]) {
      Object.assign(b.capacity, { running, currentLoad: running / 8 })
      b.mesh.advertise()
    }
    await until('the last state is told in the end', () => a.mesh.view.get(b.key.peer)?.ad.running === 2)
    expect(order.toSorted((x, y) => y - x)).toEqual(order)
  })

  test('a peer’s present state can be asked for, and is taken from an answer', async () => {
    const [a, b] = await startThree()
    Object.assign(b.capacity, { running: 3, currentLoad: 0.375 })
    await a.mesh.refresh(b.key.peer)
    expect(a.mesh.view.get(b.key.peer)?.ad.running).toBe(3)
    Object.assign(b.capacity, { running: 4, currentLoad: 0.5 })
    await a.mesh.acceptAd(await b.mesh.ownAd(), 0)
    expect(a.mesh.view.get(b.key.peer)?.ad.running).toBe(4)
    await expect(a.mesh.acceptAd(new Uint8Array([1]), 0)).rejects.toEqual(code('INVALID_MESSAGE'))
  })
})
