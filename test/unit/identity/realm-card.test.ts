import { describe, expect, test } from 'vitest'
import { limits } from '../../../src/base/limits.ts'
import { createNodeKey } from '../../../src/identity/node-key.ts'
import { readRealmCard, writeRealmCard } from '../../../src/identity/realm-card.ts'
import { amendRealm, foundRealm } from '../../../src/identity/realm-document.ts'

const rootKey = createNodeKey()
const seed = { peer: createNodeKey().peer, addresses: ['/ip4/198.51.100.7/tcp/7374'] }
const realmOf = () => foundRealm({ name: 'lab', rootKey, founder: createNodeKey().peer, wallMs: 1 })
const faultOf = async (text: string): Promise<string> => {
  try {
    await readRealmCard(text)
    return 'none'
  } catch (error) {
    const { code, reason } = (error as { detail: { code: string; reason: string } }).detail
    return `${code}: ${reason}`
  }
}
const packed = (value: unknown) => `GDR1.${Buffer.from(JSON.stringify(value)).toString('base64url')}`

describe('a realm card', () => {
  test('carries the realm, proven by its chain, and where to find it', async () => {
    const realm = await amendRealm(await realmOf(), rootKey, { federation: 'union' }, 2)
    const read = await readRealmCard(`\n ${writeRealmCard(realm, [seed])} \n`)
    expect(read.realm).toEqual(realm)
    expect(read.seeds).toEqual([seed])
  })

  test('that was altered, cut off or mixed up is refused in words', async () => {
    const realm = await realmOf()
    const card = writeRealmCard(realm, [seed])
    const forged = `${realm.chain[0]!.slice(0, -4)}AAAA`
    expect(await faultOf('')).toBe('INVALID_ARGUMENT: is empty')
    expect(await faultOf('GDL1.abc')).toContain('join token')
    expect(await faultOf('GDR2.abc')).toContain('another version')
    expect(await faultOf('hello')).toContain('does not begin with "GDR1."')
    expect(await faultOf(`${card.slice(0, 40)} ${card.slice(40)}`)).toContain('spaces or line breaks')
    expect(await faultOf(card.slice(0, -40))).toContain('INVALID_ARGUMENT')
    expect(await faultOf(`GDR1.${'%'.repeat(8)}`)).toContain('characters that do not belong there')
    expect(await faultOf(packed({ chain: [], seeds: [] }))).toContain('INVALID_ARGUMENT')
    expect(await faultOf(packed({ chain: realm.chain, seeds: [], more: 1 }))).toContain('INVALID_ARGUMENT')
    expect(await faultOf(packed({ chain: [forged], seeds: [] }))).toContain('its signature is wrong')
    expect(await faultOf(`GDR1.${'A'.repeat(limits.cardBytesMax)}`)).toContain('longer than')
  })
})
