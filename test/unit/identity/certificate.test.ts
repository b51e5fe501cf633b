import fc from 'fast-check'
import { beforeAll, describe, expect, test } from 'vitest'
import { limits } from '../../../src/base/limits.ts'
import { issueCertificate, verifyCertificate } from '../../../src/identity/certificate.ts'
import { createNodeKey } from '../../../src/identity/node-key.ts'
import { amendRealm, foundRealm, type Realm } from '../../../src/identity/realm-document.ts'
import { forge, mutate, openUnchecked, part } from './forge.ts'

const wallMs = 1_800_000_000_000
const ttlMs = limits.certificateTtlMs
const root = createNodeKey()
const issuer = createNodeKey()
const juniorIssuer = createNodeKey()
const stranger = createNodeKey()
const peer = createNodeKey().peer
let realm: Realm
let certificate: string

beforeAll(async () => {
  const founded = await foundRealm({ name: 'lab', rootKey: root, founder: issuer.peer, wallMs })
  const issuers = [...founded.document.issuers, { peer: juniorIssuer.peer, roles: ['member' as const] }]
  realm = await amendRealm(founded, root, { issuers }, wallMs)
  certificate = await issueCertificate({ issuer, realm: realm.id, peer, role: 'member', wallMs, ttlMs })
})

const forged = (change: object, header: object = {}, key = issuer) => {
  const honest = openUnchecked(certificate)
  return forge(key, { ...honest.header, kid: key.peer, ...header }, { ...honest.payload, ...change })
}
const withRevocation = (revoked: string, sinceMs: number) =>
  amendRealm(realm, root, { revocations: [{ peer: revoked, sinceMs, issuer: issuer.peer }] }, wallMs)

test('a certificate proves a membership until it expires', async () => {
  const expected = {
    peer,
    realm: realm.id,
    role: 'member',
    issuer: issuer.peer,
    issuedAtMs: wallMs,
    expiresAtMs: wallMs + ttlMs,
  }
  expect(await verifyCertificate(certificate, { peer, realm, wallMs })).toEqual(expected)
  expect(await verifyCertificate(certificate, { peer, realm, wallMs: wallMs + ttlMs - 1 })).toEqual(expected)
})

test('a certificate is small enough to travel in every advertisement', () => {
  expect(certificate.length).toBeLessThan(520)
})

test('a certificate holds on a node whose clock is a little behind', async () => {
  await verifyCertificate(certificate, { peer, realm, wallMs: wallMs - limits.clockSkewMs })
})

