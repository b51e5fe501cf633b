/**
 * Posting lists: which slots bear a term. A term of few slots is a list, a term of many is a bit per slot, so that ten
 * thousand rare labels cost little and a common capability is intersected 32 slots at a time.
 */

/** The slots that bear one term: `slots` while they are few, `bits` once they are many. */
export interface Posting {
  readonly term: string
  count: number
  slots: number[]
  bits: Int32Array | undefined
}

/** A set of slots, one bit each: the working sets of a decision. */
export type Mask = Int32Array

export const createPosting = (term: string): Posting => ({ term, count: 0, slots: [], bits: undefined })

/** The words that hold one bit for each of `slots` slots. */
export const wordsFor = (slots: number): number => (slots + 31) >>> 5

const wordOf = (slot: number): number => slot >>> 5
const bitOf = (slot: number): number => 1 << (slot & 31)

export const maskHas = (mask: Mask, slot: number): boolean => ((mask[wordOf(slot)] ?? 0) & bitOf(slot)) !== 0

export const maskDrop = (mask: Mask, slot: number): void => {
  mask[wordOf(slot)]! &= ~bitOf(slot)
}

/** Writes the slots of a mask to `into`, lowest first, and gives their count. */
export const slotsOf = (mask: Mask, into: Int32Array): number => {
  let count = 0
  for (let word = 0; word < mask.length; word++) {
    let rest = mask[word]!
    const base = word << 5
    if (rest === -1) {
      for (let bit = 0; bit < 32; bit++) into[count++] = base + bit
      continue
    }
    while (rest !== 0) {
      into[count++] = base + 31 - Math.clz32(rest & -rest)
      rest &= rest - 1
    }
  }
  return count
}

export const bears = (posting: Posting, slot: number): boolean =>
  posting.bits === undefined ? posting.slots.includes(slot) : maskHas(posting.bits, slot)

/** Adds a slot that does not bear the term yet. `words` is the length of a mask over all slots. */
export const addSlot = (posting: Posting, slot: number, words: number): void => {
  posting.count++
  if (posting.bits === undefined) {
    posting.slots.push(slot)
    // From here on a bit per slot takes no more memory than the list.
    if (posting.count > words) toBits(posting, words)
    return
  }
  if (wordOf(slot) >= posting.bits.length) toBits(posting, words)
  posting.bits[wordOf(slot)]! |= bitOf(slot)
}

/** Takes away a slot that bears the term. */
export const dropSlot = (posting: Posting, slot: number): void => {
  posting.count--
  if (posting.bits === undefined) {
    const last = posting.slots.pop()!
    if (last !== slot) posting.slots[posting.slots.indexOf(slot)] = last
    return
  }
  maskDrop(posting.bits, slot)
  // Half of the way up, so that a term on the brink does not go back and forth.
  if (posting.count * 2 < posting.bits.length) toList(posting, posting.bits)
}

/** Keeps of `mask` what bears the term. `scratch` is as long as the mask, and overwritten. */
export const intersect = (mask: Mask, posting: Posting, scratch: Mask): void => {
  let bits = posting.bits
  if (bits === undefined) {
    bits = scratch.fill(0)
    for (const slot of posting.slots) bits[wordOf(slot)]! |= bitOf(slot)
  }
  const common = Math.min(mask.length, bits.length)
  for (let word = 0; word < common; word++) mask[word]! &= bits[word]!
  if (common < mask.length) mask.fill(0, common)
}

const toBits = (posting: Posting, words: number): void => {
  const bits = new Int32Array(words)
  if (posting.bits !== undefined) bits.set(posting.bits)
  for (const slot of posting.slots) bits[wordOf(slot)]! |= bitOf(slot)
  posting.slots = []
  posting.bits = bits
}

const toList = (posting: Posting, bits: Int32Array): void => {
  const slots = new Int32Array(posting.count)
  slotsOf(bits, slots)
  posting.slots = [...slots]
  posting.bits = undefined
}
