/** The scenarios in which something goes wrong for longer: a divided network, churn, nodes without processor time, a flood. */
import { AD_DOMAIN } from '../../src/mesh/accept.ts'
import { decode, encode } from '../../src/base/codec.ts'
import { topicOf } from '../../src/mesh/gossip.ts'
import { spreadOf, viewsAreEqual } from './measure.ts'
import { reachOf, tellLoad, type Outcome, type Stage } from './stage.ts'
import type { SimNode, World } from './world.ts'

/** Lets time pass until all views are equal; the milliseconds that it took, or undefined after `withinMs`. */
const untilEqual = async (world: World, withinMs: number): Promise<number | undefined> => {
  const startMs = world.engine.nowMs()
  const stepMs = world.nodes.length > 300 ? 500 : 100
  while (world.engine.nowMs() - startMs < withinMs) {
    if (viewsAreEqual(world)) return world.engine.nowMs() - startMs
    await world.run(stepMs)
  }
  return undefined
}

/** Two halves do not reach each other for a minute, and then do again. */
export async function runPartition({ world, options, falseDowns }: Stage): Promise<Outcome> {
  const lastsMs = (options.seconds ?? 60) * 1_000
  falseDowns.suspended = true
  const half = new Set(world.rng.sample(world.nodes, Math.floor(world.nodes.length / 2)).map((node) => node.index))
  world.network.divide((station) => Number(half.has(station.index)))
  await world.run(lastsMs)
  const apart = world.up().map((node) => node.live!.view.size())
  // Words of nodes that were in the middle of something while the network was divided.
  world.network.divide(() => 0)
  const healedMs = await untilEqual(world, 120_000)
  falseDowns.suspended = false
  await world.run(10_000)
  return {
    measured: 'from the healing of the network until all views are equal',
    times: healedMs === undefined ? [] : [healedMs],
    missing: Number(healedMs === undefined),
    details: { dividedSeconds: lastsMs / 1_000, leastSeen: Math.min(...apart), mostSeen: Math.max(...apart) },
  }
}

/** A third of the nodes go, by all ways, and most come back. */
export async function runChurn({ world, options }: Stage): Promise<Outcome> {
  const { rng, engine } = world
  const lastsMs = (options.seconds ?? 60) * 1_000
  const going = rng.sample(world.nodes.slice(1), Math.floor(world.nodes.length / 3))
  const counts = { killed: 0, vanished: 0, left: 0, returned: 0 }
  const steps = going.map((node) => ({ atMs: engine.nowMs() + rng.next() * lastsMs, node, isReturn: false }))
  const returns = steps
    .filter(() => rng.next() < 0.8)
    .map(({ atMs, node }) => ({ atMs: atMs + rng.between(500, 20_000), node, isReturn: true }))
  for (const { atMs, node, isReturn } of [...steps, ...returns].toSorted((a, b) => a.atMs - b.atMs)) {
    await world.run(Math.max(0, atMs - engine.nowMs()))
    if (isReturn) {
      if (node.state !== 'gone') continue
      await world.start(node.index, [world.nodes[0]!, rng.pick(world.up())])
      counts.returned++
    } else await goAway(world, node, counts)
  }
  const equalMs = await untilEqual(world, 120_000)
  await world.run(5_000)
  return {
    measured: 'from the last change until all views are equal',
    times: equalMs === undefined ? [] : [equalMs],
    missing: Number(equalMs === undefined),
    details: counts,
  }
}

const goAway = async (
  world: World,
  node: SimNode,
  counts: { killed: number; vanished: number; left: number },
): Promise<void> => {
  const way = world.rng.below(3)
  if (way === 0) {
    counts.killed++
    return world.kill(node)
  }
  if (way === 1) {
    counts.vanished++
    return world.vanish(node)
  }
  counts.left++
  await world.leave(node)
}

