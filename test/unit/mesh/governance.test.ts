/** Who is in, who issues and who is out, on nodes over real sockets. */
import { mkdtemp, rm } from 'node:fs/promises'
import { tmpdir } from 'node:os'
import { dirname, join } from 'node:path'
import { Type } from 'typebox'
import { afterEach, describe, expect, test } from 'vitest'
import { encode } from '../../../src/base/codec.ts'
import { silentLog, type Log } from '../../../src/base/log.ts'
import { createNodeKey, loadOrCreateKey } from '../../../src/identity/node-key.ts'
import { amendRealm, rootName } from '../../../src/identity/realm-document.ts'
import { createRootKeys } from '../../../src/identity/root-keys.ts'
import { topicOf } from '../../../src/mesh/gossip.ts'
import { bind, streaming, unary } from '../../../src/net/method.ts'
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
const code = (name: string) => expect.objectContaining({ code: name })

const lines = (): Log & { said: { message: string; fields: Record<string, unknown> }[] } => {
  const said: { message: string; fields: Record<string, unknown> }[] = []
  const keep: Log['warn'] = (message, fields = {}) => void said.push({ message, fields })
  const log = { ...silentLog, said, warn: keep, error: keep, child: () => log }
  return log
}

const rootKey = createNodeKey()

/** A founder `a` and others, all connected with all. */
const startRealm = async (names: string[], options: Partial<MeshNodeOptions> = {}): Promise<MeshNode[]> => {
  const a = await start({ name: 'a', realm: 'lab', rootKey, ...options })
  const token = await a.mesh.invite({ uses: 10, ttlMs: 60_000, role: 'member' })
  const others: MeshNode[] = []
  for (const name of names) others.push(await start({ name, join: token, ...options }))
  const all = [a, ...others]
  await until('everybody is admitted everywhere', () =>
    all.every((node) => all.every((other) => other === node || node.net.isAdmitted(other.key.peer))),
  )
  const states = all.map(({ name }) => `${name}:alive`).join(' ')
  await until('equal views', () => all.every((node) => statesSeenBy(node) === states) || all.map(statesSeenBy))
  return all
}

const ticks = streaming({
  name: 'test.ticks',
  request: Type.Object({}),
  response: Type.Integer(),
  incoming: Type.Null(),
})
const hello = unary({ name: 'test.hello', request: Type.Object({}), response: Type.String() })

/** Counts for ever, until its reader is gone. */
async function* counting(signal: AbortSignal) {
  for (let count = 0; !signal.aborted; count++) {
    yield count
    await new Promise((resolve) => setTimeout(resolve, 5))
  }
}

