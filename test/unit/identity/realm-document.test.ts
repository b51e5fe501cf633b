import fc from 'fast-check'
import { beforeAll, describe, expect, test } from 'vitest'
import { sha256Hex } from '../../../src/base/hash.ts'
import { limits } from '../../../src/base/limits.ts'
import { createNodeKey, type NodeKey } from '../../../src/identity/node-key.ts'
import { amendRealm, foundRealm, newerRealm, verifyChain, type Realm } from '../../../src/identity/realm-document.ts'
import { forge, mutate, openUnchecked } from './forge.ts'

const wallMs = 1_800_000_000_000
const root = createNodeKey()
const secondRoot = createNodeKey()
const stranger = createNodeKey()
const rootName = (key: NodeKey) => Buffer.from(key.publicKey).toString('base64url')
let genesis: Realm
let grown: Realm

beforeAll(async () => {
  genesis = await foundRealm({ name: 'lab', rootKey: root, founder: root.peer, wallMs })
  const second = await amendRealm(genesis, root, { roots: [rootName(secondRoot)] }, wallMs + 1)
  grown = await amendRealm(second, secondRoot, { settings: { replication: 2 } }, wallMs + 2)
})

/** A genesis or a successor of `before` with some fields changed, rightly signed by `key`. */
const link = (before: string | undefined, key: NodeKey, change: object, header: object = {}) => {
  const base = openUnchecked(before ?? genesis.chain[0]!).payload
  const follows = before === undefined ? {} : { version: Number(base['version']) + 1, previous: sha256Hex(before) }
  return forge(
    key,
    { alg: 'EdDSA', typ: 'godel-realm+jws', kid: rootName(key), ...header },
    { ...base, ...follows, ...change },
  )
}

describe('a realm', () => {
  test('has the hash of its genesis as its id, and its founder as the issuer of every role', () => {
    expect(genesis.id).toBe(sha256Hex(genesis.chain[0]!))
    expect(genesis.headHash).toBe(genesis.id)
    expect(genesis.document).toMatchObject({
      version: 1,
      previous: null,
      name: 'lab',
      namespace: 'default',
      federation: null,
      issuers: [{ peer: root.peer, roles: ['admin', 'member', 'observer'] }],
      realms: [],
      revocationFeeds: [],
      grants: [],
      issuedAtMs: wallMs,
    })
  })

  test('is another one when it is founded again under the same name', async () => {
    const other = await foundRealm({ name: 'lab', rootKey: createNodeKey(), founder: root.peer, wallMs })
    expect(other.id).not.toBe(genesis.id)
  })

  test('keeps its id through new versions and new roots', async () => {
    expect(grown.id).toBe(genesis.id)
    expect(grown.document.version).toBe(3)
    expect(grown.document.settings).toEqual({ replication: 2 })
    expect(await verifyChain(grown.chain, genesis.id)).toEqual(grown)
  })

  test('is not changed by a root that was replaced, nor by a stranger', async () => {
    await expect(amendRealm(grown, root, {}, wallMs)).rejects.toMatchObject({ code: 'FORBIDDEN' })
    await expect(amendRealm(grown, stranger, {}, wallMs)).rejects.toMatchObject({ code: 'FORBIDDEN' })
  })

  test.each(['', '-lab', 'a b', 'x'.repeat(64), 'lab\n', '../lab', ';$()'])(
    'is not founded with the name %j',
    async (name) => {
      await expect(foundRealm({ name, rootKey: root, founder: root.peer, wallMs })).rejects.toMatchObject({
        code: 'INVALID_ARGUMENT',
      })
    },
  )

  test('is not given a change that others would refuse', async () => {
    await expect(amendRealm(genesis, root, { roots: [] }, wallMs)).rejects.toMatchObject({ code: 'INVALID_ARGUMENT' })
    const huge = { settings: { text: 'x'.repeat(limits.realmDocumentBytesMax) } }
    await expect(amendRealm(genesis, root, huge, wallMs)).rejects.toMatchObject({ code: 'REALM_FULL' })
  })
})

