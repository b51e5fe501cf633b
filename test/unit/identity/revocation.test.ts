import fc from 'fast-check'
import { beforeAll, describe, expect, test } from 'vitest'
import { GodelError } from '../../../src/base/errors.ts'
import { limits } from '../../../src/base/limits.ts'
import { issueCertificate, verifyCertificate } from '../../../src/identity/certificate.ts'
import { createNodeKey } from '../../../src/identity/node-key.ts'
import { amendRealm, foundRealm, withRevocations, type Realm } from '../../../src/identity/realm-document.ts'
import {
  keepRevocations,
  readRevocation,
  signRevocation,
  standingRevocations,
  type Revocation,
  type RevocationRules,
} from '../../../src/identity/revocation.ts'
import { forge, openUnchecked } from './forge.ts'

const wallMs = 1_800_000_000_000
const realmId = 'a'.repeat(64)
const key = createNodeKey()
const peer = createNodeKey().peer
const signed = (change: Partial<Parameters<typeof signRevocation>[1]> = {}) =>
  signRevocation(key, { realm: realmId, peer, version: 1, revoked: true, sinceMs: wallMs, ...change })

describe('an entry', () => {
  test('says what its issuer signed', async () => {
    const entry = await readRevocation(await signed({ version: 3 }), realmId)
    expect(entry).toMatchObject({ issuer: key.peer, realm: realmId, peer, version: 3, revoked: true, sinceMs: wallMs })
  })

  test('is refused for another realm, altered, or signed by another than it names', async () => {
    const jws = await signed()
    await expect(readRevocation(jws, 'b'.repeat(64))).rejects.toMatchObject({ code: 'REALM_MISMATCH' })
    const { header, payload } = openUnchecked(jws)
    const refused = [
      forge(createNodeKey(), header, payload),
      forge(key, header, { ...payload, version: 0 }),
      forge(key, header, { ...payload, sub: 'somebody' }),
      forge(key, { ...header, typ: 'godel-cert+jwt' }, payload),
      forge(key, { ...header, kid: 'nobody' }, payload),
      `${jws}A`,
      'x'.repeat(limits.revocationBytesMax + 1),
    ]
    for (const text of refused)
      await expect(readRevocation(text, realmId)).rejects.toMatchObject({ code: 'INVALID_MESSAGE' })
  })

  test('is refused with a code for any text at all', async () => {
    await fc.assert(
      fc.asyncProperty(fc.string({ maxLength: 2_000 }), async (text) => {
        await expect(readRevocation(text, realmId)).rejects.toBeInstanceOf(GodelError)
      }),
    )
  })
})

// The names of a small realm: F the founder, then juniors in order, a feed, and peers that may say nothing.
const issuers = ['F', 'I', 'J']
const names = [...issuers, 'feed', 'm', 'n']
const rules: RevocationRules = {
  issuers: issuers.map((name) => ({ peer: name })),
  revocationFeeds: ['feed'],
  revocations: [],
}
const entryOf = (issuer: string, about: string, rest: Partial<Revocation> = {}): Revocation => {
  const entry = { issuer, realm: realmId, peer: about, version: 1, revoked: true, sinceMs: 1_000, ...rest }
  const jws = JSON.stringify(entry)
  return { ...entry, jws, hash: jws }
}
const anEntry = fc
  .record({
    issuer: fc.constantFrom(...names, 'stranger'),
    peer: fc.constantFrom(...names),
    version: fc.integer({ min: 1, max: 3 }),
    revoked: fc.boolean(),
    sinceMs: fc.constantFrom(1, 2, 3),
  })
  .map(({ issuer, peer: about, ...rest }) => entryOf(issuer, about, rest))
const entries = fc.array(anEntry, { maxLength: 12 })
const outOf = (list: readonly Revocation[], given = rules) => [...standingRevocations(given, list)].toSorted()
const namesOut = (list: readonly Revocation[], given = rules) =>
  [...standingRevocations(given, list).keys()].toSorted().join(' ')

