import fc from 'fast-check'
import { beforeAll, describe, expect, test } from 'vitest'
import { sha256Hex } from '../../../src/base/hash.ts'
import { limits } from '../../../src/base/limits.ts'
import { createNodeKey, type NodeKey } from '../../../src/identity/node-key.ts'
import {
  amendRealm,
  changesNothing,
  foundRealm,
  newerRealm,
  rootName,
  verifyChain,
  type Realm,
} from '../../../src/identity/realm-document.ts'
import { forge, openUnchecked } from './forge.ts'

const wallMs = 1_800_000_000_000
const [oldRoot, newRoot, third, thief] = [createNodeKey(), createNodeKey(), createNodeKey(), createNodeKey()]
let genesis: Realm
/** Versions 2 to 4, a new root in 5, versions 6 to 8. */
let rotated: Realm

const amended = async (realm: Realm, key: NodeKey, times: number): Promise<Realm> => {
  let next = realm
  for (let n = 0; n < times; n++) next = await amendRealm(next, key, { settings: { n } }, wallMs + n)
  return next
}

beforeAll(async () => {
  genesis = await foundRealm({ name: 'lab', rootKey: oldRoot, founder: oldRoot.peer, wallMs })
  const before = await amended(genesis, oldRoot, 3)
  rotated = await amended(await amendRealm(before, oldRoot, { roots: [rootName(newRoot)] }, wallMs), newRoot, 3)
})

/** A version after `before` as a thief of a root would sign it, with any fields. */
const forged = (before: string, key: NodeKey, change: object): string => {
  const base = openUnchecked(before).payload
  const ties = { version: Number(base['version']) + 1, previous: sha256Hex(before) }
  return forge(
    key,
    { alg: 'EdDSA', typ: 'godel-realm+jws', kid: rootName(key) },
    { ...base, anchor: undefined, ...ties, ...change },
  )
}

describe('the chain of a realm', () => {
  test('takes a thousand changes, and is then as short and as quick to check as after two', async () => {
    const few = await amended(genesis, oldRoot, 2)
    const many = await amended(few, oldRoot, 1_000)
    expect(many.document.version).toBe(1_003)
    expect(many.chain).toHaveLength(2)
    expect(many.chain.join('').length).toBeLessThan(few.chain.join('').length + 64)
    expect(await verifyChain(many.chain, genesis.id)).toEqual(many)
    expect(newerRealm(few, many)).toEqual({ stands: many, alarm: false })
  })

  test('shows the genesis, each change of the roots and the newest version, whatever came between', async () => {
    await fc.assert(
      fc.asyncProperty(fc.array(fc.boolean(), { maxLength: 12 }), async (steps) => {
        let realm = genesis
        let key = oldRoot
        const wanted = [1]
        for (const rotates of steps) {
          const next = rotates ? createNodeKey() : key
          const change = rotates ? { roots: [rootName(next)] } : { settings: { at: realm.document.version } }
          const before = realm
          realm = await amendRealm(realm, key, change, wallMs)
          key = next
          if (rotates) wanted.push(realm.document.version)
          expect(newerRealm(before, realm)).toEqual({ stands: realm, alarm: false })
          expect(await verifyChain(realm.chain, genesis.id, before)).toEqual(realm)
        }
        expect(realm.links.map(({ version }) => version)).toEqual([...new Set([...wanted, realm.document.version])])
        expect(await verifyChain(realm.chain)).toEqual(realm)
        for (let left = 1; left < realm.chain.length - 1; left++)
          await expect(verifyChain(realm.chain.toSpliced(left, 1))).rejects.toMatchObject({
            code: 'REALM_DOCUMENT_INVALID',
          })
      }),
      { numRuns: 40 },
    )
  })

  test('without a change of roots by a root that stayed is refused', async () => {
    const two = await amendRealm(genesis, oldRoot, { roots: [rootName(oldRoot), rootName(third)] }, wallMs)
    const three = await amendRealm(two, third, { roots: [rootName(newRoot), rootName(third)] }, wallMs)
    const last = await amended(three, third, 2)
    await expect(verifyChain(last.chain.toSpliced(2, 1))).rejects.toMatchObject({ code: 'REALM_DOCUMENT_INVALID' })
  })

  test('of an older program, with every version and no anchors, is taken and shortened by the next change', async () => {
    const chain = [genesis.chain[0]!]
    while (chain.length < 256) chain.push(forged(chain.at(-1)!, oldRoot, { settings: { n: chain.length } }))
    const old = await verifyChain(chain)
    expect(old.chain).toEqual(chain)
    const next = await amendRealm(old, oldRoot, { roots: [rootName(newRoot)] }, wallMs)
    expect(next.links.map(({ version }) => version)).toEqual([1, 257])
    expect(newerRealm(old, next)).toEqual({ stands: next, alarm: false })
    await expect(verifyChain(chain.toSpliced(100, 1))).rejects.toMatchObject({ code: 'REALM_DOCUMENT_INVALID' })
  })

  test('takes so many changes of the roots and no more, and every other change after that', async () => {
    let realm = genesis
    let key = oldRoot
    for (let n = 0; n < limits.realmRootChangesMax; n++) {
      const next = createNodeKey()
      realm = await amendRealm(realm, key, { roots: [rootName(next)] }, wallMs)
      key = next
    }
    expect(realm.chain).toHaveLength(limits.realmRootChangesMax + 1)
    await expect(amendRealm(realm, key, { roots: [rootName(third)] }, wallMs)).rejects.toMatchObject({
      detail: { code: 'REALM_FULL', what: 'changes of its roots', limit: limits.realmRootChangesMax },
    })
    expect((await amended(realm, key, 3)).chain).toHaveLength(limits.realmRootChangesMax + 2)
  })

  test('keeps room for a document of any size, however large the versions were that changed its roots', async () => {
    const text = (bytes: number) => ({ settings: { text: 'x'.repeat(bytes) } })
    const large = text(40_000)
    let realm = await amendRealm(genesis, oldRoot, large, wallMs)
    let key = oldRoot
    const rotate = async () => {
      const next = createNodeKey()
      realm = await amendRealm(realm, key, { roots: [rootName(next)] }, wallMs)
      key = next
    }
    const refused = await (async () => {
      for (let n = 0; n < 16; n++) await rotate()
    })().catch((error: unknown) => error)
    expect(refused).toMatchObject({ code: 'REALM_FULL' })
    const full = await amendRealm(realm, key, text(48_000), wallMs)
    expect(await verifyChain(full.chain)).toEqual(full)
  })
})