describe('a chain of documents', () => {
  const refusals: [name: string, chain: () => string[], reason: RegExp][] = [
    ['that is empty', () => [], /no versions/],
    ['of a text that is no JWS', () => ['hello'], /three parts/],
    ['with a missing link', () => [grown.chain[0]!, grown.chain[2]!], /not signed by a root|out of its order/],
    ['without its genesis', () => grown.chain.slice(1), /out of its order/],
    ['with a link twice', () => [grown.chain[0]!, grown.chain[0]!], /out of its order/],
    ['signed by a stranger', () => [grown.chain[0]!, link(grown.chain[0]!, stranger, {})], /not signed by a root/],
    [
      'signed by a root that the same version brings in',
      () => [genesis.chain[0]!, link(genesis.chain[0]!, stranger, { roots: [rootName(stranger)] })],
      /not signed by a root/,
    ],
    [
      'signed by a stranger in the name of a root',
      () => [genesis.chain[0]!, link(genesis.chain[0]!, stranger, {}, { kid: rootName(root) })],
      /signature/,
    ],
    [
      'signed by a root that was replaced',
      () => [...grown.chain, link(grown.chain[2]!, root, {})],
      /not signed by a root/,
    ],
    ['with a genesis that is not signed by its root', () => [link(undefined, stranger, {})], /not signed by its root/],
    [
      'with a genesis that follows another',
      () => [link(undefined, root, { previous: 'a'.repeat(64) })],
      /does not follow/,
    ],
    [
      'with a link that names another document before it',
      () => [genesis.chain[0]!, link(genesis.chain[0]!, root, { previous: 'a'.repeat(64) })],
      /does not follow/,
    ],
    [
      'with a version that leaves one out',
      () => [genesis.chain[0]!, link(genesis.chain[0]!, root, { version: 3 })],
      /order/,
    ],
    ['of version 0', () => [link(undefined, root, { version: 0 })], /version/],
    ['of version 2^53', () => [link(undefined, root, { version: 2 ** 53 })], /version/],
    ['of version 1.5', () => [link(undefined, root, { version: 1.5 })], /version/],
    ['issued at 2^53', () => [link(undefined, root, { issuedAtMs: 2 ** 53 })], /issuedAtMs/],
    ['of another format', () => [link(undefined, root, { v: 2 })], /\/v /],
    ['without a field', () => [link(undefined, root, { grants: undefined })], /grants/],
    ['with a name that is no name', () => [link(undefined, root, { name: 'a/b' })], /name/],
    ['with a root that is no key', () => [link(undefined, root, { roots: [rootName(root), 'AAAA'] })], /roots/],
    ['with a root twice', () => [link(undefined, root, { roots: [rootName(root), rootName(root)] })], /roots/],
    [
      'with a role that there is not',
      () => [link(undefined, root, { issuers: [{ peer: root.peer, roles: ['god'] }] })],
      /issuers/,
    ],
    ['signed with no algorithm', () => [link(undefined, root, {}, { alg: 'none' })], /EdDSA/],
    ['with a header of another type', () => [link(undefined, root, {}, { typ: 'godel-cert+jwt' })], /type/],
    ['with a header that demands more', () => [link(undefined, root, {}, { crit: ['exp'] })], /fields/],
    ['with a payload that is no JSON', () => [forge(root, openUnchecked(genesis.chain[0]!).header, '{')], /JSON/],
    ['with a payload that is a list', () => [forge(root, openUnchecked(genesis.chain[0]!).header, [])], /object/],
    ['with a document of 1 MB', () => [link(undefined, root, { settings: { x: 'x'.repeat(2 ** 20) } })], /bytes/],
    [
      'of too many versions',
      () => Array.from({ length: limits.realmDocumentChainMax + 1 }, () => genesis.chain[0]!),
      /versions/,
    ],
    ['of too many bytes', () => Array.from({ length: 200 }, () => 'x'.repeat(60_000)), /bytes/],
    ['in the name of a key that is none', () => [link(undefined, root, {}, { kid: 'me' })], /no key/],
  ]

  test.each(refusals)('%s is refused', async (_name, chain, reason) => {
    const error = await verifyChain(chain()).then(
      () => undefined,
      (thrown) => thrown,
    )
    expect(error).toMatchObject({ code: 'REALM_DOCUMENT_INVALID' })
    expect(error.detail.reason).toMatch(reason)
  })

  test('of another realm is told apart', async () => {
    const other = await foundRealm({ name: 'lab', rootKey: createNodeKey(), founder: root.peer, wallMs })
    await expect(verifyChain(other.chain, genesis.id)).rejects.toMatchObject({
      detail: { code: 'REALM_MISMATCH', expected: genesis.id, actual: other.id },
    })
  })

  test('with one changed character never verifies', async () => {
    await fc.assert(
      fc.asyncProperty(fc.nat(), fc.nat(), fc.nat(), async (which, at, pick) => {
        const index = which % grown.chain.length
        const chain = grown.chain.with(index, mutate(grown.chain[index]!, at, pick))
        await expect(verifyChain(chain)).rejects.toMatchObject({ code: 'REALM_DOCUMENT_INVALID' })
        await expect(verifyChain(chain, genesis.id)).rejects.toMatchObject({
          code: index === 0 ? 'REALM_MISMATCH' : 'REALM_DOCUMENT_INVALID',
        })
      }),
      { numRuns: 150 },
    )
  })

  test('verifies from the genesis up to any version, and in no other selection', async () => {
    await fc.assert(
      fc.asyncProperty(fc.array(fc.nat({ max: 2 }), { minLength: 1, maxLength: 4 }), async (picks) => {
        const result = await verifyChain(picks.map((pick) => grown.chain[pick]!)).catch(() => undefined)
        const isPrefix = picks.every((pick, index) => pick === index)
        expect(result !== undefined).toBe(isPrefix)
      }),
      { numRuns: 80 },
    )
  })

  test('whose documents hold fields of a newer program keeps them when it is amended', async () => {
    const chain = [genesis.chain[0]!, link(genesis.chain[0]!, root, { motto: 'onwards' })]
    const amended = await amendRealm(await verifyChain(chain), root, {}, wallMs)
    expect(amended.document).toMatchObject({ version: 3, motto: 'onwards' })
  })
})

