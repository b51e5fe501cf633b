/**
 * Churn: a third of a realm goes at once, some with a good-bye and some without, as many come, and soon all see the same again.
 * With processes and, for larger realms, with nodes inside this process.
 */
import { startMeshNode, type MeshNode } from '../../test/support/mesh.ts'
import { createTestBed, type TestNode } from '../../test/support/nodes.ts'
import type { Figure, Outcome, Proof, ProofOptions } from './proof.ts'
import { sample } from './random.ts'
import { untilEqual, viewerIn, viewerOf } from './views.ts'

/** Nobody is told of those that went silently: probes, accusations, the wait of 4 s times log10 of the peers; with slack. */
const equalMs = 30_000
const joinMs = 120_000
/** All nodes of a process share one core: more at once would measure how long they wait for it. */
const startedAtOnce = 5
const patience = { joinTimeoutMs: 300_000, dialTimeoutMs: 60_000, presentTimeoutMs: 30_000, admissionTimeoutMs: 40_000 }

const inBatches = async <T>(count: number, make: () => Promise<T>): Promise<T[]> => {
  const made: T[] = []
  while (made.length < count) {
    const batch = Math.min(startedAtOnce, count - made.length)
    made.push(...(await Promise.all(Array.from({ length: batch }, make))))
  }
  return made
}

const roundsOf = (quick: boolean): number => (quick ? 1 : 3)

const inProcess = async (options: ProofOptions): Promise<Pick<Outcome, 'figures' | 'notRun'>> => {
  const { quick, random, say } = options
  const size = quick ? 20 : 100
  const rounds = roundsOf(quick)
  const third = Math.floor(size / 3)
  let living: MeshNode[] = []
  let made = 0
  const next = (more: { join?: string; realm?: string }) =>
    startMeshNode({ name: `n${made++}`, limits: patience, ...more })
  const stop = (nodes: readonly MeshNode[]) =>
    Promise.all(nodes.map((node) => (random() < 0.5 ? node.kill() : node.leave())))
  const joined: number[] = []
  const equal: number[] = []
  try {
    living.push(await next({ realm: 'lab' }))
    const token = await living[0]!.mesh.invite({ uses: size + rounds * third, ttlMs: 3_600_000, role: 'member' })
    try {
      await inBatches(size - 1, async () => void living.push(await next({ join: token })))
    } catch (error) {
      // A machine that is too busy for so many nodes on one core proves nothing about them.
      const reason = String(error).split('\n')[0]
      return {
        figures: [],
        notRun: [`${size} in-process nodes, of which ${living.length} could be started: ${reason}`],
      }
    }
    say(`${size} in-process nodes have joined`)
    joined.push(await untilEqual('after joining', living.map(viewerIn), joinMs))
    for (let round = 0; round < rounds; round++) {
      const going = sample(living.slice(1), third, random)
      living = living.filter((node) => !going.includes(node))
      const coming = inBatches(going.length, () => next({ join: token }))
      await stop(going)
      living.push(...(await coming))
      equal.push(await untilEqual(`after round ${round + 1}`, living.map(viewerIn), 2 * equalMs))
      say(`${size} in-process nodes, round ${round + 1}: equal ${Math.round(equal.at(-1)!)} ms after the last change`)
    }
  } finally {
    await Promise.all(living.map((node) => node.kill()))
  }
  const of = `${size} in-process nodes`
  const figures: Figure[] = [
    {
      what: `${of} that joined ${startedAtOnce} at a time: equal views after the last`,
      unit: 'ms',
      values: joined,
      bound: joinMs,
    },
    { what: `${of}, ${third} replaced: equal views after`, unit: 'ms', values: equal, bound: equalMs },
  ]
  return { figures, notRun: [] }
}

const processes = async ({ quick, random, say }: ProofOptions): Promise<Figure[]> => {
  const size = quick ? 6 : 20
  const rounds = roundsOf(quick)
  const third = Math.floor(size / 3)
  const bed = createTestBed()
  const equal: number[] = []
  try {
    const specs = Array.from({ length: size }, (_, index) => ({ name: `p${index}`, args: ['--capacity', '2'] }))
    let living = await bed.realm(specs)
    await untilEqual('after joining', living.map(viewerOf), joinMs)
    const { token } = await living[0]!.json(['realm', 'invite', '--uses', String(rounds * third)])
    for (let round = 0; round < rounds; round++) {
      const going = sample(living.slice(1), third, random)
      // Of those that die silently every second comes back as itself.
      const ends = going.map((node) => [node, random() < 0.5 ? 'SIGKILL' : 'SIGTERM', random() < 0.5] as const)
      const replace = async ([node, signal, returns]: (typeof ends)[number], index: number): Promise<TestNode> => {
        await node.end(signal)
        if (signal === 'SIGKILL' && returns) return node.restart()
        return bed.start({ name: `q${round}-${index}`, args: ['--capacity', '2'], join: token })
      }
      const coming = await Promise.all(ends.map(replace))
      living = [...living.filter((node) => !going.includes(node)), ...coming]
      equal.push(await untilEqual(`after round ${round + 1}`, living.map(viewerOf), 2 * equalMs))
      say(`${size} processes, round ${round + 1}: equal ${Math.round(equal.at(-1)!)} ms after the last change`)
    }
  } finally {
    await bed.dispose()
  }
  return [
    { what: `${size} processes, ${third} replaced: equal views after`, unit: 'ms', values: equal, bound: equalMs },
  ]
}

export const proof: Proof = {
  claim: 'After a churn of a third, all views are equal again.',
  async run(options) {
    const apart = await processes(options)
    const { figures, notRun } = await inProcess(options)
    const ran =
      'a third of the nodes is replaced at once, half of them by `leave` or SIGTERM and half without a word; ' +
      `${roundsOf(options.quick)} rounds; time counts from the last newcomer's start, on one host without delay`
    return { ran, notRun, figures: [...apart, ...figures] }
  },
}
