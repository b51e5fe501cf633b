/**
 * The node's incarnation: on disk before it is used, higher with each start, raised where somebody must be answered. A start
 * may leap: two nodes that start on copies of one store are then at different numbers from the first.
 */
import { decode, encode } from '../base/codec.ts'
import { Count, parser } from '../base/schema.ts'
import type { Store } from '../store/store.ts'

const SPACE = 'mesh'
const KEY = 'incarnation'
const parseIncarnation = parser('the stored incarnation', Count(2 ** 40))

export interface Incarnation {
  current(): number
  /** Durably goes above `incarnation`, unless it is above already; gives the one that counts now. */
  raise(incarnation: number): Promise<number>
}

/** Reads the last incarnation and goes above it, `leap` further than the next; STORE_FAILED when that cannot be kept. */
export const openIncarnation = async (store: Store, leap = 0): Promise<Incarnation> => {
  const bytes = store.get(SPACE, KEY)
  let current = bytes === undefined ? 0 : parseIncarnation(decode(bytes, 'the stored incarnation'))
  let queue: Promise<unknown> = Promise.resolve()

  const raise = (above: number): Promise<number> => {
    const done = queue.then(async () => {
      if (current > above) return current
      const next = above + 1
      await store.commit([{ space: SPACE, key: KEY, value: encode(next) }])
      current = next
      return current
    })
    queue = done.catch(() => {})
    return done
  }
  await raise(current + leap)
  return { current: () => current, raise }
}
