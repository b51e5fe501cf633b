/** What happens in each scenario, and what is measured of it. faults.ts has those in which something goes wrong for longer. */
import { runChurn, runFlood, runPartition, runStarved } from './faults.ts'
import { spreadOf, viewsAreEqual, watchFalseDowns } from './measure.ts'
import type { ProfileName } from './network.ts'
import { reachOf, tellLoad, type Outcome, type ScenarioName, type ScenarioOptions, type Stage } from './stage.ts'
import { createWorld, type SimNode, type World } from './world.ts'

/** The figures of one run. Bytes and messages are those that a node sends. */
export interface ScenarioResult {
  scenario: ScenarioName
  seed: string
  nodes: number
  profile: ProfileName
  /** What the percentiles are about. */
  measured: string
  samples: number
  /** Null where nothing was measured. */
  p50Ms: number | null
  p99Ms: number | null
  maxMs: number | null
  /** Observers that should have seen it and had not by the end. */
  missing: number
  bytesPerNodePerSecond: number
  messagesPerNodePerSecond: number
  /** Of this process, the simulation itself included. */
  cpuMsPerNodeSecond: number
  /** In this scenario alone, as are the days for which nodes were up. */
  falseDowns: number
  nodeDays: number
  /** Who is alive and under which incarnation; see viewsAreEqual. */
  viewsEqual: boolean
  /** From the beginning of the realm, as events and trace are. */
  simulatedSeconds: number
  events: number
  traceHash: string
  details: Record<string, number | null>
}

/** Newcomers that are not part of the realm at first. */
const joinersOf = ({ nodes, times }: ScenarioOptions): number => times ?? (nodes >= 5_000 ? 2 : 5)

const scenarios: Record<ScenarioName, (stage: Stage) => Promise<Outcome>> = {
  ad: runAd,
  leave: runLeave,
  crash: runCrash,
  join: runJoin,
  partition: runPartition,
  churn: runChurn,
  starved: runStarved,
  flood: runFlood,
}

export const runScenario = async (options: ScenarioOptions): Promise<ScenarioResult> =>
  (await runScenarios(options, [options.scenario]))[0]!

/** Several scenarios in one realm, one after the other: where it takes long to begin one. */
export const runScenarios = async (
  options: ScenarioOptions,
  names: readonly ScenarioName[],
  say: (what: string) => void = () => {},
): Promise<ScenarioResult[]> => {
  const { nodes, seed, profile = 'lan', faults } = options
  const joiners = names.includes('join') ? joinersOf(options) : 0
  const world = await createWorld({ nodes: nodes + joiners, seed, profile, ...(faults && { faults }) })
  const falseDowns = watchFalseDowns(world)
  const reaches: Stage['reaches'] = new Map()
  world.onChange((observer, { peer, state, ad }) => {
    for (const [reach, isIt] of reaches) if (isIt(observer, peer, state, ad.currentLoad)) reach.saw(observer)
  })
  await world.begin(nodes)
  say(`${nodes} nodes know one another`)
  await world.run(2_000)
  const results: ScenarioResult[] = []
  for (const scenario of names) {
    results.push(await play({ world, options: { ...options, scenario }, falseDowns, reaches }))
    say(scenario)
  }
  return results
}

const play = async (stage: Stage): Promise<ScenarioResult> => {
  const { world, options, falseDowns } = stage
  const { scenario, nodes, seed, profile = 'lan' } = options
  falseDowns.startAnew()
  const before = { ...world.sent(), upMs: world.upMs(), atMs: world.engine.nowMs(), cpu: process.cpuUsage() }
  const { measured, times, missing = 0, details = {} } = await scenarios[scenario](stage)
  const seconds = (world.engine.nowMs() - before.atMs) / 1_000
  const cpu = process.cpuUsage(before.cpu)
  const sent = world.sent()
  const perNodeSecond = (amount: number) => Number((amount / nodes / seconds).toPrecision(5))
  return {
    scenario,
    seed,
    nodes,
    profile,
    measured,
    samples: times.length,
    ...spreadOf(times),
    missing,
    bytesPerNodePerSecond: perNodeSecond(sent.bytes - before.bytes),
    messagesPerNodePerSecond: perNodeSecond(sent.frames - before.frames),
    cpuMsPerNodeSecond: perNodeSecond((cpu.user + cpu.system) / 1_000),
    falseDowns: falseDowns.episodes(),
    nodeDays: Number(((world.upMs() - before.upMs) / 86_400_000).toPrecision(4)),
    viewsEqual: viewsAreEqual(world),
    simulatedSeconds: Math.round(world.engine.nowMs() / 1_000),
    events: world.engine.events(),
    traceHash: world.engine.traceHash(),
    details: {
      nodesUp: world.up().length,
      envelopes: world.envelopes.count(),
      falseDownSightings: falseDowns.sightings(),
      heapMb: Math.round(process.memoryUsage().heapUsed / 2 ** 20),
      ...details,
    },
  }
}

