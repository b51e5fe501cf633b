/**
 * Nodes that are pinned by PeerId on both sides, across realms or without any. A pin is this node's own: it is kept in its store,
 * and nobody is ever told of it.
 */
import { Type } from 'typebox'
import { NameSchema } from '../base/advertisement.ts'
import { decode, encode } from '../base/codec.ts'
import { GodelError, hasCode, reasonOf } from '../base/errors.ts'
import { PinSchema, type Pin } from '../base/federation.ts'
import type { Limits } from '../base/limits.ts'
import type { Log } from '../base/log.ts'
import { parser } from '../base/schema.ts'
import type { Scope } from '../base/standing.ts'
import { publicKeyOfPeer } from '../identity/node-key.ts'
import type { Store } from '../store/store.ts'

const SPACE = 'pins'
const parsePin = parser('a pin', Type.Omit(PinSchema, ['connected']))
const parseName = parser('a name', NameSchema)
type Kept = Omit<Pin, 'connected'>

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

/** For the parts of this room. */
export interface OwnPins extends Pins {
  get(peer: string): Kept | undefined
  /** A pinned node has shown of which realm it is, and how it is called: kept, and no more than that. */
  note(peer: string, seen: { realm?: string; name?: string }): Promise<void>
  /** Tells of every pin that is new, changed or gone. */
  onChange(fn: (peer: string) => void): void
}

export const openPins = (deps: {
  self: string
  store: Store
  log: Log
  limits: Pick<Limits, 'pinsMax'>
  isConnected: (peer: string) => boolean
}): OwnPins => {
  const { self, store, log, limits, isConnected } = deps
  const pins = new Map<string, Kept>()
  const listeners = new Set<(peer: string) => void>()
  for (const [peer, bytes] of store.scan(SPACE)) {
    try {
      pins.set(peer, parsePin(decode(bytes, 'a pin')))
    } catch (error) {
      log.warn('a pin could not be read', { peer, error: reasonOf(error) })
    }
  }

  const put = async (pin: Kept): Promise<void> => {
    await store.commit([{ space: SPACE, key: pin.peer, value: encode(pin) }])
    pins.set(pin.peer, pin)
  }
  const changed = (peer: string): void => {
    for (const listener of listeners) listener(peer)
  }
  const shown = (pin: Kept): Pin => ({ ...pin, connected: isConnected(pin.peer) })

  return {
    get: (peer) => pins.get(peer),
    list: () => [...pins.values()].map(shown),
    async register({ peer, name, addresses, scopes, agentsPerNode }) {
      publicKeyOfPeer(peer)
      if (peer === self)
        throw new GodelError({ code: 'INVALID_ARGUMENT', field: 'peer', reason: 'is this node itself' })
      const before = pins.get(peer)
      if (!before && pins.size >= limits.pinsMax)
        throw new GodelError({ code: 'QUEUE_FULL', what: 'the list of pins', limit: limits.pinsMax })
      const kept = name ?? before?.name
      const pin = checked({
        peer,
        ...(kept !== undefined && { name: kept }),
        addresses: [...addresses],
        scopes: [...scopes],
        agentsPerNode,
        ...(before?.realm !== undefined && { realm: before.realm }),
      })
      await put(pin)
      changed(peer)
      return shown(pin)
    },
    async unregister(peer) {
      if (!pins.has(peer)) throw new GodelError({ code: 'NOT_FOUND', what: 'pin', id: peer })
      // Gone before it is gone from the disk: what it let in ends now.
      pins.delete(peer)
      changed(peer)
      await store.commit([{ space: SPACE, key: peer, value: null }])
    },
    async note(peer, { realm, name }) {
      const pin = pins.get(peer)
      if (!pin) return
      const { realm: _, ...rest } = pin
      const seen = name !== undefined && pin.name === undefined && isName(name) ? { name } : {}
      const next = { ...rest, ...seen, ...(realm !== undefined && { realm }) }
      if (next.realm === pin.realm && next.name === pin.name) return
      await put(next)
    },
    onChange: (fn) => void listeners.add(fn),
  }
}

const isName = (name: string): boolean => {
  try {
    return parseName(name) !== ''
  } catch {
    return false
  }
}

const checked = (pin: Kept): Kept => {
  try {
    return parsePin(pin)
  } catch (error) {
    if (!hasCode(error, 'INVALID_MESSAGE')) throw error
    throw new GodelError({ code: 'INVALID_ARGUMENT', field: 'pin', reason: error.detail.reason }, { cause: error })
  }
}
