import { describe, expect, test } from 'vitest'
import type { JoinToken } from '../../../src/identity/join-token.ts'
import { createNodeKey } from '../../../src/identity/node-key.ts'
import { createTokenUses } from '../../../src/identity/token-uses.ts'
import { openMemoryStore } from '../../../src/store/memory.ts'
import { mintId } from '../../../src/base/ids.ts'

const wallMs = 1_800_000_000_000
const issuer = createNodeKey().peer
const newcomers = Array.from({ length: 8 }, () => createNodeKey().peer)

const tokenFor = (uses: number, change: Partial<JoinToken> = {}): JoinToken => ({
  tokenId: mintId('tk', wallMs),
  realm: 'a'.repeat(64),
  realmName: 'lab',
  issuer,
  role: 'member',
  seeds: [{ peer: issuer, addresses: [] }],
  uses,
  expiresAtMs: wallMs + 1_000,
  minVersion: 1,
  ...change,
})

const outcomes = async (redemptions: Promise<unknown>[]) =>
  (await Promise.allSettled(redemptions)).map((result) =>
    result.status === 'fulfilled' ? 'in' : (result.reason as { code: string }).code,
  )

describe('a join token', () => {
  test('is redeemed as often as it allows, and not once more', async () => {
    const uses = createTokenUses({ store: openMemoryStore(), peer: issuer })
    const token = tokenFor(2)
    await uses.register(token, wallMs)
    await uses.redeem(token, newcomers[0]!, wallMs)
    await uses.redeem(token, newcomers[1]!, wallMs)
    await expect(uses.redeem(token, newcomers[2]!, wallMs)).rejects.toMatchObject({
      detail: { code: 'TOKEN_USED_UP', uses: 2 },
    })
  })

  test('is never redeemed too often by peers that come at once', async () => {
    const uses = createTokenUses({ store: openMemoryStore(), peer: issuer })
    const token = tokenFor(3)
    await uses.register(token, wallMs)
    const got = await outcomes(newcomers.map((peer) => uses.redeem(token, peer, wallMs)))
    expect(got.filter((outcome) => outcome === 'in')).toHaveLength(3)
    expect(got.filter((outcome) => outcome === 'TOKEN_USED_UP')).toHaveLength(5)
  })

  test('takes one use of a peer that asks again, also when it is used up', async () => {
    const uses = createTokenUses({ store: openMemoryStore(), peer: issuer })
    const token = tokenFor(2)
    await uses.register(token, wallMs)
    const first = newcomers[0]!
    expect(await outcomes([first, first, first].map((peer) => uses.redeem(token, peer, wallMs)))).toEqual([
      'in',
      'in',
      'in',
    ])
    await uses.redeem(token, newcomers[1]!, wallMs)
    await uses.redeem(token, first, wallMs)
  })

  test('keeps its count over a restart of the issuer', async () => {
    const store = openMemoryStore()
    const token = tokenFor(1)
    const before = createTokenUses({ store, peer: issuer })
    await before.register(token, wallMs)
    await before.redeem(token, newcomers[0]!, wallMs)
    const after = createTokenUses({ store, peer: issuer })
    await expect(after.redeem(token, newcomers[1]!, wallMs)).rejects.toMatchObject({ code: 'TOKEN_USED_UP' })
    await after.redeem(token, newcomers[0]!, wallMs)
  })

  test('is refused by a node that did not issue it, or does not know it', async () => {
    const uses = createTokenUses({ store: openMemoryStore(), peer: issuer })
    await expect(uses.redeem(tokenFor(1), newcomers[0]!, wallMs)).rejects.toMatchObject({ code: 'TOKEN_INVALID' })
    const foreign = tokenFor(1, { issuer: newcomers[1]! })
    await expect(uses.redeem(foreign, newcomers[0]!, wallMs)).rejects.toMatchObject({ code: 'TOKEN_INVALID' })
    await expect(uses.register(foreign, wallMs)).rejects.toMatchObject({ code: 'TOKEN_INVALID' })
  })

  test('is over when it has expired, for those too that have used it', async () => {
    const uses = createTokenUses({ store: openMemoryStore(), peer: issuer })
    const token = tokenFor(2)
    await uses.register(token, wallMs)
    await uses.redeem(token, newcomers[0]!, token.expiresAtMs - 1)
    for (const peer of newcomers.slice(0, 2))
      await expect(uses.redeem(token, peer, token.expiresAtMs)).rejects.toMatchObject({ code: 'TOKEN_EXPIRED' })
  })

  test('that has expired leaves nothing behind once another is made', async () => {
    const store = openMemoryStore()
    const uses = createTokenUses({ store, peer: issuer })
    const [old, fresh] = [tokenFor(3), tokenFor(3, { expiresAtMs: wallMs + 9_000 })]
    await uses.register(old, wallMs)
    await uses.redeem(old, newcomers[0]!, wallMs)
    await uses.register(fresh, old.expiresAtMs)
    await uses.redeem(fresh, newcomers[1]!, old.expiresAtMs)
    expect(store.scan('join-token').map(([key]) => key)).toEqual([fresh.tokenId])
    expect(store.scan('join-token-use').map(([key]) => key)).toEqual([`${fresh.tokenId}/${newcomers[1]}`])
    await expect(uses.redeem(old, newcomers[0]!, old.expiresAtMs)).rejects.toMatchObject({ code: 'TOKEN_EXPIRED' })
  })

  test('is not made when too many are out, until some have expired', async () => {
    const uses = createTokenUses({ store: openMemoryStore(), peer: issuer, limits: { tokensOutstandingMax: 2 } })
    for (let i = 0; i < 2; i++) await uses.register(tokenFor(1), wallMs)
    await expect(uses.register(tokenFor(1), wallMs)).rejects.toMatchObject({ code: 'QUEUE_FULL' })
    await uses.register(tokenFor(1, { expiresAtMs: wallMs + 5_000 }), wallMs + 1_000)
  })
})