const others = (world: World, node: SimNode) => world.up().filter((other) => other !== node)

async function runAd(stage: Stage): Promise<Outcome> {
  const { world, options } = stage
  const count = options.times ?? (options.nodes >= 5_000 ? 5 : 20)
  const times: number[] = []
  let missing = 0
  for (const node of world.rng.sample(world.up(), count)) {
    const load = node.capacity.currentLoad > 0.5 ? 0.1 : 0.9
    const isIt = (_: SimNode, peer: string, __: string, told: number) => peer === node.peer && told === load
    const reach = await reachOf(stage, others(world, node), isIt, () => void tellLoad(node))
    times.push(...reach.times)
    missing += reach.missing()
    await world.run(500)
  }
  return { measured: 'from a change of load until another node sees it', times, missing, details: { changes: count } }
}

async function runLeave(stage: Stage): Promise<Outcome> {
  const { world, options } = stage
  const count = options.times ?? Math.max(3, Math.min(10, Math.round(options.nodes / 20)))
  const times: number[] = []
  let missing = 0
  // Not the first: it is the one that newcomers know.
  for (const node of world.rng.sample(world.up().slice(1), options.nodes >= 5_000 ? Math.min(count, 3) : count)) {
    const isIt = (_: SimNode, peer: string, state: string) => peer === node.peer && state === 'left'
    const reach = await reachOf(stage, others(world, node), isIt, () => world.leave(node))
    times.push(...reach.times)
    missing += reach.missing()
    await world.run(500)
  }
  return { measured: 'from leaving until another node sees it', times, missing, details: { left: count } }
}

/** Half of them are processes that are killed, half are hosts that go dark. */
async function runCrash(stage: Stage): Promise<Outcome> {
  const { world, options } = stage
  const count = options.times ?? Math.max(4, Math.min(10, Math.round(options.nodes / 25)))
  const byKind: Record<'killed' | 'dark', number[]> = { killed: [], dark: [] }
  let missing = 0
  for (const [turn, node] of world.rng.sample(world.up().slice(1), count).entries()) {
    const kind = turn % 2 === 0 ? 'killed' : 'dark'
    const isIt = (_: SimNode, peer: string, state: string) => peer === node.peer && state === 'down'
    const act = () => (kind === 'killed' ? world.kill(node) : world.vanish(node))
    const reach = await reachOf(stage, others(world, node), isIt, act, 60_000)
    byKind[kind].push(...reach.times)
    missing += reach.missing()
    await world.run(1_000)
  }
  const details = {
    crashed: count,
    killedP99Ms: spreadOf(byKind.killed).p99Ms,
    darkP99Ms: spreadOf(byKind.dark).p99Ms,
  }
  const times = [...byKind.killed, ...byKind.dark]
  return { measured: 'from a crash until another node takes it for down', times, missing, details }
}

async function runJoin(stage: Stage): Promise<Outcome> {
  const { world, options } = stage
  const times: number[] = []
  const seenBy: number[] = []
  let missing = 0
  for (let index = options.nodes; index < world.nodes.length; index++) {
    const startMs = world.engine.nowMs()
    const joiner = world.nodes[index]!
    const everybody = [...world.up()]
    const seed = world.rng.pick(everybody)
    const reach = await reachOf(
      stage,
      everybody,
      (_, peer, state) => peer === joiner.peer && state === 'alive',
      async () => {
        const live = await world.start(index, [seed])
        const isFull = () => live.view.size() > everybody.length
        const untilMs = startMs + 60_000
        while (!isFull() && world.engine.nowMs() < untilMs) await world.run(5, isFull)
        if (isFull()) times.push(world.engine.nowMs() - startMs)
        else missing++
      },
    )
    seenBy.push(...reach.times)
    missing += reach.missing()
    await world.run(2_000)
  }
  const spread = spreadOf(seenBy)
  const details = { joined: times.length, seenByOthersP50Ms: spread.p50Ms, seenByOthersP99Ms: spread.p99Ms }
  return { measured: "from a newcomer's start until its view is full", times, missing, details }
}