describe('a revoked peer', () => {
  test('is told to the operator of whoever was revoked, until it is lifted', async () => {
    const [a, b] = await startRealm(['b'])
    await a!.mesh.governance.revoke(b!.key.peer)
    await until('it is out', () => !b!.net.isAdmitted(a!.key.peer))
    await b!.mesh.connect(a!.key.peer).catch(() => {})
    const isTold = () =>
      b!.mesh.notes().some((note) => note.includes('does not hold') || note.includes('is refused by'))
    await until('the note', () => isTold() || b!.mesh.notes())
    expect(b!.mesh.notes().join()).toContain('revoked')
    await a!.mesh.governance.lift(b!.key.peer)
    await until('back', async () => {
      await b!.mesh.connect(a!.key.peer).catch(() => {})
      return b!.net.isAdmitted(a!.key.peer) && !isTold()
    })
  })

  test('is out everywhere within two seconds, mid-stream, and whoever lent it something is told', async () => {
    const [a, b, c] = (await startRealm(['b', 'c'])) as [MeshNode, MeshNode, MeshNode]
    const out: string[] = []
    for (const node of [a, c]) node.mesh.onRevoked((peer) => out.push(`${node.name}:${peer}`))
    let ended = 0
    for (const node of [a, c])
      node.net.rpc.register([
        bind(ticks, (_, { signal }) => {
          signal.addEventListener('abort', () => ended++)
          return counting(signal)
        }),
        bind(hello, () => 'hello'),
      ])
    let got = 0
    const readers = [a, c].map(async (node) => {
      for await (const _ of b.net.rpc.stream(node.key.peer, ticks, {})) got++
    })
    const endings = Promise.allSettled(readers)
    await expect(b.net.rpc.call(c.key.peer, hello, {})).resolves.toBe('hello')
    await until('both streams run', () => got > 20 && ended === 0)

    await a.mesh.governance.revoke(b.key.peer)
    const tookMs = await until(
      'it is out at both',
      () =>
        [a, c].every(
          (node) => !node.net.isConnected(b.key.peer) && node.mesh.view.get(b.key.peer) === undefined && ended === 2,
        ),
      2_000,
    )
    expect(tookMs).toBeLessThan(2_000)
    expect((await endings).map(({ status }) => status)).toEqual(['rejected', 'rejected'])
    expect(out.toSorted()).toEqual([`a:${b.key.peer}`, `c:${b.key.peer}`])
    expect(c.mesh.governance.revocations()).toMatchObject([{ peer: b.key.peer, by: a.key.peer }])
  })

  test('is refused when it comes back with its old certificate, and told why', async () => {
    const [a, b] = (await startRealm(['b'])) as [MeshNode, MeshNode]
    await b.kill()
    await a.mesh.governance.revoke(b.key.peer)
    const log = lines()
    const seed = `${a.net.addresses()[0]}/p2p/${a.key.peer}`
    const again = await start({ name: 'b', key: b.key, store: b.store, bootstrap: [seed], log })
    await until('it was told why', () =>
      log.said.some(
        ({ message, fields }) =>
          message === 'was refused by a peer' &&
          fields['code'] === 'CERTIFICATE_INVALID' &&
          String(fields['reason']).includes('has been revoked'),
      ),
    )
    await until('its connection is closed', () => a.net.connected().length === 0)
    expect(a.mesh.view.get(again.key.peer)).toBeUndefined()
  })

  test('does not come in again by a replay of its words, by sync or by gossip', async () => {
    const [a, b, c] = (await startRealm(['b', 'c'])) as [MeshNode, MeshNode, MeshNode]
    const word = await b.mesh.ownAd()
    await a.mesh.governance.revoke(b.key.peer)
    await until('it is out at c', () => c.mesh.view.get(b.key.peer) === undefined, 2_000)
    await expect(c.mesh.acceptAd(word, 0)).rejects.toEqual(code('CERTIFICATE_INVALID'))
    await c.net.pubsub.publish(topicOf(c.mesh.realm().id), encode({ kind: 'ad', envelope: word }))
    await expect(c.mesh.connect(b.key.peer)).rejects.toEqual(code('CERTIFICATE_INVALID'))
    expect([a, c].map((node) => node.mesh.view.get(b.key.peer))).toEqual([undefined, undefined])
  })

  test('is out as well at a node that was away when it was said, as soon as that is back, and after a restart', async () => {
    const [a, b, c] = (await startRealm(['b', 'c'])) as [MeshNode, MeshNode, MeshNode]
    c.cut()
    await until('c is cut off', () => c.net.connected().length === 0)
    await a.mesh.governance.revoke(b.key.peer)
    c.heal()
    await until('c knows it', () => c.mesh.governance.revocations().length === 1)
    await until('b is out at c', () => !c.net.isConnected(b.key.peer) && c.mesh.view.get(b.key.peer) === undefined)
    await c.kill()
    const again = await start({ name: 'c', key: c.key, store: c.store })
    expect(again.mesh.realm().revoked.has(b.key.peer)).toBe(true)
  })

  test('is let in again when it is lifted, by the one who revoked it', async () => {
    const [a, b] = (await startRealm(['b'])) as [MeshNode, MeshNode]
    await a.mesh.governance.revoke(b.key.peer)
    await until('it is out', () => !a.net.isAdmitted(b.key.peer), 2_000)
    await a.mesh.governance.lift(b.key.peer)
    expect(a.mesh.governance.revocations()).toEqual([])
    await until('it is back', () => a.mesh.view.get(b.key.peer)?.state === 'alive')
    await expect(a.mesh.governance.lift(b.key.peer)).rejects.toEqual(code('NOT_FOUND'))
  })

  test('hears that it is out from whoever refuses it, starts all the same, and is back once that is lifted', async () => {
    const [a, b] = (await startRealm(['b'])) as [MeshNode, MeshNode]
    await a.mesh.governance.revoke(b.key.peer)
    await until('it knows', () => b.mesh.realm().revoked.has(b.key.peer))
    expect(b.mesh.notes()).toContainEqual(expect.stringMatching(/has been revoked .* No member talks to it/))
    await b.kill()
    const bootstrap = [`${a.net.addresses()[0]}/p2p/${a.key.peer}`]
    const out = await start({ name: 'b', key: b.key, store: b.store, bootstrap })
    await expect(out.mesh.connect(a.key.peer)).rejects.toEqual(code('CERTIFICATE_INVALID'))
    expect([a.mesh.view.get(b.key.peer), a.net.isAdmitted(b.key.peer)]).toEqual([undefined, false])
    await out.kill()
    await a.mesh.governance.lift(b.key.peer)
    const back = await start({ name: 'b', key: b.key, store: b.store, bootstrap })
    expect(back.mesh.realm().revoked.has(b.key.peer)).toBe(true)
    await until('it is back', () => a.mesh.view.get(b.key.peer)?.state === 'alive')
    await until('it knows that', () => !back.mesh.realm().revoked.has(b.key.peer))
    expect(back.mesh.notes()).toEqual([])
  })

  test('takes those along whose certificates it issued since, and no others', async () => {
    const [a, b] = (await startRealm(['b'])) as [MeshNode, MeshNode]
    await a.mesh.governance.promote(b.key.peer, ['member'])
    await until('b may invite', () => b.mesh.realm().document.issuers.length === 2, 2_000)
    const token = await b.mesh.invite({ uses: 1, ttlMs: 60_000, role: 'member' })
    const d = await start({ name: 'd', join: token })
    const e = await start({ name: 'e', join: await a.mesh.invite({ uses: 1, ttlMs: 60_000, role: 'member' }) })
    await until('all are in', () => a.net.isAdmitted(d.key.peer) && e.net.isAdmitted(d.key.peer))
    await a.mesh.governance.revoke(b.key.peer, { sinceMs: d.mesh.membership().issuedAtMs })
    await until('both are out', () => statesSeenBy(a) === 'a:alive e:alive' || statesSeenBy(a), 2_000)
    await until('at e too', () => statesSeenBy(e) === 'a:alive e:alive' || statesSeenBy(e), 2_000)
    expect([a, e].some((node) => node.net.isAdmitted(d.key.peer))).toBe(false)
  })
})

