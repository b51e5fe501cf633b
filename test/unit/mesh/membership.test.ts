import { describe, expect, test } from 'vitest'
import { limits } from '../../../src/base/limits.ts'
import { silentLog } from '../../../src/base/log.ts'
import type { JoinToken } from '../../../src/identity/join-token.ts'
import { amendRealm } from '../../../src/identity/realm-document.ts'
import { openIncarnation } from '../../../src/mesh/incarnation.ts'
import { openMember, type Credentials, type MemberOptions } from '../../../src/mesh/membership.ts'
import { openMemoryStore } from '../../../src/store/memory.ts'
import type { Store } from '../../../src/store/store.ts'
import { createFakeClock } from '../../fakes/clock.ts'
import { certify, keyOf, realmOf, wallMs } from './peers.ts'

const founder = keyOf('founder')
const newcomer = keyOf('newcomer')
const rootKey = () => Promise.resolve(keyOf('root of lab'))

const tokenFor = async (change: Partial<JoinToken> = {}): Promise<JoinToken> => {
  const realm = await realmOf(founder)
  return {
    tokenId: 'tk_1',
    realm: realm.id,
    realmName: 'lab',
    issuer: founder.peer,
    role: 'member',
    seeds: [],
    uses: 1,
    expiresAtMs: wallMs + 1_000,
    minVersion: 1,
    ...change,
  }
}

const credentials = async (): Promise<Credentials> => {
  const realm = await realmOf(founder)
  return { chain: realm.chain, certificate: await certify(founder, realm, newcomer.peer) }
}

const start = (
  options: Partial<MemberOptions>,
  parts: {
    store?: Store
    key?: typeof founder
    join?: () => Promise<Credentials>
    clock?: ReturnType<typeof createFakeClock>
  } = {},
) => {
  const { store = openMemoryStore(), key = newcomer, join = credentials, clock = createFakeClock({ wallMs }) } = parts
  return openMember(
    { store, key, clock, log: silentLog, limits, rootKey, join },
    { realm: undefined, token: undefined, bootstrap: [], ...options },
  )
}

const never = () => Promise.reject(new Error('the token was used'))
const code = (name: string) => expect.objectContaining({ code: name })

describe('a fresh node', () => {
  test('founds a realm of the name that it is given, as its admin and issuer, and finds it again', async () => {
    const store = openMemoryStore()
    const member = await start({ realm: 'lab' }, { store, key: founder })
    expect(member.membership()).toMatchObject({ peer: founder.peer, role: 'admin', realm: member.realm().id })
    expect(member.grants()).toEqual(expect.arrayContaining(['admin', 'member', 'observer']))
    const again = await start({}, { store, key: founder })
    expect(again.realm().id).toBe(member.realm().id)
    expect(again.certificate()).toBe(member.certificate())
  })

  test('joins the realm of its token, and needs no token the next time', async () => {
    const store = openMemoryStore()
    const token = await tokenFor()
    const member = await start({ realm: 'lab', token }, { store })
    expect(member.membership()).toMatchObject({ role: 'member', issuer: founder.peer })
    expect((await start({ realm: 'lab' }, { store, join: never })).realm().id).toBe(token.realm)
  })

  test('with seeds and no token is told to join, and with nothing it is in no realm', async () => {
    const seed = '/ip4/10.0.0.1/tcp/7374/p2p/x'
    await expect(start({ realm: 'lab', bootstrap: [seed] })).rejects.toEqual(code('JOIN_REQUIRED'))
    expect((await start({})).isStandalone()).toBe(true)
  })

  test('takes no token of another realm than it was told, and sends it nowhere', async () => {
    await expect(start({ realm: 'other', token: await tokenFor() }, { join: never })).rejects.toEqual(
      code('REALM_MISMATCH'),
    )
  })

  test('takes no chain but that of the token’s realm, and none older than the token asks for', async () => {
    const store = openMemoryStore()
    const other = await tokenFor({ realm: 'f'.repeat(64) })
    await expect(start({ token: other }, { store })).rejects.toEqual(code('REALM_MISMATCH'))
    await expect(start({ token: await tokenFor({ minVersion: 2 }) }, { store })).rejects.toEqual(
      code('REALM_DOCUMENT_INVALID'),
    )
    expect(store.scan('realm')).toEqual([])
  })

  test('takes no certificate that is not for itself', async () => {
    const realm = await realmOf(founder)
    const wrong = async () => ({ chain: realm.chain, certificate: await certify(founder, realm, founder.peer) })
    await expect(start({ token: await tokenFor() }, { join: wrong })).rejects.toEqual(code('CERTIFICATE_INVALID'))
  })
})

