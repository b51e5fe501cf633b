/** Keeps the candidates of routing in step with the view of the mesh. */
import { every, type Clock } from '../base/clock.ts'
import type { Limits } from '../base/limits.ts'
import type { PeerView, View } from '../mesh/view.ts'
import type { Candidates } from '../routing/candidates.ts'

interface FeedDeps {
  view: View
  candidates: Candidates
  clock: Clock
  limits: Pick<Limits, 'syncIntervalMs'>
}

/** Feeds what the view holds now and every change from then on; gives the function that ends it. */
export const feedCandidates = ({ view, candidates, clock, limits }: FeedDeps): (() => void) => {
  const fed = new Set<string>()
  const feed = ({ peer, state, ad, ageMs, self }: PeerView): void => {
    fed.add(peer)
    candidates.upsert({ peer, level: 'realm', state, trusted: true, self, ad, issuedAtMs: clock.monotonicMs() - ageMs })
  }
  for (const entry of view.entries()) feed(entry)
  const off = view.onChange(feed)
  // A peer that is down stays, so that its rejection has a reason; one that the view has forgotten goes.
  const tidy = () => {
    for (const peer of fed) {
      if (view.get(peer) !== undefined) continue
      candidates.remove(peer)
      fed.delete(peer)
    }
  }
  const loop = every(
    clock,
    () => limits.syncIntervalMs,
    tidy,
    () => {},
  )
  return () => {
    off()
    loop.stop()
  }
}
