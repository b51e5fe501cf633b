/** What a node sees outside its realm, as a test says it. */
import type { GuestPeer, GuestView } from '../../src/mesh/guest-view.ts'

export interface FakeGuestView extends GuestView {
  set(entry: GuestPeer): void
  drop(peer: string): void
}

export const createFakeGuestView = (): FakeGuestView => {
  const entries = new Map<string, GuestPeer>()
  const listeners = new Set<(peer: string, entry: GuestPeer | undefined) => void>()
  return {
    get: (peer) => entries.get(peer),
    entries: () => entries.values(),
    onChange(fn) {
      listeners.add(fn)
      return () => void listeners.delete(fn)
    },
    set(entry) {
      entries.set(entry.peer, entry)
      for (const listener of listeners) listener(entry.peer, entry)
    },
    drop(peer) {
      entries.delete(peer)
      for (const listener of listeners) listener(peer, undefined)
    },
  }
}
