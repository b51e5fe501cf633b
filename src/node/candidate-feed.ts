/** Keeps the candidates of routing in step with the view of the mesh, and with what shows itself outside the realm. */
import { every, type Clock } from '../base/clock.ts'
import type { Limits } from '../base/limits.ts'
import type { GuestPeer, GuestView } from '../mesh/guest-view.ts'
import { isUsable, type PeerView, type View } from '../mesh/view.ts'
import type { Candidates } from '../routing/candidates.ts'

interface FeedDeps {
  view: View
  guests: GuestView
  candidates: Candidates
  clock: Clock
  limits: Pick<Limits, 'syncIntervalMs'>
}

/** Feeds what both views hold now and every change from then on; gives the function that ends it. */
export const feedCandidates = ({ view, guests, candidates, clock, limits }: FeedDeps): (() => void) => {
  const fed = new Set<string>()
  const feed = (entry: PeerView): void => {
    const { peer, ad, ageMs, self } = entry
    fed.add(peer)
    // One liar could say of anybody that it is not there: whoever only one other doubts is a candidate as before.
    const state = isUsable(entry) ? 'alive' : entry.state
    candidates.upsert({ peer, level: 'realm', state, trusted: true, self, ad, issuedAtMs: clock.monotonicMs() - ageMs })
  }
  /** A member of the realm is one, however else it shows itself. */
  const feedGuest = (peer: string, entry: GuestPeer | undefined): void => {
    if (fed.has(peer)) return
    if (!entry) return candidates.remove(peer)
    const { level, state, usable, ad, ageMs } = entry
    const issuedAtMs = clock.monotonicMs() - ageMs
    candidates.upsert({ peer, level, state, trusted: usable, self: false, ad, issuedAtMs })
  }
  for (const entry of view.entries()) feed(entry)
  for (const entry of guests.entries()) feedGuest(entry.peer, entry)
  const offs = [view.onChange(feed), guests.onChange(feedGuest)]
  // A peer that is down stays, so that its rejection has a reason; one that the view has forgotten goes.
  const tidy = () => {
    for (const peer of fed) {
      if (view.get(peer) !== undefined) continue
      fed.delete(peer)
      feedGuest(peer, guests.get(peer))
    }
  }
  const loop = every(
    clock,
    () => limits.syncIntervalMs,
    tidy,
    () => {},
  )
  return () => {
    for (const off of offs) off()
    loop.stop()
  }
}
