/** Hashes: SHA-256 for content, a fast 32-bit mix for ties, and rendezvous hashing (Thaler and Ravishankar, 1998). */
import { hash } from 'node:crypto'

/** SHA-256 in lower-case hex. */
export const sha256Hex = (data: string | Uint8Array): string => hash('sha256', data, 'hex')

/** 32 bits of a string's hash (FNV-1a with a final avalanche). Not for adversaries, only for spreading. */
export const hash32 = (text: string): number => {
  let h = 0x811c9dc5
  for (let i = 0; i < text.length; i++) {
    h ^= text.charCodeAt(i)
    h = Math.imul(h, 0x01000193)
  }
  return avalanche32(h)
}

/** The finishing mix of MurmurHash3 (Appleby): every input bit reaches every output bit. Gives an unsigned integer. */
export const avalanche32 = (value: number): number => {
  let h = value | 0
  h ^= h >>> 16
  h = Math.imul(h, 0x85ebca6b)
  h ^= h >>> 13
  h = Math.imul(h, 0xc2b2ae35)
  h ^= h >>> 16
  return h >>> 0
}

/** The `count` members that a key belongs to, best first; any two nodes with the same members agree. */
export const rendezvous = (key: string, members: Iterable<string>, count: number): string[] =>
  [...members]
    .map((member) => ({ member, weight: sha256Hex(`${key}\0${member}`) }))
    .toSorted((a, b) => (a.weight < b.weight ? 1 : a.weight > b.weight ? -1 : a.member < b.member ? -1 : 1))
    .slice(0, count)
    .map((entry) => entry.member)
