/**
 * View sync: gossip may lose anything, and the view is still right within a sync. Push-pull with one peer: bucket hashes,
 * then the digests of the buckets that differ, then the records that either lacks, in pages, with their ages. With the first
 * peers that a node connects to, then with a random one, soon at first and every limits.syncIntervalMs in the end.
 */
import type { Clock, Timer } from '../base/clock.ts'
import { reasonOf } from '../base/errors.ts'
import type { Limits } from '../base/limits.ts'
import type { Log } from '../base/log.ts'
import type { Meter } from '../base/meter.ts'
import type { Refusals } from '../base/refusals.ts'
import { bind, type BoundMethod } from '../net/method.ts'
import type { Direction, Net } from '../net/net.ts'
import type { Accept } from './accept.ts'
import { differing, wants } from './digest.ts'
import { viewDigests, viewPull, viewPush, viewSync, type RealmHead } from './methods.ts'
import { createIntake, createPages, takeInPage, type Pages } from './pages.ts'
import type { MeshView } from './view.ts'

export interface Sync {
  /** Makes the views of this node and an admitted peer the same; throws what a call can throw. Gives how many peers were new. */
  withPeer(peer: string): Promise<number>
  /** Takes in the records that an admitted peer holds of some peers. */
  pull(from: string, peers: readonly string[]): Promise<void>
  /** Hands the records of some peers to an admitted peer. */
  push(to: string, peers: readonly string[]): Promise<void>
  /** A peer has been admitted: the first few are synced with at once, or a little later where the peer has dialled. */
  admitted(peer: string, direction: Direction): void
  readonly methods: readonly BoundMethod[]
  close(): void
}

type SyncLimits = Pick<
  Limits,
  | 'peersPerRealmMax'
  | 'syncBuckets'
  | 'syncIntervalMs'
  | 'syncFirstIntervalMs'
  | 'syncSettleMs'
  | 'syncPeersOnConnect'
  | 'syncEntriesPerPage'
  | 'syncDigestsPerPage'
  | 'syncBytesPerPage'
  | 'syncTimeoutMs'
  | 'syncPushChecksPerSecond'
  | 'syncPushChecksBurst'
  | 'syncPushChecksPerTurn'
  | 'connectionsMax'
  | 'seedJitter'
>

interface SyncDeps {
  net: Pick<Net, 'peer' | 'rpc'>
  view: MeshView
  accept: Accept
  /** The newest realm document that is known here, and what to do with the other's. */
  head: () => RealmHead
  onHead: (peer: string, head: RealmHead) => Promise<void>
  /** Peers that are connected and admitted. */
  partners: () => string[]
  refusals: Refusals
  clock: Clock
  log: Log
  meter: Meter
  limits: SyncLimits
  random: () => number
}
/** One sync, as the side that asks. */
const createExchange = (deps: SyncDeps, pages: Pages): Pick<Sync, 'withPeer' | 'pull' | 'push'> => {
  const { net, view, clock, meter, limits, onHead } = deps
  const call = { timeoutMs: limits.syncTimeoutMs }

  const pull = async (from: string, peers: readonly string[]): Promise<void> => {
    for (let left = peers; left.length > 0;) {
      const request = { peers: left.slice(0, limits.syncEntriesPerPage) }
      const { records, asked } = await net.rpc.call(from, viewPull, request, call)
      await takeInPage(deps, from, records)
      left = left.slice(Math.max(1, asked))
    }
  }

  const push = async (to: string, peers: readonly string[]): Promise<void> => {
    for (let left = peers; left.length > 0;) {
      const { records, asked } = pages.recordPage(left)
      if (records.length > 0) await net.rpc.call(to, viewPush, { records }, call)
      left = left.slice(Math.max(1, asked))
    }
  }

  const compare = async (peer: string, buckets: number[]): Promise<{ lacking: string[]; ahead: string[] }> => {
    const unseen = new Map(pages.digestsIn(buckets).map((digest) => [digest.peer, digest]))
    const lacking: string[] = []
    const ahead: string[] = []
    for (let after: string | undefined; ;) {
      const page = await net.rpc.call(peer, viewDigests, { buckets, ...(after !== undefined && { after }) }, call)
      for (const theirs of page.digests) {
        const mine = unseen.get(theirs.peer) ?? pages.digestFor(theirs.peer)
        unseen.delete(theirs.peer)
        if (wants(mine, theirs)) lacking.push(theirs.peer)
        if (mine && wants(theirs, mine)) ahead.push(theirs.peer)
      }
      const last = page.digests.at(-1)?.peer
      const isStuck = last === undefined || (after !== undefined && last <= after)
      // A peer can claim more than any realm holds.
      if (!page.more || isStuck || lacking.length > limits.peersPerRealmMax) break
      after = last
    }
    return { lacking, ahead: [...ahead, ...unseen.keys()] }
  }

  return {
    pull,
    push,
    async withPeer(peer) {
      const startMs = clock.monotonicMs()
      const theirs = await net.rpc.call(peer, viewSync, {}, call)
      await onHead(peer, theirs.head)
      const buckets = differing(pages.hashes(), theirs.buckets)
      const { lacking, ahead } = buckets.length > 0 ? await compare(peer, buckets) : { lacking: [], ahead: [] }
      const strangers = lacking.filter((other) => view.record(other) === undefined)
      await pull(peer, lacking)
      await push(peer, ahead)
      meter.timing('mesh_sync_ms', clock.monotonicMs() - startMs)
      return strangers.filter((other) => view.record(other) !== undefined).length
    },
  }
}