describe('a member', () => {
  const joined = async () => {
    const store = openMemoryStore()
    await start({ token: await tokenFor() }, { store })
    return store
  }

  test('does not use another token of its realm', async () => {
    const member = await start({ token: await tokenFor() }, { store: await joined(), join: never })
    expect(member.membership().role).toBe('member')
  })

  test('does not become one of another realm, by name or by token', async () => {
    const store = await joined()
    await expect(start({ realm: 'other' }, { store })).rejects.toEqual(code('REALM_MISMATCH'))
    const token = await tokenFor({ realm: 'f'.repeat(64) })
    await expect(start({ token }, { store, join: never })).rejects.toEqual(code('REALM_MISMATCH'))
  })

  test('whose certificate has run out is refused without a token and joins again with one', async () => {
    const store = await joined()
    const clock = createFakeClock({ wallMs: wallMs + limits.certificateTtlMs })
    await expect(start({}, { store, clock })).rejects.toEqual(code('CERTIFICATE_INVALID'))
    const realm = await realmOf(founder)
    const join = async () => ({
      chain: realm.chain,
      certificate: await certify(founder, realm, newcomer.peer, 2 * limits.certificateTtlMs),
    })
    const member = await start({ token: await tokenFor() }, { store, clock, join })
    expect(member.membership().expiresAtMs).toBeGreaterThan(clock.wallMs())
  })

  test('that is an issuer itself gives itself a new certificate when its own has run out', async () => {
    const store = openMemoryStore()
    await start({ realm: 'lab' }, { store, key: founder })
    const clock = createFakeClock({ wallMs: wallMs + limits.certificateTtlMs })
    const member = await start({}, { store, key: founder, clock })
    expect(member.membership()).toMatchObject({ role: 'admin', issuedAtMs: clock.wallMs() })
  })

  test('takes up a newer realm document durably, and no older or foreign one', async () => {
    const store = await joined()
    const member = await start({}, { store })
    const before = member.realm()
    const newer = await amendRealm(before, keyOf('root of lab'), { settings: { a: 1 } }, wallMs)
    await member.learn(newer.chain)
    await member.learn(before.chain)
    expect(member.realm().headHash).toBe(newer.headHash)
    expect((await start({}, { store })).head()).toMatchObject({ realm: before.id, version: 2, hash: newer.headHash })
    const foreign = await realmOf(founder, 'elsewhere')
    await expect(member.learn(foreign.chain)).rejects.toEqual(code('REALM_MISMATCH'))
  })
})

describe('the incarnation', () => {
  test('is higher with each start and on disk before it counts', async () => {
    const store = openMemoryStore()
    expect((await openIncarnation(store)).current()).toBe(1)
    const second = await openIncarnation(store)
    expect(second.current()).toBe(2)
    expect(await Promise.all([second.raise(7), second.raise(3), second.raise(8)])).toEqual([8, 8, 9])
    expect((await openIncarnation(store)).current()).toBe(10)
  })

  test('that cannot be kept is not used', async () => {
    const store = openMemoryStore()
    const incarnation = await openIncarnation(store)
    const failing = await openIncarnation({ ...store, commit: (writes) => store.commit(writes) })
    expect(failing.current()).toBe(2)
    await store.close()
    await expect(failing.raise(5)).rejects.toBeDefined()
    expect(failing.current()).toBe(2)
    expect(incarnation.current()).toBe(1)
  })
})
