import { generateKeyPairFromSeed, publicKeyFromRaw } from '@libp2p/crypto/keys'
import { peerIdFromPublicKey } from '@libp2p/peer-id'
import fc from 'fast-check'
import { generateKeyPairSync, sign, verify, createPublicKey } from 'node:crypto'
import { chmodSync, mkdirSync, mkdtempSync, readdirSync, rmSync, statSync, symlinkSync, writeFileSync } from 'node:fs'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { afterEach, beforeEach, describe, expect, test } from 'vitest'
import { idPattern, peerIdPattern } from '../../../src/base/ids.ts'
import {
  createNodeKey,
  loadOrCreateKey,
  nodeKeyFromSeed,
  peerFromPublicKey,
  publicKeyOfPeer,
} from '../../../src/identity/node-key.ts'

describe('a node key', () => {
  test('has the PeerId that libp2p derives from the same seed', async () => {
    await fc.assert(
      fc.asyncProperty(fc.uint8Array({ minLength: 32, maxLength: 32 }), async (seed) => {
        const theirs = await generateKeyPairFromSeed('Ed25519', seed)
        const ours = nodeKeyFromSeed(seed)
        expect(ours.peer).toBe(peerIdFromPublicKey(theirs.publicKey).toString())
        expect(ours.publicKey).toEqual(Uint8Array.from(theirs.publicKey.raw))
        expect(ours.seed).toEqual(seed)
        expect(ours.peer).toMatch(new RegExp(peerIdPattern))
      }),
      { numRuns: 50 },
    )
  })

  test('signs what its public key verifies', () => {
    const key = createNodeKey()
    const publicKey = createPublicKey({
      key: { kty: 'OKP', crv: 'Ed25519', x: Buffer.from(publicKeyOfPeer(key.peer)).toString('base64url') },
      format: 'jwk',
    })
    const text = Buffer.from('text')
    expect(verify(null, text, publicKey, sign(null, text, key.privateKey))).toBe(true)
  })

  test('is another one each time', () => {
    expect(createNodeKey().peer).not.toBe(createNodeKey().peer)
  })

  test.each([0, 31, 33, 64])('is not made from a seed of %i bytes', (length) => {
    expect(() => nodeKeyFromSeed(new Uint8Array(length))).toThrow(expect.objectContaining({ code: 'INVALID_ARGUMENT' }))
  })
})

describe('a PeerId', () => {
  test('gives back the public key that it was made of', () => {
    fc.assert(
      fc.property(fc.uint8Array({ minLength: 32, maxLength: 32 }), (bytes) => {
        const peer = peerFromPublicKey(bytes)
        expect(publicKeyOfPeer(peer)).toEqual(bytes)
        expect(peer).toBe(peerIdFromPublicKey(publicKeyFromRaw(bytes)).toString())
      }),
    )
  })

  const good = createNodeKey().peer
  test.each([
    ['empty', ''],
    ['cut off', good.slice(0, -1)],
    ['longer', `${good}1`],
    ['with a leading 1', `1${good}`],
    ['in multibase form', `z${good}`],
    ['with a character outside base58', `${good.slice(0, -1)}0`],
    ['of an RSA key', 'QmYyQSo1c1Ym7orWxLYvCrM2EmxFTANf8wXmmE7DWjhx5N'],
    ['huge', '1'.repeat(100_000)],
  ])('%s is refused', (_name, peer) => {
    expect(() => publicKeyOfPeer(peer)).toThrow(expect.objectContaining({ code: 'INVALID_ARGUMENT' }))
  })

  test('is not confused with an id', () => {
    expect(good).not.toMatch(new RegExp(idPattern('ag')))
  })
})

describe('the key file', () => {
  let dir: string
  let path: string
  beforeEach(() => {
    dir = mkdtempSync(join(tmpdir(), 'godel-key-'))
    path = join(dir, 'node.key')
  })
  afterEach(() => rmSync(dir, { recursive: true }))

  test('is made once, with mode 0600, and gives the same key again', async () => {
    const first = await loadOrCreateKey(path)
    expect(statSync(path).mode & 0o777).toBe(0o600)
    expect((await loadOrCreateKey(path)).peer).toBe(first.peer)
    expect(readdirSync(dir)).toEqual(['node.key'])
  })

  test('is one, however many make it at once', async () => {
    const keys = await Promise.all(Array.from({ length: 20 }, () => loadOrCreateKey(path)))
    expect(new Set(keys.map((key) => key.peer)).size).toBe(1)
    expect(readdirSync(dir)).toEqual(['node.key'])
  })

  test('may be a link to a file that is private', async () => {
    const { peer } = await loadOrCreateKey(path)
    symlinkSync(path, join(dir, 'link'))
    expect((await loadOrCreateKey(join(dir, 'link'))).peer).toBe(peer)
  })

  test.each([0o640, 0o604, 0o610, 0o601, 0o644, 0o666, 0o777])('with mode %o is refused', async (mode) => {
    await loadOrCreateKey(path)
    chmodSync(path, mode)
    await expect(loadOrCreateKey(path)).rejects.toMatchObject({
      detail: { code: 'KEY_FILE_INSECURE', path, mode: `0${mode.toString(8)}` },
    })
  })

  const rsa = generateKeyPairSync('rsa', { modulusLength: 2048 }).privateKey.export({ format: 'pem', type: 'pkcs8' })
  const pem = createNodeKey().privateKey.export({ format: 'pem', type: 'pkcs8' }).toString()
  const publicPem = generateKeyPairSync('ed25519').publicKey.export({ format: 'pem', type: 'spki' }).toString()
  test.each([
    ['empty', ''],
    ['text', 'hello'],
    ['cut off', pem.slice(0, 60)],
    ['zeroes', '\0'.repeat(119)],
    ['a key of another type', rsa.toString()],
    ['a public key', publicPem],
    ['huge', pem + '\n'.repeat(100_000)],
  ])('that is %s is refused and left as it is', async (_name, text) => {
    writeFileSync(path, text, { mode: 0o600 })
    await expect(loadOrCreateKey(path)).rejects.toMatchObject({ detail: { code: 'KEY_FILE_INVALID', path } })
    expect(statSync(path).size).toBe(Buffer.byteLength(text))
  })

  test('that is a directory, or whose directory is missing, is refused', async () => {
    mkdirSync(path, { mode: 0o700 })
    await expect(loadOrCreateKey(path)).rejects.toMatchObject({ code: 'KEY_FILE_INVALID' })
    await expect(loadOrCreateKey(join(dir, 'no', 'node.key'))).rejects.toMatchObject({ code: 'KEY_FILE_INVALID' })
  })
})
