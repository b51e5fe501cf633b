/**
 * The issuer's durable count of token uses. A use is on disk before the newcomer is told that it is in; a peer that lost the
 * answer and asks again takes no second use; redemptions that run at once never exceed the uses, because the check and
 * the write happen in one step and the store's reads see every write at once.
 */
import { Type } from 'typebox'
import { decode, encode } from '../base/codec.ts'
import { GodelError } from '../base/errors.ts'
import { limits, type Limits } from '../base/limits.ts'
import { Count, parser } from '../base/schema.ts'
import { checkJoinToken, type JoinToken } from './join-token.ts'

interface TokenWrite {
  space: string
  key: string
  value: Uint8Array | null
}

/** What is needed of the durable store. Reads must see every write that was handed to `commit`, durable or not. */
export interface TokenStore {
  get(space: string, key: string): Uint8Array | undefined
  scan(space: string, options?: { prefix?: string; limit?: number }): [key: string, value: Uint8Array][]
  commit(writes: readonly TokenWrite[]): Promise<void>
}

export interface TokenUses {
  /**
   * Makes a fresh token redeemable; to be awaited before the token is shown. Forgets those that expired.
   * QUEUE_FULL when `limits.tokensOutstandingMax` tokens are out already.
   */
  register(token: JoinToken, wallMs: number): Promise<void>
  /**
   * Takes one use of the token for `peer`, or none if that peer has taken one already: `first` tells. Resolves when it is durable.
   * TOKEN_INVALID when this node did not issue it or does not know it, TOKEN_EXPIRED, TOKEN_USED_UP.
   * The token must come from `readJoinToken`, which checks its signature.
   */
  redeem(token: JoinToken, peer: string, wallMs: number): Promise<{ first: boolean }>
}

const tokenSpace = 'join-token'
const useSpace = 'join-token-use'
const parseRecord = parser('a token record', Type.Object({ uses: Count(), used: Count(), expiresAtMs: Count() }))

/** `peer` is this node, the issuer. */
export const createTokenUses = ({
  store,
  peer: issuer,
  limits: { tokensOutstandingMax } = limits,
}: {
  store: TokenStore
  peer: string
  limits?: Pick<Limits, 'tokensOutstandingMax'>
}): TokenUses => {
  const recordOf = (tokenId: string) => {
    const bytes = store.get(tokenSpace, tokenId)
    return bytes === undefined ? undefined : parseRecord(decode(bytes, 'a token record'))
  }

  /** Removes the tokens that expired, with their uses; says how many are left. */
  const sweep = (wallMs: number): { left: number; removals: TokenWrite[] } => {
    const all = store.scan(tokenSpace).map(([tokenId]) => tokenId)
    const expired = all.filter((tokenId) => recordOf(tokenId)!.expiresAtMs <= wallMs)
    const uses = expired.flatMap((tokenId) => store.scan(useSpace, { prefix: `${tokenId}/` }).map(([key]) => key))
    const removals = [
      ...expired.map((key) => ({ space: tokenSpace, key, value: null })),
      ...uses.map((key) => ({ space: useSpace, key, value: null })),
    ]
    return { left: all.length - expired.length, removals }
  }

  return {
    async register(token, wallMs) {
      if (token.issuer !== issuer) throw invalid('it was issued by another node')
      const { left, removals } = sweep(wallMs)
      if (left >= tokensOutstandingMax)
        throw new GodelError({ code: 'QUEUE_FULL', what: 'the list of join tokens', limit: tokensOutstandingMax })
      const record = { uses: token.uses, used: 0, expiresAtMs: token.expiresAtMs }
      await store.commit([...removals, { space: tokenSpace, key: token.tokenId, value: encode(record) }])
    },

    async redeem(token, peer, wallMs) {
      if (token.issuer !== issuer) throw invalid('it was issued by another node, which alone redeems it')
      checkJoinToken(token, wallMs)
      const record = recordOf(token.tokenId)
      if (record === undefined) throw invalid('this node does not know it')
      const use = { space: useSpace, key: `${token.tokenId}/${peer}`, value: new Uint8Array(0) }
      // Written again for a peer that has its use: the first write may not be durable yet, and commits are in order.
      if (store.get(use.space, use.key) !== undefined) {
        await store.commit([use])
        return { first: false }
      }
      if (record.used >= record.uses) throw new GodelError({ code: 'TOKEN_USED_UP', uses: record.uses })
      const counted = encode({ ...record, used: record.used + 1 })
      await store.commit([{ space: tokenSpace, key: token.tokenId, value: counted }, use])
      return { first: true }
    },
  }
}

const invalid = (reason: string) => new GodelError({ code: 'TOKEN_INVALID', reason })
