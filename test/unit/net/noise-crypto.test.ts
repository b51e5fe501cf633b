import { defaultCrypto } from '@libp2p/noise/crypto'
import fc from 'fast-check'
import { describe, expect, it } from 'vitest'
import { noiseCrypto } from '../../../src/net/noise-crypto.ts'

const bytes = (length: number) => fc.uint8Array({ minLength: length, maxLength: length })
const sizes = fc.constantFrom(0, 1, 1_183, 1_184, 1_199, 1_200, 5_000, 65_519)

describe('the cipher of Noise', () => {
  it('gives and takes the same bytes as the library', () => {
    fc.assert(
      fc.property(
        sizes,
        bytes(32),
        bytes(12),
        fc.uint8Array({ maxLength: 40 }),
        fc.nat(255),
        (size, key, nonce, ad, fill) => {
          const plaintext = new Uint8Array(size).fill(fill)
          const theirs = defaultCrypto.chaCha20Poly1305Encrypt(plaintext, nonce, ad, key).subarray()
          const ours = noiseCrypto.chaCha20Poly1305Encrypt(plaintext, nonce, ad, key).subarray()
          expect(Buffer.from(ours).equals(theirs)).toBe(true)
          const back = noiseCrypto.chaCha20Poly1305Decrypt(theirs, nonce, ad, key).subarray()
          expect(Buffer.from(back).equals(plaintext)).toBe(true)
        },
      ),
      { numRuns: 60 },
    )
  })

  it('refuses what was altered', () => {
    const [key, nonce, ad] = [new Uint8Array(32).fill(1), new Uint8Array(12), new Uint8Array(0)]
    const sealed = noiseCrypto.chaCha20Poly1305Encrypt(new Uint8Array(5_000), nonce, ad, key).subarray()
    for (const at of [0, 4_999, 5_000, 5_015]) {
      const altered = Uint8Array.from(sealed)
      altered[at]! ^= 1
      expect(() => noiseCrypto.chaCha20Poly1305Decrypt(altered, nonce, ad, key)).toThrow('authenticate')
    }
  })
})
