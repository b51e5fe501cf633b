/** What a simulation measures: when words reached whom, who was wrongly taken for down, whether all views are equal. */
import { isUp } from '../../src/mesh/records.ts'
import type { SimNode, World } from './world.ts'

export interface Spread {
  readonly p50Ms: number | null
  readonly p99Ms: number | null
  readonly maxMs: number | null
}

const round = (value: number): number => Math.round(value * 10) / 10

/** By the nearest rank; nulls where nothing was measured. */
export const spreadOf = (values: readonly number[]): Spread => {
  const sorted = Float64Array.from(values).sort()
  const at = (part: number) => {
    const value = sorted[Math.min(sorted.length - 1, Math.max(0, Math.ceil(part * sorted.length) - 1))]
    return value === undefined ? null : round(value)
  }
  return { p50Ms: at(0.5), p99Ms: at(0.99), maxMs: at(1) }
}

/** When each of the observers first saw something. */
export interface Reach {
  readonly times: number[]
  missing(): number
  saw(observer: SimNode): void
}

export const createReach = (world: World, observers: Iterable<SimNode>): Reach => {
  const startMs = world.engine.nowMs()
  const waiting = new Set(observers)
  const times: number[] = []
  return {
    times,
    // Who has gone meanwhile is not waited for.
    missing: () => [...waiting].filter((node) => node.state === 'up').length,
    saw(observer) {
      if (waiting.delete(observer)) times.push(world.engine.nowMs() - startMs)
    },
  }
}

export interface FalseDowns {
  /** Lives of nodes that were taken for down, by anybody, while they ran and could be reached. */
  readonly episodes: () => number
  /** The same, of nodes for which `counts` holds. */
  among(counts: (node: SimNode) => boolean): number
  /** How many nodes thought so, over all episodes. */
  readonly sightings: () => number
  /** Forgets what was counted so far. */
  startAnew(): void
  /** Nobody is wrong about a peer that cannot be reached. */
  suspended: boolean
}

/** Watches for nodes that are taken for down though they are up. */
export const watchFalseDowns = (world: World): FalseDowns => {
  const seen = new Map<string, { node: SimNode; sightings: number }>()
  let suspended = false
  world.onChange((_observer, entry, previous) => {
    if (entry.state !== 'down' || previous?.state === 'down' || suspended) return
    const node = world.byPeer(entry.peer)
    if (node?.state !== 'up') return
    // What is said of an earlier life is no error about this one.
    const own = node.live!.view.record?.(entry.peer)
    if (own === undefined || own.ad.incarnation !== entry.ad.incarnation) return
    const key = `${entry.peer} ${entry.ad.incarnation}`
    const episode = seen.get(key) ?? { node, sightings: 0 }
    seen.set(key, { node, sightings: episode.sightings + 1 })
  })
  return {
    episodes: () => seen.size,
    among: (counts) => [...seen.values()].filter(({ node }) => counts(node)).length,
    sightings: () => [...seen.values()].reduce((sum, { sightings }) => sum + sightings, 0),
    startAnew: () => seen.clear(),
    get suspended() {
      return suspended
    },
    set suspended(value) {
      suspended = value
    },
  }
}

/**
 * Whether all that are up see all that are up as alive, under their present incarnations, and nobody else. How new
 * what they see of each is, as its sequence tells, is not compared: refreshes are always on their way.
 */
export const viewsAreEqual = (world: World): boolean => {
  const up = world.up()
  const incarnations = new Map(up.map((node) => [node.peer, node.live!.view.record(node.peer)!.ad.incarnation]))
  return up.every(({ live }) => {
    let alive = 0
    for (const { peer, state } of live!.view.states()) {
      if (!isUp(state)) continue
      if (state === 'suspect' || incarnations.get(peer) !== live!.view.record(peer)!.ad.incarnation) return false
      alive++
    }
    return alive === up.length
  })
}
