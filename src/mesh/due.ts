/**
 * What is to be looked at when: keys in slots of time (a timing wheel after Varghese and Lauck, 1987, that is filed lazily).
 * Whoever files a key remembers its slot; a key that is found in another slot than that has been filed again meanwhile and
 * counts for nothing. A key that is due later than it was filed stays where it is and is filed anew when it is met.
 */
const slotMs = 1_000

export interface Due {
  /** The slot of a time, or the first that is still to come. */
  slotOf(dueMs: number): number
  file(key: string, slot: number): void
  /** Takes out every key whose slot has begun. */
  take(nowMs: number): { key: string; slot: number }[]
}

export const createDue = (startMs: number): Due => {
  const slots = new Map<number, string[]>()
  const plain = (ms: number): number => Math.max(0, Math.floor(ms / slotMs))
  let first = plain(startMs)
  return {
    slotOf: (dueMs) => Math.max(first, plain(dueMs)),
    file(key, slot) {
      const keys = slots.get(slot)
      if (keys) keys.push(key)
      else slots.set(slot, [key])
    },
    take(nowMs) {
      const last = Math.max(first, plain(nowMs))
      const taken: { key: string; slot: number }[] = []
      for (let slot = first; slot <= last && slots.size > 0; slot++) {
        for (const key of slots.get(slot) ?? []) taken.push({ key, slot })
        slots.delete(slot)
      }
      first = last
      return taken
    },
  }
}