describe('who is out', () => {
  test('is the same for every order of the entries and however often one comes', () => {
    fc.assert(
      fc.property(
        entries.chain((list) =>
          fc.tuple(
            fc.constant(list),
            fc.shuffledSubarray([...list, ...list], { minLength: list.length * 2, maxLength: list.length * 2 }),
          ),
        ),
        ([list, shuffled]) => {
          expect(outOf(shuffled)).toEqual(outOf(list))
        },
      ),
    )
  })

  test('is the same whether entries are kept one by one or all at once, and in any two halves', () => {
    fc.assert(
      fc.property(entries, entries, fc.integer({ min: 1, max: 3 }), (a, b, max) => {
        const joined = keepRevocations([...a, ...b], max)
        expect(keepRevocations([...keepRevocations(b, max), ...keepRevocations(a, max)], max)).toEqual(joined)
        expect([...a, ...b].reduce<Revocation[]>((kept, one) => keepRevocations([...kept, one], max), [])).toEqual(
          joined,
        )
      }),
    )
  })

  test('is not changed by anybody who is no issuer', () => {
    fc.assert(
      fc.property(entries, (list) => {
        const byIssuers = list.filter(({ issuer }) => [...issuers, 'feed'].includes(issuer))
        expect(outOf(list)).toEqual(outOf(byIssuers))
      }),
    )
  })

  test('is not changed by an issuer that is out by one before it', () => {
    fc.assert(
      fc.property(entries, (list) => {
        const others = list.filter(({ issuer, peer: about }) => issuer !== 'I' && !(issuer === 'F' && about === 'I'))
        const withoutI = [...others, entryOf('F', 'I', { version: 9 })]
        const withI = [...withoutI, ...list.filter(({ issuer }) => issuer === 'I')]
        expect(outOf(withI)).toEqual(outOf(withoutI))
      }),
    )
  })

  test('never is the founder, by whatever its juniors say, and never one by its own word', () => {
    fc.assert(
      fc.property(entries, (list) => {
        expect(standingRevocations(rules, list).has('F')).toBe(false)
        for (const { sources, peer: about } of standingRevocations(rules, list).values())
          expect(sources).not.toContain(about)
      }),
    )
  })

  test('is nobody less for an entry by the one who is out: nobody lifts its own revocation', () => {
    fc.assert(
      fc.property(entries, fc.constantFrom(...names), (list, name) => {
        if (!standingRevocations(rules, list).has(name)) return
        const own = entryOf(name, name, { version: 9, revoked: false })
        expect(standingRevocations(rules, [...list, own]).has(name)).toBe(true)
      }),
    )
  })

  test('is decided by the newest word of each issuer, and lifted by whoever said it alone', () => {
    expect(namesOut([entryOf('F', 'm'), entryOf('F', 'm', { version: 2, revoked: false })])).toBe('')
    expect(namesOut([entryOf('F', 'm'), entryOf('I', 'm', { version: 2, revoked: false })])).toBe('m')
    expect(namesOut([entryOf('F', 'm'), entryOf('I', 'm'), entryOf('F', 'm', { version: 2, revoked: false })])).toBe(
      'm',
    )
  })

  test('is decided by the document first: what it says stands above every entry, and what it pardons counts no more', () => {
    const rooted = { ...rules, revocations: [{ peer: 'F', sinceMs: 5 }] }
    expect(namesOut([entryOf('F', 'm'), entryOf('I', 'n')], rooted)).toBe('F n')
    const pardoned = { ...rules, pardons: [{ issuer: 'F', peer: 'm', version: 1 }] }
    expect(namesOut([entryOf('F', 'm')], pardoned)).toBe('')
    expect(namesOut([entryOf('F', 'm', { version: 2 })], pardoned)).toBe('m')
  })

  test('is told with all who say so, and counts from the earliest time', () => {
    const said = standingRevocations(rules, [entryOf('I', 'm', { sinceMs: 3 }), entryOf('F', 'm', { sinceMs: 7 })])
    expect(said.get('m')).toEqual({ peer: 'm', by: 'F', sinceMs: 3, sources: ['F', 'I'] })
  })

  test('a former issuer says nothing any more', () => {
    const former = { ...rules, issuers: [{ peer: 'F' }, { peer: 'I', untilMs: 5 }] }
    expect(namesOut([entryOf('I', 'm')], former)).toBe('')
  })
})

describe('the certificates of an issuer that is out', () => {
  const [root, founder, junior] = [createNodeKey(), createNodeKey(), createNodeKey()]
  let realm: Realm
  const certify = (issuer: typeof founder, issuedAtMs: number) =>
    issueCertificate({ issuer, realm: realm.id, peer, role: 'member', wallMs: issuedAtMs, ttlMs: 1_000_000 })
  const verify = (jws: string, against: Realm) => verifyCertificate(jws, { peer, realm: against, wallMs })
  const revoke = async (about: string, sinceMs = wallMs) =>
    withRevocations(realm, [
      await readRevocation(
        await signRevocation(founder, { realm: realm.id, peer: about, version: 1, revoked: true, sinceMs }),
        realm.id,
      ),
    ])

  beforeAll(async () => {
    const founded = await foundRealm({ name: 'lab', rootKey: root, founder: founder.peer, wallMs: wallMs - 10_000 })
    const issuers = [...founded.document.issuers, { peer: junior.peer, roles: ['member' as const] }]
    realm = await amendRealm(founded, root, { issuers }, wallMs - 9_000)
  })

  test('are void from the time that the revocation names, and hold where they are older', async () => {
    const [before, since] = [await certify(junior, wallMs - 5_001), await certify(junior, wallMs - 5_000)]
    const judged = await revoke(junior.peer, wallMs - 5_000)
    expect(await verify(before, judged)).toMatchObject({ issuer: junior.peer })
    await expect(verify(since, judged)).rejects.toMatchObject({ code: 'CERTIFICATE_INVALID' })
    expect(judged.trustHash).not.toBe(realm.trustHash)
  })

  test('a peer that is out has none that holds, whoever issued it', async () => {
    const judged = await revoke(peer)
    for (const issuer of [founder, junior])
      await expect(verify(await certify(issuer, wallMs), judged)).rejects.toMatchObject({
        code: 'CERTIFICATE_INVALID',
        message: expect.stringContaining('has been revoked'),
      })
  })

  test('of a former issuer hold where they are older than the end of its time', async () => {
    const issuers = realm.document.issuers.map((one) =>
      one.peer === junior.peer ? { ...one, untilMs: wallMs - 5_000 } : one,
    )
    const later = await amendRealm(realm, root, { issuers }, wallMs)
    expect(await verify(await certify(junior, wallMs - 5_001), later)).toMatchObject({ role: 'member' })
    await expect(verify(await certify(junior, wallMs - 5_000), later)).rejects.toMatchObject({
      code: 'CERTIFICATE_INVALID',
    })
  })
})
