/** Crashes: nodes are killed with SIGKILL one after the other; how long until the others doubt them, know it, and have them back. */
import { createTestBed } from '../../test/support/nodes.ts'
import type { Proof } from './proof.ts'
import { untilEqual, untilSeen, viewerOf } from './views.ts'

const nodes = 6
/** Of the design for a hundred nodes; six agree sooner. */
const knownMs = 12_000

export const proof: Proof = {
  claim: 'A node that is killed is known to be gone everywhere within 12 s, and is back within seconds of its restart.',
  async run({ quick, random, say }) {
    const kills = quick ? 2 : 30
    const bed = createTestBed()
    const doubted: number[] = []
    const known: number[] = []
    const back: number[] = []
    try {
      const living = await bed.realm(Array.from({ length: nodes }, (_, index) => ({ name: `n${index}` })))
      await untilEqual('before', living.map(viewerOf), 60_000)
      for (let kill = 0; kill < kills; kill++) {
        const at = Math.floor(random() * nodes)
        const victim = living[at]!
        const { peerId } = victim.ready
        const others = living.filter((node) => node !== victim).map(viewerOf)
        const until = (fits: (state: string | undefined) => boolean) =>
          Promise.all(others.map((viewer) => untilSeen(viewer, peerId, fits, 60_000)))
        const watching = Promise.all([
          until((state) => state === 'suspect' || state === 'down'),
          until((state) => state === 'down'),
        ])
        await victim.end('SIGKILL')
        const [seen, agreed] = await watching
        doubted.push(Math.min(...seen))
        known.push(Math.max(...agreed))
        living[at] = await victim.restart()
        back.push(await untilEqual('after the restart', living.map(viewerOf), 60_000))
        say(`kill ${kill + 1}: known everywhere after ${Math.round(known.at(-1)!)} ms`)
      }
    } finally {
      await bed.dispose()
    }
    return {
      ran: `${kills} times SIGKILL to one of ${nodes} processes on one host, which is then started again`,
      notRun: [],
      figures: [
        { what: 'first doubted by anybody after', unit: 'ms', values: doubted },
        { what: 'known everywhere to be down after', unit: 'ms', values: known, bound: knownMs },
        { what: 'equal views after it is ready again', unit: 'ms', values: back, bound: knownMs },
      ],
    }
  },
}
