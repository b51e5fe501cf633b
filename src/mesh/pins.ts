/** Nodes that are pinned by PeerId on both sides, across realms or without any. */
import type { Pin } from '../base/federation.ts'
import type { Scope } from '../base/standing.ts'

export interface Pins {
  /** Pins a peer, or changes a pin; durable when it resolves. INVALID_ARGUMENT for the own PeerId, QUEUE_FULL. */
  register(pin: {
    peer: string
    name?: string | undefined
    addresses: readonly string[]
    scopes: readonly Scope[]
    agentsPerNode: number
  }): Promise<Pin>
  /** Ends a pin and what goes on by it. NOT_FOUND. */
  unregister(peer: string): Promise<void>
  list(): Pin[]
}