describe('a root that was replaced', () => {
  const skipping = (change: object = {}) =>
    verifyChain([
      genesis.chain[0]!,
      forged(genesis.chain[0]!, oldRoot, { version: 1_000, anchor: genesis.id, ...change }),
    ])
  const fork = async () => amendRealm(await amended(genesis, oldRoot, 3), oldRoot, { roots: [rootName(thief)] }, wallMs)

  test('overrules nobody who knows of that, by however high a version, and it is an alarm', async () => {
    expect(newerRealm(rotated, await skipping())).toEqual({ stands: rotated, alarm: true })
    expect(newerRealm(rotated, await skipping({ roots: [rootName(thief)] }))).toEqual({ stands: rotated, alarm: true })
    expect(newerRealm(rotated, await amended(await fork(), thief, 50))).toEqual({ stands: rotated, alarm: true })
    const early = await amendRealm(genesis, oldRoot, { roots: [rootName(thief), rootName(oldRoot)] }, wallMs)
    expect(newerRealm(rotated, await amended(early, thief, 50))).toEqual({ stands: rotated, alarm: true })
  })

  test('is not helped by versions from before, shown one by one without anchors', async () => {
    const chain = [genesis.chain[0]!]
    while (chain.length < 40) chain.push(forged(chain.at(-1)!, oldRoot, {}))
    expect(newerRealm(rotated, await verifyChain(chain))).toEqual({ stands: rotated, alarm: true })
  })

  test('gives way at one version, whichever of the two is known first', async () => {
    const change = await amendRealm(genesis, oldRoot, { roots: [rootName(newRoot)] }, wallMs)
    for (let n = 0; n < 8; n++) {
      const other = await amendRealm(genesis, oldRoot, { settings: { n } }, wallMs)
      expect(newerRealm(change, other)).toEqual({ stands: change, alarm: true })
      expect(newerRealm(other, change)).toEqual({ stands: change, alarm: true })
    }
  })

  test('does not stop a root that stayed, which had not heard of the change', async () => {
    const both = await amendRealm(genesis, oldRoot, { roots: [rootName(oldRoot), rootName(third)] }, wallMs)
    const change = await amendRealm(both, oldRoot, { roots: [rootName(newRoot), rootName(third)] }, wallMs)
    const other = await amended(both, third, 2)
    expect(newerRealm(change, other)).toEqual({ stands: other, alarm: true })
    expect(newerRealm(other, change)).toEqual({ stands: other, alarm: true })
  })

  test('leaves what came before it to be overruled by the true history', async () => {
    const behind = await amended(genesis, oldRoot, 2)
    expect(newerRealm(behind, rotated)).toEqual({ stands: rotated, alarm: false })
    expect(newerRealm(rotated, behind)).toEqual({ stands: rotated, alarm: false })
  })
})

describe('a change', () => {
  test('that says the same in another order changes nothing, and any other does', async () => {
    const grants = ['a', 'b'].map((letter) => ({
      realm: letter.repeat(64),
      scopes: ['exec' as const, 'capacity' as const],
      agentsPerNode: 1,
    }))
    const settings = { one: { a: 1, b: [1, 2] }, two: 2 }
    const { document } = await amendRealm(genesis, oldRoot, { grants, settings }, wallMs)
    const turned = grants.map((grant) => ({ ...grant, scopes: grant.scopes.toReversed() })).toReversed()
    const same = { grants: turned, settings: { two: 2, one: { b: [1, 2], a: 1 } }, pardons: [] }
    expect(changesNothing(document, same)).toBe(true)
    expect(changesNothing(document, { settings: { one: { a: 1, b: [2, 1] }, two: 2 } })).toBe(false)
    expect(changesNothing(document, { grants: grants.slice(1) })).toBe(false)
    const issuers = [...document.issuers, { peer: third.peer, roles: ['admin' as const] }]
    const two = (await amendRealm(genesis, oldRoot, { issuers }, wallMs)).document
    expect(changesNothing(two, { issuers: two.issuers.toReversed() })).toBe(false)
  })
})
