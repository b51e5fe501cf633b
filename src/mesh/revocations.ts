/**
 * The entries of issuers about who is out, durable before they count. How they are kept and which of them stand is decided in
 * identity/revocation.ts; they come by gossip, and with the head of the realm wherever two peers compare theirs.
 */
import { sha256Hex } from '../base/hash.ts'
import type { Limits } from '../base/limits.ts'
import type { Log } from '../base/log.ts'
import { reasonOf } from '../base/errors.ts'
import { keepRevocations, readRevocation, type Revocation } from '../identity/revocation.ts'
import type { Store, Write } from '../store/store.ts'

const SPACE = 'revocation'

export interface Revocations {
  /** By issuer and peer in order. */
  entries(): readonly Revocation[]
  /** SHA-256 in hex of all entries: two nodes with the same hash know the same. */
  hash(): string
  /** What an issuer says of a peer. */
  of(issuer: string, peer: string): Revocation | undefined
  /** Keeps what of these is new and by one of `revokers`, and forgets what is by others. Gives how many were new; STORE_FAILED. */
  keep(fresh: readonly Revocation[], revokers: readonly string[]): Promise<number>
  /** A page of entries, those after `after` (`issuer/peer`). */
  page(after: string | undefined): { entries: string[]; more: boolean; last?: string }
}

/** Reads what the store holds of a realm; an entry that cannot be read is told in the log and left out. */
export const openRevocations = async (
  deps: { store: Store; log: Log; limits: Pick<Limits, 'revocationsPerIssuerMax' | 'revocationsPerPage'> },
  { realm }: { realm: string },
): Promise<Revocations> => {
  const { store, log, limits } = deps
  const kept = new Map<string, Revocation>()
  for (const [key, bytes] of store.scan(SPACE, { prefix: `${realm}/` })) {
    try {
      const entry = await readRevocation(new TextDecoder().decode(bytes), realm)
      kept.set(keyOf(entry), entry)
    } catch (error) {
      log.warn('a stored revocation could not be read', { key, error: reasonOf(error) })
    }
  }
  let hash = hashOf(kept)

  return {
    entries: () => [...kept.values()],
    hash: () => hash,
    of: (issuer, peer) => kept.get(`${issuer}/${peer}`),
    async keep(fresh, revokers) {
      const all = [...kept.values(), ...fresh].filter(({ issuer }) => revokers.includes(issuer))
      const next = new Map(keepRevocations(all, limits.revocationsPerIssuerMax).map((entry) => [keyOf(entry), entry]))
      const news = [...next].filter(([key, { hash: mark }]) => kept.get(key)?.hash !== mark)
      const gone = [...kept.keys()].filter((key) => !next.has(key))
      if (news.length + gone.length === 0) return 0
      const writes: Write[] = [
        ...news.map(([key, { jws }]) => ({
          space: SPACE,
          key: `${realm}/${key}`,
          value: new TextEncoder().encode(jws),
        })),
        ...gone.map((key) => ({ space: SPACE, key: `${realm}/${key}`, value: null })),
      ]
      await store.commit(writes)
      kept.clear()
      for (const [key, entry] of next) kept.set(key, entry)
      hash = hashOf(kept)
      return news.length
    },
    page(after) {
      const all = [...kept].filter(([key]) => after === undefined || key > after)
      const some = all.slice(0, limits.revocationsPerPage)
      const last = some.at(-1)?.[0]
      return {
        entries: some.map(([, { jws }]) => jws),
        more: all.length > some.length,
        ...(last !== undefined && { last }),
      }
    },
  }
}

const keyOf = ({ issuer, peer }: Revocation): string => `${issuer}/${peer}`

const hashOf = (kept: ReadonlyMap<string, Revocation>): string =>
  sha256Hex([...kept.values()].map(({ hash }) => hash).join(' '))
