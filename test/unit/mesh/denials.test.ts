/**
 * Every denial of trust in one realm, a row each: what is tried, what it is refused with, and that nothing has changed by it.
 * What runs over real connections (mid-stream, doubles) is in governance.test.ts and test/e2e/duplicate.test.ts.
 */
import { beforeAll, beforeEach, describe, expect, test } from 'vitest'
import type { Advertisement } from '../../../src/base/advertisement.ts'
import { limits } from '../../../src/base/limits.ts'
import { silentLog } from '../../../src/base/log.ts'
import { silentMeter } from '../../../src/base/meter.ts'
import { createRefusals } from '../../../src/base/refusals.ts'
import type { Role } from '../../../src/base/standing.ts'
import { issueCertificate } from '../../../src/identity/certificate.ts'
import { amendRealm, type Realm } from '../../../src/identity/realm-document.ts'
import { signRevocation } from '../../../src/identity/revocation.ts'
import { createAccept, type Accept } from '../../../src/mesh/accept.ts'
import { createCertificates } from '../../../src/mesh/certificates.ts'
import { createIssuing, type Issuing } from '../../../src/mesh/issuing.ts'
import { openMember, type Member } from '../../../src/mesh/membership.ts'
import { createRealmNews } from '../../../src/mesh/realm-news.ts'
import { createView, type MeshView } from '../../../src/mesh/view.ts'
import { open } from '../../../src/net/envelope.ts'
import { openMemoryStore } from '../../../src/store/memory.ts'
import { createFakeClock, type FakeClock } from '../../fakes/clock.ts'
import { adOf, dayMs, keyOf, realmOf, recordOf, sealAccusation, sealAd, wallMs } from './peers.ts'

type Key = ReturnType<typeof keyOf>
const names = ['founder', 'junior', 'self', 'author', 'other', 'stranger'] as const
const [founder, junior, self, author, other, stranger] = names.map(keyOf) as [Key, Key, Key, Key, Key, Key]
const root = keyOf('root of lab')

/** Founder for every role, and after it a junior issuer for members. */
let realm: Realm
let foreign: Realm
beforeAll(async () => {
  const founded = await realmOf(founder)
  const issuers = [...founded.document.issuers, { peer: junior.peer, roles: ['member' as const] }]
  realm = await amendRealm(founded, root, { issuers }, wallMs)
  foreign = await realmOf(founder, 'elsewhere')
})

let clock: FakeClock
let view: MeshView
let accept: Accept
let member: Member
let issuing: Issuing
let news: ReturnType<typeof createRealmNews>
let doubles: number
let answered: number
let fetches: number

const certify = (
  issuer: Key,
  peer: string,
  change: { role?: Role; ttlMs?: number; realm?: string; atMs?: number } = {},
) =>
  issueCertificate({
    ...{ issuer, peer, realm: change.realm ?? realm.id, role: change.role ?? 'member' },
    ...{ wallMs: change.atMs ?? wallMs, ttlMs: change.ttlMs ?? dayMs },
  })
const adBy = async (key: Key, change: Partial<Advertisement> = {}, by = key) =>
  sealAd(by, adOf(key.peer, realm.id, change.certificate ?? (await certify(founder, key.peer)), change))
const accuse = async (accuser: Key, subject: string, change: { certificate?: string; incarnation?: number } = {}) =>
  sealAccusation(accuser, {
    ...{ realm: realm.id, subject, incarnation: change.incarnation ?? 5 },
    certificate: change.certificate ?? (await certify(founder, accuser.peer)),
  })
const revocation = (by: Key, peer: string, change: { version?: number; revoked?: boolean; sinceMs?: number } = {}) =>
  signRevocation(by, { realm: realm.id, peer, version: 1, revoked: true, sinceMs: wallMs, ...change })

