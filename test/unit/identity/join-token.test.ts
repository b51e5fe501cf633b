import fc from 'fast-check'
import { beforeAll, describe, expect, test } from 'vitest'
import { limits } from '../../../src/base/limits.ts'
import { checkJoinToken, issueJoinToken, readJoinToken } from '../../../src/identity/join-token.ts'
import { createNodeKey } from '../../../src/identity/node-key.ts'
import { amendRealm, foundRealm, type Realm } from '../../../src/identity/realm-document.ts'
import type { Role } from '../../../src/base/standing.ts'
import { forge, mutate, openUnchecked } from './forge.ts'

const wallMs = 1_800_000_000_000
const issuer = createNodeKey()
const stranger = createNodeKey()
const seeds = [{ peer: issuer.peer, addresses: ['/ip4/192.0.2.7/tcp/4001'] }]
const invitation = { role: 'member' as Role, seeds, uses: 1, ttlMs: limits.tokenTtlMs, wallMs }
let realm: Realm
let token: string

beforeAll(async () => {
  realm = await foundRealm({ name: 'lab', rootKey: issuer, founder: issuer.peer, wallMs })
  realm = await amendRealm(realm, issuer, {}, wallMs)
  token = await issueJoinToken({ issuer, realm, ...invitation })
})

test('a token says which realm it is, whom to dial, and what it allows', async () => {
  expect(await readJoinToken(token)).toEqual({
    tokenId: expect.stringMatching(/^tk_/),
    realm: realm.id,
    realmName: 'lab',
    issuer: issuer.peer,
    role: 'member',
    seeds,
    uses: 1,
    expiresAtMs: wallMs + limits.tokenTtlMs,
    minVersion: 2,
  })
})

test('a token fits on a command line, and no two are the same', async () => {
  expect(token).toMatch(/^GDL1\.[A-Za-z0-9_.-]+$/)
  expect(token.length).toBeLessThan(1_024)
  const other = await issueJoinToken({ issuer, realm, ...invitation })
  expect((await readJoinToken(other)).tokenId).not.toBe((await readJoinToken(token)).tokenId)
})

test.each([' \n', '\r\n', '\t', '\n\n\n'])('white space (%j) around a token is cut off', async (space) => {
  expect(await readJoinToken(`${space}${token}${space}`)).toEqual(await readJoinToken(token))
})

test('a token expires to the millisecond', async () => {
  const read = await readJoinToken(token)
  checkJoinToken(read, read.expiresAtMs - 1)
  expect(() => checkJoinToken(read, read.expiresAtMs)).toThrow(
    expect.objectContaining({ detail: { code: 'TOKEN_EXPIRED', expiredAt: read.expiresAtMs } }),
  )
})

describe('a token is refused', () => {
  const forged = (change: object, header: object = {}, key = issuer) => {
    const honest = openUnchecked(token.slice('GDL1.'.length))
    return `GDL1.${forge(key, { ...honest.header, ...header }, { ...honest.payload, ...change })}`
  }
  const rows: [name: string, text: () => string, reason: RegExp][] = [
    ['when it is empty', () => '', /empty/],
    ['when it is white space', () => ' \n', /empty/],
    ['when it is something else', () => 'hello', /begin with GDL1/],
    ['when the flag was pasted with it', () => `--join ${token}`, /begin with GDL1/],
    ['when it is of another version', () => token.replace('GDL1', 'GDL2'), /another version/],
    ['when it was broken over two lines', () => `${token.slice(0, 80)}\n${token.slice(80)}`, /line breaks/],
    ['when two were pasted', () => `${token} ${token}`, /line breaks/],
    ['when it is cut off in its signature', () => token.slice(0, -10), /signature|characters/],
    ['when it is cut off before it', () => token.slice(0, 60), /three parts/],
    ['when it is in quotes', () => `"${token}"`, /begin with GDL1/],
    ['when another key signed it', () => forged({}, {}, stranger), /signature/],
    ['when it names no issuer', () => forged({}, { kid: 'me' }), /no issuer/],
    ['when its algorithm is none', () => forged({}, { alg: 'none' }), /EdDSA/],
    ['when it is a certificate', () => forged({}, { typ: 'godel-cert+jwt' }), /type/],
    ['when its header holds more', () => forged({}, { jku: 'https://example.org' }), /fields/],
    ['when it allows no use', () => forged({ uses: 0 }), /uses/],
    ['when it allows too many', () => forged({ uses: limits.tokenUsesMax + 1 }), /uses/],
    ['when its end is 2^53', () => forged({ expMs: 2 ** 53 }), /expMs/],
    ['when its version is 2^53', () => forged({ minVersion: 2 ** 53 }), /minVersion/],
    ['when it has no seeds', () => forged({ seeds: [] }), /seeds/],
    ['when it has too many seeds', () => forged({ seeds: Array.from({ length: 9 }, () => seeds[0]) }), /seeds/],
    ['when a seed is no peer', () => forged({ seeds: [{ peer: 'x', addresses: [] }] }), /seeds/],
    ['when its role is unknown', () => forged({ role: 'root' }), /role/],
    ['when its realm is no id', () => forged({ realm: 'lab' }), /realm/],
    ['when it is huge', () => `GDL1.${'x'.repeat(10_000_000)}`, /longer/],
    ['when it is just too large', () => forged({ note: 'x'.repeat(limits.tokenBytesMax) }), /longer/],
  ]

  test.each(rows)('%s', async (_name, text, reason) => {
    const error = await readJoinToken(text()).then(
      () => undefined,
      (thrown) => thrown,
    )
    expect(error).toMatchObject({ code: 'TOKEN_INVALID' })
    expect(error.detail.reason).toMatch(reason)
    expect(error.message).not.toContain(token.slice(-40))
  })

  test('when any one character of it is another', async () => {
    await fc.assert(
      fc.asyncProperty(fc.nat(), fc.nat(), async (at, pick) => {
        await expect(readJoinToken(mutate(token, at, pick))).rejects.toMatchObject({ code: 'TOKEN_INVALID' })
      }),
      { numRuns: 300 },
    )
  })

  test('for any text at all', async () => {
    await fc.assert(
      fc.asyncProperty(fc.string({ unit: 'binary' }), fc.boolean(), async (text, prefixed) => {
        await expect(readJoinToken(prefixed ? `GDL1.${text}` : text)).rejects.toMatchObject({ code: 'TOKEN_INVALID' })
      }),
    )
  })
})

describe('no token is issued', () => {
  test.each([
    ['for no use', { uses: 0 }],
    ['for half a use', { uses: 1.5 }],
    ['for too many uses', { uses: limits.tokenUsesMax + 1 }],
    ['for no time', { ttlMs: 0 }],
    ['for too long', { ttlMs: limits.tokenTtlMsMax + 1 }],
    ['without seeds', { seeds: [] }],
  ])('%s', async (_name, change) => {
    await expect(issueJoinToken({ issuer, realm, ...invitation, ...change })).rejects.toMatchObject({
      code: 'INVALID_ARGUMENT',
    })
  })

  test('by a node that is no issuer, or not for that role', async () => {
    await expect(issueJoinToken({ ...invitation, realm, issuer: stranger })).rejects.toMatchObject({
      code: 'FORBIDDEN',
    })
    const issuers = [{ peer: issuer.peer, roles: ['observer' as const] }]
    const narrow = await amendRealm(realm, issuer, { issuers }, wallMs)
    await expect(issueJoinToken({ ...invitation, realm: narrow, issuer })).rejects.toMatchObject({ code: 'FORBIDDEN' })
  })
})
