/** The node's incarnation: on disk before it is used, one higher with each start, raised where somebody must be answered. */
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

/** Reads the last incarnation and goes one above it; STORE_FAILED when that cannot be kept. */
export const openIncarnation = async (store: Store): Promise<Incarnation> => {
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
  await raise(current)
  return { current: () => current, raise }
}