/** A node that is an issuer itself (the founder's key), with `author` and `other` in its view. */
beforeEach(async () => {
  clock = createFakeClock({ wallMs })
  doubles = 0
  answered = 0
  fetches = 0
  const store = openMemoryStore()
  const common = { store, key: founder, clock, log: silentLog, limits }
  member = await openMember(
    {
      ...common,
      rootKey: async () => root,
      join: async () => ({ chain: realm.chain, certificate: await certify(founder, founder.peer, { role: 'admin' }) }),
    },
    {
      ...{ realm: undefined, bootstrap: [] },
      token: {
        ...{ tokenId: 'tk_1', realm: realm.id, realmName: 'lab', issuer: founder.peer, role: 'admin', seeds: [] },
        ...{ uses: 1, expiresAtMs: wallMs + 1, minVersion: 1 },
      },
    },
  )
  view = createView({ clock, limits, log: silentLog }, { peer: self.peer })
  const own = recordOf(self.peer, { incarnation: 3, sequence: 4 }, { issuedAtMs: clock.monotonicMs() })
  view.setSelf(own, () => own.ad)
  const refusals = createRefusals({ log: silentLog, meter: silentMeter, limits }, { metric: 'refusals' })
  accept = createAccept({
    ...{ view, clock, limits, net: { peer: self.peer, open }, realm: member.realm },
    certificates: createCertificates({ realm: member.realm, clock, limits }),
    onSelfHeard: () => answered++,
    onDouble: () => doubles++,
    onMembership() {},
  })
  issuing = createIssuing({ ...common, member, refusals })
  news = createRealmNews({ member, clock, limits, learnFrom: async () => void fetches++ })
  await accept.ad(await adBy(author, { incarnation: 5 }), 0)
  await accept.ad(await adBy(other, { incarnation: 5 }), 0)
})

/** All that a denied word could have changed. */
const state = () => ({
  seen: [...view.entries()].map((entry) => [entry.peer, entry.state, entry.ad.incarnation, entry.ad.sequence]),
  head: member.head(),
  out: [...member.realm().revoked.keys()],
  doubles,
  answered,
})

type Row = [what: string, attempt: () => Promise<unknown>, outcome: string | undefined]

const altered = (jws: string): string => jws.slice(0, -40) + (jws.at(-40) === 'A' ? 'B' : 'A') + jws.slice(-39)

const denies = (rows: Row[]) =>
  test.each(rows)('%s', async (_what, attempt, outcome) => {
    const before = state()
    const result = await attempt().catch((error: { code?: string }) => error.code)
    expect(result).toBe(outcome)
    expect(state()).toEqual(before)
  })

describe('a word is denied', () => {
  const word = (change: () => Promise<Partial<Advertisement>>, key = stranger) =>
    (async () => accept.ad(await adBy(key, await change()), 0)) satisfies () => Promise<unknown>
  denies([
    [
      'with an expired certificate',
      word(async () => ({ certificate: await certify(founder, stranger.peer, { atMs: wallMs - dayMs }) })),
      'CERTIFICATE_INVALID',
    ],
    ['for a foreign realm', word(async () => ({ realm: foreign.id })), 'REALM_MISMATCH'],
    [
      'with a certificate of a foreign realm',
      word(async () => ({ certificate: await certify(founder, stranger.peer, { realm: foreign.id }) })),
      'CERTIFICATE_INVALID',
    ],
    [
      'with a certificate by the wrong issuer: a member that is none',
      word(async () => ({ certificate: await certify(author, stranger.peer) })),
      'CERTIFICATE_INVALID',
    ],
    [
      'with a certificate by the wrong issuer: itself',
      word(async () => ({ certificate: await certify(stranger, stranger.peer) })),
      'CERTIFICATE_INVALID',
    ],
    [
      'with a role above the grants of its issuer',
      word(async () => ({ certificate: await certify(junior, stranger.peer, { role: 'admin' }) })),
      'CERTIFICATE_INVALID',
    ],
    [
      'with the certificate of another',
      word(async () => ({ certificate: await certify(founder, author.peer) })),
      'CERTIFICATE_INVALID',
    ],
    [
      'that another has left: a forged leave, signed by a member',
      async () => accept.ad(await adBy(author, { incarnation: 9, left: true }, other), 0),
      'INVALID_MESSAGE',
    ],
    [
      'of an old incarnation, replayed',
      async () => accept.ad(await adBy(author, { incarnation: 4, sequence: 99 }), 0),
      'stale',
    ],
    [
      'of an old incarnation that says that its author has left',
      async () => accept.ad(await adBy(author, { incarnation: 4, left: true }), 0),
      'stale',
    ],
    [
      'about this node that it has outgrown',
      async () => accept.ad(await adBy(self, { incarnation: 2, sequence: 99 }), 0),
      'self',
    ],
  ])
})

