/** Real keys that seal and open envelopes, as nodes do. */
import { generateKeyPair } from '@libp2p/crypto/keys'
import { peerIdFromPrivateKey } from '@libp2p/peer-id'
import { open, seal } from '../../src/net/envelope.ts'
import type { Sealer } from '../../src/ownership/records.ts'

export interface TestSealer extends Sealer {
  peer: string
}

export const createSealer = async (): Promise<TestSealer> => {
  const key = await generateKeyPair('Ed25519')
  return {
    peer: peerIdFromPrivateKey(key).toString(),
    seal: (domain, payload) => seal(key, domain, payload),
    open,
  }
}
