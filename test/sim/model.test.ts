/** The parts that the simulator stands on: time, the processor of a node, the network, and envelopes without signatures. */
import { describe, expect, test } from 'vitest'
import { createNodeKey } from '../../src/identity/node-key.ts'
import { createEngine } from './engine.ts'
import { createEnvelopes } from './envelopes.ts'
import { createNodeClock, createProcessor } from './processor.ts'
import { createRng } from './rng.ts'
import { createWorld } from './world.ts'

describe('simulated time', () => {
  test('runs events in the order of their times, and of one time in the order of their making', async () => {
    const engine = createEngine()
    const rng = createRng('order')
    const ran: { atMs: number; made: number }[] = []
    for (let made = 0; made < 500; made++) {
      const atMs = rng.below(50)
      engine.at(atMs, () => void ran.push({ atMs, made }))
    }
    await engine.runUntil(100)
    expect(ran).toHaveLength(500)
    expect(ran).toEqual(ran.toSorted((a, b) => a.atMs - b.atMs || a.made - b.made))
    expect(engine.nowMs()).toBe(100)
  })

  test('lets promises end before the next event', async () => {
    const engine = createEngine()
    const log: string[] = []
    engine.at(1, () => {
      void (async () => {
        for (let turn = 0; turn < 20; turn++) await Promise.resolve()
        log.push(`promise at ${engine.nowMs()}`)
      })()
    })
    engine.at(2, () => void log.push('event at 2'))
    await engine.runUntil(10)
    expect(log).toEqual(['promise at 1', 'event at 2'])
  })
})

describe('the processor of a node', () => {
  test('does one thing after another, each for its time', async () => {
    const engine = createEngine()
    const processor = createProcessor(engine)
    const times: number[] = []
    engine.at(0, () => {
      for (let turn = 0; turn < 3; turn++) processor.submit(10, () => void times.push(engine.nowMs()))
    })
    await engine.runUntil(100)
    expect(times).toEqual([0, 10, 20])
    expect(processor.busyMs()).toBe(30)
  })

  test('while it is paused nothing runs, and afterwards timers are late', async () => {
    const engine = createEngine()
    const processor = createProcessor(engine)
    const clock = createNodeClock(engine, processor, { startWallMs: 0, skewMs: 0, drift: 0 })
    const times: number[] = []
    clock.after(5, () => times.push(clock.monotonicMs()))
    processor.pauseUntil(50)
    await engine.runUntil(100)
    expect(times).toEqual([50])
  })

  test('a clock that drifts fires early or late by as much', async () => {
    const engine = createEngine()
    const clock = createNodeClock(engine, createProcessor(engine), { startWallMs: 1_000, skewMs: 7, drift: 0.25 })
    let firedAtMs = 0
    clock.after(100, () => (firedAtMs = engine.nowMs()))
    await engine.runUntil(80)
    expect(firedAtMs).toBe(80)
    expect(clock.monotonicMs()).toBe(100)
    expect(clock.wallMs()).toBe(1_107)
  })
})

describe('an envelope', () => {
  const author = createNodeKey().peer
  const envelopes = createEnvelopes()
  const envelope = envelopes.seal('one', author, Uint8Array.of(1, 2, 3))

  test('opens to its author and payload', () => {
    const { peer, payload } = envelopes.open('one', Uint8Array.from(envelope))
    expect([peer, ...payload]).toEqual([author, 1, 2, 3])
  })

  test('sealed twice is the same bytes', () => {
    expect(envelopes.seal('one', author, Uint8Array.of(1, 2, 3))).toBe(envelope)
  })

  test('of another domain, altered or made up is refused', () => {
    const refused = (domain: string, bytes: Uint8Array) => () => envelopes.open(domain, bytes)
    expect(refused('two', envelope)).toThrow(/signature/)
    for (let at = 0; at < envelope.length; at++) {
      const altered = Uint8Array.from(envelope)
      altered[at]! ^= 1
      expect(refused('one', altered)).toThrow(/signature/)
    }
    expect(refused('one', new Uint8Array(20))).toThrow(/signature/)
  })
})

describe('the network', () => {
  test('a node behind a partition is not reached, and is afterwards', async () => {
    const world = await createWorld({ nodes: 10, seed: 'cut' })
    await world.begin(10)
    const [a, b] = [world.nodes[1]!, world.nodes[2]!]
    world.network.divide((station) => Number(station.index === 2))
    a.capacity.currentLoad = 0.9
    a.live!.processor.submit(0.1, a.live!.mesh.advertise)
    await world.run(5_000)
    const seen = () => world.nodes.map(({ live }) => live!.view.get(a.peer)!.ad.currentLoad)
    expect(seen().map((load, index) => (index === 2 ? 0.9 - load : load))).toEqual(seen().map(() => 0.9))
    world.network.divide(() => 0)
    await world.run(5_000)
    expect(b.live!.view.get(a.peer)!.ad.currentLoad).toBe(0.9)
  })

  test('a certificate that the issuer did not give admits nobody', async () => {
    const world = await createWorld({ nodes: 5, seed: 'stranger' })
    await world.begin(4)
    const foreign = await createWorld({ nodes: 5, seed: 'another realm' })
    const { memberOf } = foreign.realm
    const stranger = {
      ...world.realm,
      memberOf: (index: number) => (index === 4 ? memberOf(1) : world.realm.memberOf(index)),
    }
    Object.assign(world.realm, stranger)
    const live = await world.start(4, [world.nodes[0]!])
    await world.run(10_000)
    expect(live.view.size()).toBe(1)
    expect(world.nodes.slice(0, 4).map((node) => node.live!.view.get(world.nodes[4]!.peer))).toEqual(
      Array(4).fill(undefined),
    )
  })
})
