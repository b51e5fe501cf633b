/** What all scenarios share: what can be asked of one, what it hands back, and how it waits for everybody to see something. */
import { createReach, type FalseDowns, type Reach } from './measure.ts'
import type { Faults, ProfileName } from './network.ts'
import type { SimNode, World } from './world.ts'

export const scenarioNames = ['ad', 'leave', 'crash', 'join', 'partition', 'churn', 'starved', 'flood'] as const
export type ScenarioName = (typeof scenarioNames)[number]

export interface ScenarioOptions {
  scenario: ScenarioName
  nodes: number
  seed: string
  profile?: ProfileName
  faults?: Partial<Faults>
  /** How long what lasts is to last; each scenario has its own. */
  seconds?: number
  /** How often what is repeated is repeated. */
  times?: number
  /** The part of the nodes that `starved` starves. */
  starvedPart?: number
}

/** What a scenario hands back beside what is measured in all of them. */
export interface Outcome {
  measured: string
  times: readonly number[]
  missing?: number
  details?: Record<string, number | null>
}

export interface Stage {
  readonly world: World
  readonly options: ScenarioOptions
  readonly falseDowns: FalseDowns
  /** Reaches that are being measured: called with every change that anybody sees. */
  readonly reaches: Map<Reach, (observer: SimNode, peer: string, state: string, load: number) => boolean>
}

/** Does something and waits until everybody has seen it, or for `withinMs`. */
export const reachOf = async (
  { world, reaches }: Stage,
  observers: Iterable<SimNode>,
  isIt: (observer: SimNode, peer: string, state: string, load: number) => boolean,
  act: () => void | Promise<void>,
  withinMs = 30_000,
): Promise<Reach> => {
  const reach = createReach(world, observers)
  reaches.set(reach, isIt)
  await act()
  const untilMs = world.engine.nowMs() + withinMs
  while (reach.missing() > 0 && world.engine.nowMs() < untilMs)
    await world.run(Math.min(100, untilMs - world.engine.nowMs()))
  reaches.delete(reach)
  return reach
}

/** A load that nobody has told yet: others route by it, so that it is told at once. */
export const tellLoad = (node: SimNode): number => {
  node.capacity.currentLoad = node.capacity.currentLoad > 0.5 ? 0.1 : 0.9
  node.live!.processor.submit(0.1, () => node.live!.mesh.advertise())
  return node.capacity.currentLoad
}