describe('a redemption', () => {
  /** A memory store whose commits become durable when the test says so. */
  const heldStore = () => {
    const inner = openMemoryStore()
    const held: PromiseWithResolvers<void>[] = []
    return {
      store: {
        ...inner,
        commit: async (writes: Parameters<typeof inner.commit>[0]) => {
          const gate = Promise.withResolvers<void>()
          held.push(gate)
          void inner.commit(writes)
          await gate.promise
        },
      },
      held,
    }
  }

  test('is told only after it is durable, to the peer that asks twice as well', async () => {
    const { store, held } = heldStore()
    const uses = createTokenUses({ store, peer: issuer })
    const token = tokenFor(1)
    const registered = uses.register(token, wallMs)
    await new Promise((resolve) => setImmediate(resolve))
    held.shift()!.resolve()
    await registered
    const told: string[] = []
    const first = uses.redeem(token, newcomers[0]!, wallMs).then(() => told.push('first'))
    const second = uses.redeem(token, newcomers[0]!, wallMs).then(() => told.push('second'))
    await new Promise((resolve) => setImmediate(resolve))
    expect(told).toEqual([])
    for (const gate of held) gate.resolve()
    await Promise.all([first, second])
    expect(told).toEqual(['first', 'second'])
  })

  test('whose write fails is not told as a success', async () => {
    const { store, held } = heldStore()
    const uses = createTokenUses({ store, peer: issuer })
    const token = tokenFor(1)
    const registered = uses.register(token, wallMs)
    await new Promise((resolve) => setImmediate(resolve))
    held.shift()!.resolve()
    await registered
    const redeemed = uses.redeem(token, newcomers[0]!, wallMs)
    held[0]!.reject(new Error('disk'))
    await expect(redeemed).rejects.toThrow('disk')
  })
})
