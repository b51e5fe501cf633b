/**
 * Room identity: who a node is, which realm it belongs to, and how it got in. No network and no clock: every check
 * is a function of bytes and a given time, so that it holds offline.
 *
 * node-key.ts        the Ed25519 key of a node, its file, and the PeerId that follows from it (main file)
 * secret-file.ts     files that only their owner may read: written whole or not at all, refused when others can read them
 * jws.ts             compact JWS with one algorithm, one type and one key; the only place that calls `jose`
 * realm-document.ts  the signed, chained document that says what a realm is; its genesis hash is the realm's id
 * realm-chain.ts     which versions of it are kept and shown as the proof of the newest, and whether two proofs agree
 * realm-card.ts      what the operator of one realm hands to that of another
 * certificate.ts     membership of a peer in a realm, granted by an issuer that the document names
 * join-token.ts      the line that lets a newcomer in: made by an issuer, redeemed by that issuer alone
 * token-uses.ts      the issuer's durable count of how often a token was redeemed
 * revocation.ts      signed entries by which issuers put a peer out, and which of them stand
 * root-keys.ts       the root key of a realm where it is kept, and how another takes its place
 */
import { createPrivateKey, createPublicKey, generateKeyPairSync, type KeyObject } from 'node:crypto'
import { base58btc } from 'multiformats/bases/base58'
import { GodelError } from '../base/errors.ts'
import { loadOrCreatePrivateFile, loadPrivateFile } from './secret-file.ts'

/** The Ed25519 key of a node. `seed` and `privateKey` never leave the node. */
export interface NodeKey {
  /** The PeerId in libp2p's text form. */
  readonly peer: string
  /** 32 bytes. */
  readonly publicKey: Uint8Array
  /** 32 bytes, private. */
  readonly seed: Uint8Array
  readonly privateKey: KeyObject
}

/** The DER wrapping of a 32-byte Ed25519 seed in PKCS #8 (RFC 8410, section 7). */
const pkcs8Prefix = Buffer.from('302e020100300506032b657004220420', 'hex')

/** A libp2p PeerId before its key: identity multihash (00, 36 bytes) of the protobuf {type: Ed25519, data: 32 bytes}. */
const peerPrefix = Buffer.from('002408011220', 'hex')

/** A fresh key from the system's random source. */
export const createNodeKey = (): NodeKey => fromPrivateKey(generateKeyPairSync('ed25519').privateKey)

/** The key of a 32-byte seed (RFC 8032); INVALID_ARGUMENT for any other length. */
export const nodeKeyFromSeed = (seed: Uint8Array): NodeKey => {
  if (seed.byteLength !== 32)
    throw new GodelError({ code: 'INVALID_ARGUMENT', field: 'seed', reason: 'must be 32 bytes' })
  return fromPrivateKey(createPrivateKey({ key: Buffer.concat([pkcs8Prefix, seed]), format: 'der', type: 'pkcs8' }))
}

/**
 * The key in the file `path` (PKCS #8 in PEM, mode 0600), made on first use.
 * KEY_FILE_INSECURE when others may read the file, KEY_FILE_INVALID when it holds no Ed25519 key or cannot be read.
 */
export const loadOrCreateKey = async (path: string): Promise<NodeKey> =>
  readKey(path, await loadOrCreatePrivateFile(path, () => toPem(createNodeKey())))

/** The key in the file `path`, which is not made; undefined where there is no such file. Codes as above. */
export const loadKey = async (path: string): Promise<NodeKey | undefined> => {
  const text = await loadPrivateFile(path)
  return text === undefined ? undefined : readKey(path, text)
}

const readKey = (path: string, text: string): NodeKey => {
  const key = parsePem(path, text)
  if (key.asymmetricKeyType !== 'ed25519') throw notAKey(path, `it holds a key of type ${key.asymmetricKeyType}`)
  return fromPrivateKey(key)
}

/** The PeerId (`12D3KooW…`) of a 32-byte Ed25519 public key; INVALID_ARGUMENT for any other length. */
export const peerFromPublicKey = (publicKey: Uint8Array): string => {
  if (publicKey.byteLength !== 32)
    throw new GodelError({ code: 'INVALID_ARGUMENT', field: 'public key', reason: 'must be 32 bytes' })
  return base58btc.baseEncode(Buffer.concat([peerPrefix, publicKey]))
}

/** The 32-byte Ed25519 public key inside a PeerId; INVALID_ARGUMENT when it is no Ed25519 PeerId in its one text form. */
export const publicKeyOfPeer = (peer: string): Uint8Array => {
  const bytes = peer.length > 64 ? undefined : decodeBase58(peer)
  const sound =
    bytes !== undefined &&
    bytes.byteLength === peerPrefix.byteLength + 32 &&
    peerPrefix.equals(bytes.subarray(0, peerPrefix.byteLength)) &&
    base58btc.baseEncode(bytes) === peer
  if (!sound) throw new GodelError({ code: 'INVALID_ARGUMENT', field: 'peer', reason: 'is not an Ed25519 PeerId' })
  return bytes.slice(peerPrefix.byteLength)
}

const decodeBase58 = (text: string): Uint8Array | undefined => {
  try {
    return base58btc.baseDecode(text)
  } catch {
    return undefined
  }
}

const fromPrivateKey = (privateKey: KeyObject): NodeKey => {
  const publicKey = createPublicKey(privateKey).export({ format: 'der', type: 'spki' }).subarray(-32)
  const seed = privateKey.export({ format: 'der', type: 'pkcs8' }).subarray(-32)
  return {
    peer: peerFromPublicKey(publicKey),
    publicKey: Uint8Array.from(publicKey),
    seed: Uint8Array.from(seed),
    privateKey,
  }
}

const toPem = (key: NodeKey): string => key.privateKey.export({ format: 'pem', type: 'pkcs8' }).toString()

/** OpenSSL's words ("error:1E08010C:DECODER routines::unsupported") help nobody. */
const parsePem = (path: string, text: string): KeyObject => {
  try {
    return createPrivateKey({ key: text, format: 'pem' })
  } catch (error) {
    throw notAKey(path, 'it holds no private key in PEM form', error)
  }
}

const notAKey = (path: string, reason: string, cause?: unknown) =>
  new GodelError({ code: 'KEY_FILE_INVALID', path, reason }, { cause })