/** A tenth of the nodes get their processor in bursts: seconds of nothing, then a while of work. */
export async function runStarved(stage: Stage): Promise<Outcome> {
  const { world, options, falseDowns } = stage
  const { rng, engine } = world
  const lastsMs = (options.seconds ?? 120) * 1_000
  const starved = new Set(rng.sample(world.nodes.slice(1), Math.round(options.nodes * (options.starvedPart ?? 0.1))))
  const endMs = engine.nowMs() + lastsMs
  const starve = (node: SimNode): void => {
    if (engine.nowMs() >= endMs) return
    const pauseMs = Math.min(8_000, rng.lognormal(1_000, 1))
    node.live!.processor.pauseUntil(engine.nowMs() + pauseMs)
    engine.at(engine.nowMs() + pauseMs + rng.between(50, 2_000), () => starve(node))
  }
  for (const node of starved) engine.at(engine.nowMs() + rng.between(0, 3_000), () => starve(node))
  const well = world.up().filter((node) => !starved.has(node))
  const times: number[] = []
  let missing = 0
  while (engine.nowMs() < endMs) {
    const node = rng.pick(well)
    const reach = await reachOf(
      stage,
      well.filter((other) => other !== node),
      (_, peer, __, load) => peer === node.peer && load === node.capacity.currentLoad,
      () => void tellLoad(node),
      10_000,
    )
    times.push(...reach.times)
    missing += reach.missing()
    await world.run(Math.min(5_000, Math.max(0, endMs - engine.nowMs())))
  }
  await untilEqual(world, 60_000)
  return {
    measured: 'from a change of load until another node sees it, among those that are not starved',
    times,
    missing,
    details: {
      starved: starved.size,
      falseDownsOfStarved: falseDowns.among((node) => starved.has(node)),
      falseDownsOfOthers: falseDowns.among((node) => !starved.has(node)),
    },
  }
}

/** A member with a good certificate says something new of itself a thousand times a second. */
export async function runFlood(stage: Stage): Promise<Outcome> {
  const { world, options } = stage
  const { rng, engine } = world
  const lastsMs = (options.seconds ?? 20) * 1_000
  const flooder = world.nodes.at(-1)!
  const { net, processor } = flooder.live!
  const ad = decode(await payloadOf(flooder), 'an advertisement') as object
  const topic = topicOf(world.realm.memberOf(0).realm().id)
  let endMs = Infinity
  let sequence = 1_000
  let said = 0
  const say = (): void => {
    if (engine.nowMs() >= endMs) return
    const payload = encode({ ...ad, sequence: sequence++ })
    const envelope = world.envelopes.seal(AD_DOMAIN, flooder.peer, payload)
    processor.submit(0.1, () => void net.pubsub.publish(topic, encode({ kind: 'ad', envelope })))
    said++
    engine.at(engine.nowMs() + 1, say)
  }
  const others = world.up().filter((node) => node !== flooder)
  const measureOne = async (): Promise<readonly number[]> => {
    const node = rng.pick(others)
    const reach = await reachOf(
      stage,
      others.filter((other) => other !== node),
      (_, peer, __, load) => peer === node.peer && load === node.capacity.currentLoad,
      () => void tellLoad(node),
      20_000,
    )
    missing += reach.missing()
    await world.run(500)
    return reach.times
  }
  let missing = 0
  const before: number[] = []
  for (let turn = 0; turn < 5; turn++) before.push(...(await measureOne()))
  endMs = engine.nowMs() + lastsMs
  engine.at(engine.nowMs(), say)
  await world.run(1_000)
  const busyMs = others.map((node) => node.live!.processor.busyMs())
  const fromMs = engine.nowMs()
  const times: number[] = []
  while (engine.nowMs() < endMs) times.push(...(await measureOne()))
  const busy = others.map((node, at) => (node.live!.processor.busyMs() - busyMs[at]!) / (engine.nowMs() - fromMs))
  return {
    measured: 'from a change of load until another node sees it, while a member floods the realm',
    times,
    missing,
    details: {
      said,
      saidPerSecond: Math.round(said / (lastsMs / 1_000)),
      withoutFloodP99Ms: spreadOf(before).p99Ms,
      busyPartMean: Number((busy.reduce((sum, part) => sum + part, 0) / busy.length).toFixed(3)),
      busyPartMax: Number(Math.max(...busy).toFixed(3)),
    },
  }
}

const payloadOf = async ({ live, peer }: SimNode): Promise<Uint8Array> =>
  (await live!.net.open(AD_DOMAIN, live!.view.record(peer)!.envelope)).payload
