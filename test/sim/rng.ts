/** Chance from a seed: the same seed gives the same numbers. A stream of its own for each part, so that one does not shift another's. */
export interface Rng {
  /** From 0 up to 1. */
  next(): number
  below(count: number): number
  /** From `min` up to `max`. */
  between(min: number, max: number): number
  pick<T>(items: readonly T[]): T
  /** Log-normal with that median; `sigma` is the deviation of its logarithm. */
  lognormal(median: number, sigma: number): number
  /** `count` different items. */
  sample<T>(items: readonly T[], count: number): T[]
}

const mix = (text: string): number => {
  let h = 0x811c9dc5
  for (let at = 0; at < text.length; at++) h = Math.imul(h ^ text.charCodeAt(at), 0x01000193)
  h = Math.imul(h ^ (h >>> 16), 0x85ebca6b)
  h = Math.imul(h ^ (h >>> 13), 0xc2b2ae35)
  return (h ^ (h >>> 16)) >>> 0
}

/** The generator is sfc32 (Doty-Humphrey's PractRand), which passes its own battery of tests. */
export const createRng = (seed: string): Rng => {
  let a = mix(`${seed}/a`)
  let b = mix(`${seed}/b`)
  let c = mix(`${seed}/c`)
  let counter = 1
  const next = (): number => {
    const sum = (((a + b) | 0) + counter) | 0
    counter = (counter + 1) | 0
    a = b ^ (b >>> 9)
    b = (c + (c << 3)) | 0
    c = (c << 21) | (c >>> 11)
    c = (c + sum) | 0
    return (sum >>> 0) / 2 ** 32
  }
  for (let round = 0; round < 12; round++) next()
  const below = (count: number) => Math.floor(next() * count)
  return {
    next,
    below,
    between: (min, max) => min + (max - min) * next(),
    pick: (items) => items[below(items.length)]!,
    lognormal(median, sigma) {
      const normal = Math.sqrt(-2 * Math.log(1 - next())) * Math.cos(2 * Math.PI * next())
      return median * Math.exp(sigma * normal)
    },
    sample(items, count) {
      const pool = [...items]
      const wanted = Math.min(count, pool.length)
      for (let at = 0; at < wanted; at++) {
        const other = at + below(pool.length - at)
        ;[pool[at], pool[other]] = [pool[other]!, pool[at]!]
      }
      return pool.slice(0, wanted)
    },
  }
}