describe('who may revoke', () => {
  test('is an issuer, for others than itself; anybody else is told who can', async () => {
    const [a, b, c] = (await startRealm(['b', 'c'])) as [MeshNode, MeshNode, MeshNode]
    await expect(b.mesh.governance.revoke(c.key.peer)).rejects.toMatchObject({
      code: 'FORBIDDEN',
      message: expect.stringContaining(a.key.peer),
    })
    await expect(a.mesh.governance.revoke(a.key.peer)).rejects.toEqual(code('CONFLICT'))
    await expect(a.mesh.governance.revoke('nobody')).rejects.toEqual(code('INVALID_ARGUMENT'))
    expect([a, b].every((node) => node.net.isAdmitted(c.key.peer))).toBe(true)
  })

  test('is no promoted issuer against the founder, and the founder overrules it', async () => {
    const [a, b, c] = (await startRealm(['b', 'c'])) as [MeshNode, MeshNode, MeshNode]
    await a.mesh.governance.promote(b.key.peer, ['admin', 'member'])
    await until('b is an issuer', () => b.mesh.realm().document.issuers.length === 2, 2_000)
    await expect(b.mesh.governance.revoke(a.key.peer)).rejects.toEqual(code('FORBIDDEN'))
    await b.mesh.governance.revoke(c.key.peer)
    await until('c is out at a', () => a.mesh.realm().revoked.has(c.key.peer), 2_000)
    await a.mesh.governance.lift(c.key.peer)
    await until('c is in again at b', () => !b.mesh.realm().revoked.has(c.key.peer), 2_000)
    await b.mesh.governance.revoke(c.key.peer)
    expect(b.mesh.realm().revoked.has(c.key.peer)).toBe(true)
    await expect(c.mesh.governance.lift(c.key.peer)).rejects.toBeDefined()
  })
})