describe('of two documents of one realm', () => {
  test('the higher version stands, whichever is named first, and nothing is wrong', () => {
    expect(newerRealm(genesis, grown)).toEqual({ stands: grown, alarm: false })
    expect(newerRealm(grown, genesis)).toEqual({ stands: grown, alarm: false })
    expect(newerRealm(grown, { ...grown })).toMatchObject({ alarm: false })
  })

  test('with one version the lower hash stands, and it is an alarm', async () => {
    const a = await amendRealm(genesis, root, { settings: { a: 1 } }, wallMs)
    const b = await amendRealm(genesis, root, { settings: { b: 1 } }, wallMs)
    const [lower] = [a, b].toSorted((x, y) => (x.headHash < y.headHash ? -1 : 1))
    expect(newerRealm(a, b)).toEqual({ stands: lower, alarm: true })
    expect(newerRealm(b, a)).toEqual({ stands: lower, alarm: true })
  })

  test('that parted at an earlier version the higher stands, and it is an alarm', async () => {
    const other = await amendRealm(genesis, root, { settings: { b: 1 } }, wallMs)
    expect(newerRealm(other, grown)).toEqual({ stands: grown, alarm: true })
  })

  test('of two realms nothing stands', async () => {
    const other = await foundRealm({ name: 'lab', rootKey: createNodeKey(), founder: root.peer, wallMs })
    expect(() => newerRealm(genesis, other)).toThrow(expect.objectContaining({ code: 'REALM_MISMATCH' }))
  })
})