describe('an accusation is denied', () => {
  denies([
    [
      'by a stranger without a certificate of its own',
      async () =>
        accept.accusation(await accuse(stranger, author.peer, { certificate: await certify(founder, other.peer) }), 0),
      'CERTIFICATE_INVALID',
    ],
    [
      'by a stranger that certified itself',
      async () =>
        accept.accusation(
          await accuse(stranger, author.peer, { certificate: await certify(stranger, stranger.peer) }),
          0,
        ),
      'CERTIFICATE_INVALID',
    ],
    [
      'by a member whose certificate has expired',
      async () => {
        const certificate = await certify(founder, other.peer, { atMs: wallMs - dayMs })
        return accept.accusation(await accuse(other, author.peer, { certificate }), 0)
      },
      'CERTIFICATE_INVALID',
    ],
    ['by a peer of itself', async () => accept.accusation(await accuse(author, author.peer), 0), 'INVALID_MESSAGE'],
    [
      'of an older incarnation, replayed',
      async () => accept.accusation(await accuse(other, author.peer, { incarnation: 4 }), 0),
      'stale',
    ],
    [
      'of an incarnation that is yet to come',
      async () => accept.accusation(await accuse(other, author.peer, { incarnation: 6 }), 0),
      'stale',
    ],
    [
      'of an older incarnation of this node',
      async () => accept.accusation(await accuse(other, self.peer, { incarnation: 2 }), 0),
      'self',
    ],
  ])
})

describe('a realm document is denied', () => {
  denies([
    [
      'that is older: a lower version, replayed',
      async () => void (await member.learn(realm.chain.slice(0, 1))),
      undefined,
    ],
    [
      'that is forged: a version by a key that is no root',
      async () => {
        const other = await amendRealm(foreign, keyOf('root of elsewhere'), {}, wallMs)
        return member.learn([realm.chain[0]!, other.chain[1]!])
      },
      'REALM_DOCUMENT_INVALID',
    ],
    [
      'that is altered',
      async () => member.learn([...realm.chain.slice(0, -1), altered(realm.chain.at(-1)!)]),
      'REALM_DOCUMENT_INVALID',
    ],
    ['of a foreign realm', () => member.learn(foreign.chain), 'REALM_MISMATCH'],
  ])
})

test('heads with no document behind them are not passed on, and cost one fetch in a while', async () => {
  const { hash, realm: id } = member.head()
  expect(await news.head({ realm: id, version: 1, hash: 'e'.repeat(64) }, other.peer)).toBe('stale')
  expect(await news.head({ realm: id, version: 2, hash }, other.peer)).toBe('known')
  for (let version = 3; version < 9; version++)
    expect(await news.head({ realm: id, version, hash: 'f'.repeat(64) }, other.peer)).toBe('stale')
  expect(fetches).toBe(1)
  await clock.advance(limits.headPatienceMs)
  await news.head({ realm: id, version: 9, hash: 'f'.repeat(64) }, other.peer)
  expect(fetches).toBe(2)
})

describe('a revocation is denied', () => {
  denies([
    ['by a member that is no issuer', async () => news.revocation(await revocation(author, other.peer)), 'FORBIDDEN'],
    ['by a stranger', async () => news.revocation(await revocation(stranger, other.peer)), 'FORBIDDEN'],
    [
      'for a foreign realm',
      async () =>
        news.revocation(
          await signRevocation(founder, { realm: foreign.id, peer: other.peer, version: 1, revoked: true, sinceMs: 0 }),
        ),
      'REALM_MISMATCH',
    ],
    ['that is altered', async () => news.revocation(altered(await revocation(founder, other.peer))), 'INVALID_MESSAGE'],
  ])

  test('of the founder by a junior issuer, and the lifting of its own by one that is out, change nobody’s standing', async () => {
    await news.revocation(await revocation(junior, founder.peer))
    expect([...member.realm().revoked.keys()]).toEqual([])
    await news.revocation(await revocation(founder, junior.peer))
    await news.revocation(await revocation(junior, junior.peer, { version: 9, revoked: false }))
    await news.revocation(await revocation(junior, author.peer))
    expect([...member.realm().revoked.keys()]).toEqual([junior.peer])
  })

  test('that is older than what its issuer said since: replayed, it lifts nothing', async () => {
    const lifted = await revocation(founder, author.peer, { version: 1, revoked: false })
    await news.revocation(await revocation(founder, author.peer, { version: 2 }))
    expect(await news.revocation(lifted)).toBe('stale')
    expect(member.realm().revoked.has(author.peer)).toBe(true)
  })
})