describe('a certificate is refused', () => {
  const rows: [
    name: string,
    given: () => Promise<{ jws: string; peer?: string; realm?: Realm; wallMs?: number }>,
    RegExp,
  ][] = [
    ['when it has expired', async () => ({ jws: certificate, wallMs: wallMs + ttlMs }), /expired/],
    [
      'when it comes from the future',
      async () => ({ jws: certificate, wallMs: wallMs - limits.clockSkewMs - 1 }),
      /future/,
    ],
    ['when it is for another realm', async () => ({ jws: forged({ realm: 'a'.repeat(64) }) }), /another realm/],
    [
      'in a realm with the same issuer',
      async () => ({
        jws: certificate,
        realm: await foundRealm({ name: 'lab', rootKey: root, founder: issuer.peer, wallMs: 1 }),
      }),
      /another realm/,
    ],
    ['when it is for another peer', async () => ({ jws: certificate, peer: stranger.peer }), /another peer/],
    ['when its issuer is no issuer', async () => ({ jws: forged({}, {}, stranger) }), /issuer is not/],
    ['when a root signed it that is no issuer', async () => ({ jws: forged({}, {}, root) }), /issuer is not/],
    [
      'when the issuer may not grant the role',
      async () => ({ jws: forged({ role: 'admin' }, {}, juniorIssuer) }),
      /role admin/,
    ],
    [
      'when a stranger signed in the name of an issuer',
      async () => ({ jws: forged({}, { kid: issuer.peer }, stranger) }),
      /signature/,
    ],
    [
      'when another issuer signed in its name',
      async () => ({ jws: forged({}, { kid: issuer.peer }, juniorIssuer) }),
      /signature/,
    ],
    ['when it is not signed', async () => ({ jws: `${certificate.split('.').slice(0, 2).join('.')}.` }), /characters/],
    [
      'when its algorithm is none',
      async () => ({
        jws: `${part({ ...openUnchecked(certificate).header, alg: 'none' })}.${certificate.split('.')[1]}.`,
      }),
      /characters/,
    ],
    ['when its algorithm is none and it is signed', async () => ({ jws: forged({}, { alg: 'none' }) }), /EdDSA/],
    ['when its algorithm is symmetric', async () => ({ jws: forged({}, { alg: 'HS256' }) }), /EdDSA/],
    ['when its type is foreign', async () => ({ jws: forged({}, { typ: 'JWT' }) }), /type/],
    ['when it is a join token', async () => ({ jws: forged({}, { typ: 'godel-join+jwt' }) }), /type/],
    ['when its header brings a key', async () => ({ jws: forged({}, { jwk: {} }) }), /fields/],
    ['when its header is critical', async () => ({ jws: forged({}, { crit: ['b64'], b64: false }) }), /fields/],
    ['when it names no issuer', async () => ({ jws: forged({}, { kid: undefined }) }), /who signed/],
    ['when it is too large', async () => ({ jws: forged({ note: 'x'.repeat(limits.certificateBytesMax) }) }), /longer/],
    ['when its role is unknown', async () => ({ jws: forged({ role: 'god' }) }), /role/],
    ['when its end is 2^53', async () => ({ jws: forged({ expMs: 2 ** 53 }) }), /expMs/],
    ['when its end is text', async () => ({ jws: forged({ expMs: '9' }) }), /expMs/],
    ['when its end is missing', async () => ({ jws: forged({ expMs: undefined }) }), /expMs/],
    ['when its beginning is negative', async () => ({ jws: forged({ iatMs: -1 }) }), /iatMs/],
    [
      'when it lives for ever',
      async () => ({ jws: forged({ expMs: wallMs + limits.certificateTtlMsMax + 1 }) }),
      /longer/,
    ],
    ['when it is no JWS', async () => ({ jws: 'hello' }), /three parts/],
    ['when it is empty', async () => ({ jws: '' }), /three parts/],
    [
      'when the peer has been revoked',
      async () => ({ jws: certificate, realm: await withRevocation(peer, wallMs + 1) }),
      /peer has been revoked/,
    ],
    [
      'when its issuer was revoked before',
      async () => ({ jws: certificate, realm: await withRevocation(issuer.peer, wallMs) }),
      /issuer has been revoked/,
    ],
  ]

  test.each(rows)('%s', async (_name, given, reason) => {
    const { jws, ...change } = await given()
    const error = await verifyCertificate(jws, { peer, realm, wallMs, ...change }).then(
      () => undefined,
      (thrown) => thrown,
    )
    expect(error).toMatchObject({ code: 'CERTIFICATE_INVALID', detail: { peer: change.peer ?? peer } })
    expect(error.detail.reason).toMatch(reason)
  })

  test('when any one character of it is another', async () => {
    await fc.assert(
      fc.asyncProperty(fc.nat(), fc.nat(), async (at, pick) => {
        const jws = mutate(certificate, at, pick)
        await expect(verifyCertificate(jws, { peer, realm, wallMs })).rejects.toMatchObject({
          code: 'CERTIFICATE_INVALID',
        })
      }),
      { numRuns: 300 },
    )
  })

  test('for any last character but its own, though some would decode to the same bytes', async () => {
    for (const last of 'ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789-_') {
      if (certificate.endsWith(last)) continue
      const jws = certificate.slice(0, -1) + last
      await expect(verifyCertificate(jws, { peer, realm, wallMs })).rejects.toMatchObject({
        code: 'CERTIFICATE_INVALID',
      })
    }
  })

  test('for any bytes at all', async () => {
    await fc.assert(
      fc.asyncProperty(
        fc.oneof(fc.string({ unit: 'binary' }), fc.tuple(fc.json(), fc.json(), fc.base64String())),
        async (given) => {
          const jws = typeof given === 'string' ? given : `${part(given[0])}.${part(given[1])}.${given[2]}`
          await expect(verifyCertificate(jws, { peer, realm, wallMs })).rejects.toMatchObject({
            code: 'CERTIFICATE_INVALID',
          })
        },
      ),
      { numRuns: 200 },
    )
  })
})

test('what a revoked issuer granted before its fall still holds', async () => {
  const after = await withRevocation(issuer.peer, wallMs + 1)
  expect(await verifyCertificate(certificate, { peer, realm: after, wallMs })).toMatchObject({ peer })
})

test('a revocation that is lifted in the next version is over', async () => {
  const revoked = await withRevocation(peer, wallMs)
  const lifted = await amendRealm(revoked, root, { revocations: [] }, wallMs)
  expect(await verifyCertificate(certificate, { peer, realm: lifted, wallMs })).toMatchObject({ peer })
})

test.each([
  ['a peer that is none', { peer: 'me' }],
  ['a realm that is none', { realm: 'lab' }],
  ['a life of 0', { ttlMs: 0 }],
  ['a life beyond the bound', { ttlMs: limits.certificateTtlMsMax + 1 }],
])('no certificate is issued for %s', async (_name, change) => {
  await expect(
    issueCertificate({ issuer, realm: realm.id, peer, role: 'member', wallMs, ttlMs, ...change }),
  ).rejects.toMatchObject({ code: 'INVALID_ARGUMENT' })
})