describe('the realm document', () => {
  test('changed at the founder is everywhere within two seconds, and by nobody without a root key', async () => {
    const bySyncTooLate = { syncFirstIntervalMs: 60_000, syncIntervalMs: 60_000 }
    const [a, b, c] = (await startRealm(['b', 'c'], { limits: bySyncTooLate })) as [MeshNode, MeshNode, MeshNode]
    await expect(b.mesh.governance.promote(c.key.peer, ['member'])).rejects.toMatchObject({
      code: 'FORBIDDEN',
      message: expect.stringContaining('root key'),
    })
    await expect(a.mesh.governance.promote(createNodeKey().peer, ['member'])).rejects.toEqual(code('NOT_FOUND'))
    await Promise.all([
      a.mesh.governance.promote(b.key.peer, ['member']),
      a.mesh.governance.promote(c.key.peer, ['observer']),
    ])
    await until('all know', () => [b, c].every((node) => node.mesh.realm().headHash === a.mesh.realm().headHash), 2_000)
    expect(a.mesh.realm().document).toMatchObject({ version: 3 })
    await a.mesh.governance.promote(b.key.peer, ['member'])
    expect(a.mesh.realm().document.version).toBe(3)
  })

  test('a head that nobody has the document for goes no further than one hop', async () => {
    const [a, b] = (await startRealm(['b'])) as [MeshNode, MeshNode]
    const head = { realm: a.mesh.realm().id, version: 99, hash: 'f'.repeat(64) }
    await b.net.pubsub.publish(topicOf(head.realm), encode({ kind: 'head', envelope: encode(head) }))
    await a.mesh.governance.promote(b.key.peer, ['member'])
    await until('what is true goes on spreading', () => b.mesh.realm().document.version === 2, 2_000)
    expect(a.mesh.realm().document.version).toBe(2)
  })

  test('an issuer that is demoted issues no more, and those whom it let in stay', async () => {
    const [a, b] = (await startRealm(['b'])) as [MeshNode, MeshNode]
    await a.mesh.governance.promote(b.key.peer, ['member'])
    await until('b is an issuer', () => b.mesh.realm().document.issuers.length === 2, 2_000)
    const d = await start({ name: 'd', join: await b.mesh.invite({ uses: 1, ttlMs: 60_000, role: 'member' }) })
    await until('d is in', () => a.net.isAdmitted(d.key.peer))
    await a.mesh.governance.demote(b.key.peer)
    await until('b knows', () => b.mesh.realm().document.version === 3, 2_000)
    await expect(b.mesh.invite({ uses: 1, ttlMs: 60_000, role: 'member' })).rejects.toEqual(code('FORBIDDEN'))
    await until('d stays', () => a.mesh.view.get(d.key.peer)?.state === 'alive')
    expect(a.net.isAdmitted(d.key.peer)).toBe(true)
    await expect(a.mesh.governance.demote(a.key.peer)).rejects.toEqual(code('CONFLICT'))
    await expect(a.mesh.governance.demote(d.key.peer)).rejects.toEqual(code('NOT_FOUND'))
  })

  test('a rotated root signs on, and the old one signs nothing that anybody takes', async () => {
    const path = join(await mkdtemp(join(tmpdir(), 'godel-root-')), 'root.key')
    open.push(() => rm(dirname(path), { recursive: true, force: true }))
    const first = await loadOrCreateKey(path)
    let crash = false
    const files = createRootKeys(path)
    const adopt = () => (crash ? Promise.reject(new Error('the process ends here')) : files.adopt())
    const [a, b] = (await startRealm(['b'], { rootKey: first, roots: { ...files, adopt } })) as [MeshNode, MeshNode]
    const before = a.mesh.realm()
    const { roots: names } = await a.mesh.governance.rotateRoot()
    expect(names).toHaveLength(1)
    expect(names).not.toContain(rootName(first))
    await expect(amendRealm(a.mesh.realm(), first, {}, Date.now())).rejects.toEqual(code('FORBIDDEN'))
    // A crash between the document and the exchange of the files leaves a root that signs.
    crash = true
    await expect(a.mesh.governance.rotateRoot()).rejects.toBeDefined()
    crash = false
    await a.mesh.governance.promote(b.key.peer, ['member'])
    await until('b follows', () => b.mesh.realm().document.version === 4, 2_000)
    expect(b.mesh.realm().id).toBe(before.id)
    const twice = await Promise.all([a.mesh.governance.rotateRoot(), a.mesh.governance.rotateRoot()])
    expect(twice[1].roots).toEqual([rootName(await loadOrCreateKey(path))])
    expect(twice[1].roots).not.toEqual(twice[0].roots)
  })

  test('puts peers out where the node that holds the root is no issuer, and what an issuer said outlives its office', async () => {
    const [a, b, c, d] = (await startRealm(['b', 'c', 'd'])) as [MeshNode, MeshNode, MeshNode, MeshNode]
    await a.mesh.governance.revoke(d.key.peer)
    await a.mesh.governance.promote(b.key.peer, ['admin', 'member', 'observer'])
    await a.mesh.governance.demote(a.key.peer)
    await a.mesh.governance.revoke(c.key.peer)
    await until('both are out at b', () => statesSeenBy(b) === 'a:alive b:alive' || statesSeenBy(b), 2_000)
    expect(b.mesh.governance.revocations().map(({ peer, by }) => [peer, by])).toEqual([
      [d.key.peer, 'root'],
      [c.key.peer, 'root'],
    ])
    await expect(b.mesh.governance.lift(c.key.peer)).rejects.toEqual(code('FORBIDDEN'))
    await a.mesh.governance.lift(c.key.peer)
    await until('c is back', () => b.mesh.view.get(c.key.peer)?.state === 'alive')
  })
})