describe('once a peer is revoked', () => {
  test('its words, its accusations, its renewal and its join are denied, with the reason', async () => {
    await member.hear([await revocation(founder, author.peer)])
    const reason = { code: 'CERTIFICATE_INVALID', message: expect.stringContaining('has been revoked') }
    await expect(accept.ad(await adBy(author, { incarnation: 6 }), 0)).rejects.toMatchObject(reason)
    await expect(accept.accusation(await accuse(author, other.peer), 0)).rejects.toMatchObject(reason)
    const membership = { peer: author.peer, realm: realm.id, role: 'member' as const, issuer: founder.peer }
    const renewal = issuing.renew({ ...membership, issuedAtMs: wallMs, expiresAtMs: wallMs + dayMs })
    await expect(renewal).rejects.toMatchObject(reason)
    const token = await issuing.invite({ uses: 1, ttlMs: 1_000, role: 'member' }, [
      { peer: founder.peer, addresses: ['/x'] },
    ])
    await expect(issuing.redeem(token, author.peer)).rejects.toMatchObject(reason)
    expect(view.get(other.peer)?.state).toBe('alive')
  })

  test('the word that is in the view already is denied when it comes again', async () => {
    const word = await adBy(author, { incarnation: 5 })
    expect(await accept.ad(word, 0, author.peer)).not.toBe('stale')
    await member.hear([await revocation(founder, author.peer)])
    await expect(accept.ad(word, 0, author.peer)).rejects.toMatchObject({ code: 'CERTIFICATE_INVALID' })
  })

  test('what a revoked issuer has issued since is denied, and what it had issued before holds', async () => {
    const before = await certify(junior, stranger.peer, { atMs: wallMs - 1 })
    const since = await certify(junior, author.peer)
    await member.hear([await revocation(founder, junior.peer)])
    expect(await accept.ad(await adBy(stranger, { certificate: before }), 0)).toBe('news')
    const word = await adBy(author, { certificate: since, incarnation: 6 })
    await expect(accept.ad(word, 0)).rejects.toMatchObject({ code: 'CERTIFICATE_INVALID' })
  })
})

describe('a token is denied', () => {
  const seeds = [{ peer: founder.peer, addresses: ['/ip4/127.0.0.1/tcp/1'] }]
  const invite = (uses = 1, ttlMs = 1_000) => issuing.invite({ uses, ttlMs, role: 'member' }, seeds)

  test('that is stolen and used up: another peer than the one that redeemed it gets nothing', async () => {
    const token = await invite()
    await issuing.redeem(token, author.peer)
    await expect(issuing.redeem(token, stranger.peer)).rejects.toMatchObject({ code: 'TOKEN_USED_UP' })
    await issuing.redeem(token, author.peer) // the answer may have been lost
  })

  test('after its expiry, even for the peer that redeemed it', async () => {
    const token = await invite(2)
    await issuing.redeem(token, author.peer)
    await clock.advance(1_000)
    for (const peer of [author.peer, stranger.peer])
      await expect(issuing.redeem(token, peer)).rejects.toMatchObject({ code: 'TOKEN_EXPIRED' })
  })

  test('by an issuer that did not make it, and for a role above what the issuer grants', async () => {
    const token = await invite()
    const elsewhere = createIssuing({
      ...{ key: junior, member, store: openMemoryStore(), clock, log: silentLog, limits },
      refusals: createRefusals({ log: silentLog, meter: silentMeter, limits }, { metric: 'refusals' }),
    })
    await expect(elsewhere.redeem(token, stranger.peer)).rejects.toMatchObject({ code: 'TOKEN_INVALID' })
    await member.learn((await amendRealm(realm, root, { issuers: realm.document.issuers.slice(1) }, wallMs)).chain)
    await expect(invite()).rejects.toMatchObject({ code: 'FORBIDDEN' })
  })
})