/** Starts syncing by itself: soon and often while it brings peers that were not known, then ever more seldom. */
export const startSync = (deps: SyncDeps): Sync => {
  const { clock, log, limits, random, partners } = deps
  const pages = createPages(deps)
  const takeIn = createIntake(deps)
  const exchange = createExchange(deps, pages)
  let fresh = 0
  let delayMs: number = limits.syncFirstIntervalMs
  let timer: Timer | undefined
  let closed = false

  const attempt = async (peer: string): Promise<boolean> => {
    try {
      const found = await exchange.withPeer(peer)
      if (found > 0) delayMs = limits.syncFirstIntervalMs
      return true
    } catch (error) {
      log.debug('a sync failed', { peer, error: reasonOf(error) })
      return false
    }
  }

  const attemptFirst = async (peer: string): Promise<void> => {
    if (closed || (await attempt(peer))) return
    fresh = Math.min(limits.syncPeersOnConnect, fresh + 1)
  }

  const schedule = (): void => {
    timer?.cancel()
    if (closed) return
    timer = clock.after(delayMs * (1 - limits.seedJitter * random()), () => {
      delayMs = Math.min(limits.syncIntervalMs, delayMs * 2)
      const all = partners()
      const peer = all[Math.floor(random() * all.length)]
      if (peer === undefined) return schedule()
      attempt(peer).finally(schedule)
    })
  }
  schedule()

  return {
    ...exchange,
    admitted(peer, direction) {
      if (partners().length <= 1) {
        fresh = limits.syncPeersOnConnect
        delayMs = limits.syncFirstIntervalMs
        schedule()
      }
      if (fresh <= 0) return
      fresh--
      if (direction === 'outbound') void attemptFirst(peer)
      else clock.after(limits.syncSettleMs, () => void attemptFirst(peer))
    },
    methods: [
      bind(viewSync, () => ({ buckets: pages.hashes(), head: deps.head() })),
      bind(viewDigests, ({ buckets, after }) => pages.digestPage(buckets, after)),
      bind(viewPull, ({ peers }) => pages.recordPage(peers)),
      bind(viewPush, async ({ records }, { peer }) => ({ refused: await takeIn(peer, records) })),
    ],
    close() {
      closed = true
      timer?.cancel()
    },
  }
}