describe('a second issuer', () => {
  test('lets a newcomer in and renews certificates while the founder is stopped', async () => {
    const limits = { certificateTtlMs: 8_000, certificateCheckIntervalMs: 200, renewRetryMs: 200 }
    const [a, b, c] = (await startRealm(['b', 'c'], { limits })) as [MeshNode, MeshNode, MeshNode]
    await a.mesh.governance.promote(b.key.peer, ['member'])
    await until('all know', () => [b, c].every((node) => node.mesh.realm().document.version === 2), 2_000)
    await a.leave()
    const token = await b.mesh.invite({ uses: 1, ttlMs: 60_000, role: 'member' })
    const d = await start({ name: 'd', join: token, limits })
    expect(d.mesh.membership().issuer).toBe(b.key.peer)
    await until('d and c know each other', () => c.net.isAdmitted(d.key.peer))
    const before = c.mesh.membership()
    await until('c has a new certificate, by b', () => c.mesh.membership().issuer === b.key.peer, 8_000)
    expect(c.mesh.membership().expiresAtMs).toBeGreaterThan(before.expiresAtMs)
    await until('b renews itself', () => b.mesh.membership().issuer === b.key.peer, 8_000)
    expect(statesSeenBy(c)).toContain('b:alive c:alive d:alive')
  }, 40_000)

  test('is asked for when the second admin joins, and a certificate that nobody renews is told of', async () => {
    const log = lines()
    const a = await start({ name: 'a', realm: 'lab', rootKey, log })
    const token = await a.mesh.invite({ uses: 1, ttlMs: 60_000, role: 'admin' })
    const limits = { certificateCheckIntervalMs: 100, renewRetryMs: 100 }
    const logB = lines()
    const b = await start({ name: 'b', join: token, limits, log: logB })
    expect(log.said).toContainEqual({
      message: 'a second admin has joined',
      fields: { peer: b.key.peer, question: expect.stringContaining(`realm promote ${b.key.peer} --role admin`) },
    })
    await until('the report asks too', () => a.mesh.notes().some((note) => note.includes(b.key.peer)))
    await a.mesh.governance.promote(b.key.peer, ['admin', 'member', 'observer'])
    expect(a.mesh.notes()).toEqual([])
  })

  test('missing at the end of a certificate is said aloud', async () => {
    const limits = { certificateTtlMs: 4_000, certificateCheckIntervalMs: 100, renewRetryMs: 100, renewTimeoutMs: 300 }
    const log = lines()
    const a = await start({ name: 'a', realm: 'lab', rootKey, limits })
    const token = await a.mesh.invite({ uses: 1, ttlMs: 60_000, role: 'member' })
    const b = await start({ name: 'b', join: token, limits, log })
    await a.kill()
    await until('it is told', () => b.mesh.notes().some((note) => note.includes(a.key.peer)))
    expect(log.said.filter(({ message }) => message.startsWith('no issuer'))).toHaveLength(1)
    await until('its end is told', () => b.mesh.notes().some((note) => note.includes('does not hold: it has expired')))
  })
})
