/** Whether nodes see the same: who is up, by PeerId with incarnation. Tombstones may differ, since newcomers are not told of the dead. */
import { callApi } from '../../test/support/api.ts'
import type { MeshNode } from '../../test/support/mesh.ts'
import type { TestNode } from '../../test/support/nodes.ts'
import { waitFor } from '../../test/support/wait.ts'

interface Seen {
  readonly peer: string
  readonly state: string
  readonly incarnation: number
}

export interface Viewer {
  readonly peer: string
  seen(): Promise<readonly Seen[]>
}

export const viewerOf = (node: TestNode): Viewer => ({
  peer: node.ready.peerId,
  seen: async () => (await callApi(node, 'GET', '/v1/peers')).body.peers,
})

export const viewerIn = ({ key, mesh }: MeshNode): Viewer => ({
  peer: key.peer,
  seen: async () =>
    [...mesh.view.entries()].map(({ peer, state, ad }) => ({ peer, state, incarnation: ad.incarnation })),
})

const isUp = (state: string): boolean => state !== 'down' && state !== 'left' && state !== 'suspect'

const upIn = (seen: readonly Seen[]): string =>
  seen
    .filter(({ state }) => isUp(state))
    .map(({ peer, incarnation }) => `${peer}.${incarnation}`)
    .toSorted()
    .join(' ')

/** Waits until every viewer sees exactly the viewers up, all of one incarnation each. Gives the milliseconds it took. */
export const untilEqual = async (what: string, viewers: readonly Viewer[], withinMs: number): Promise<number> => {
  const fromMs = performance.now()
  const living = viewers
    .map(({ peer }) => peer)
    .toSorted()
    .join(' ')
  await waitFor(
    `${what}: equal views of ${viewers.length}`,
    async () => {
      const views = await Promise.all(viewers.map(async ({ seen }) => upIn(await seen())))
      const peers = views[0]!.split(' ').map((one) => one.replace(/\.\d+$/, ''))
      const others = views.filter((view) => view !== views[0]).length
      if (peers.join(' ') !== living) throw new Error(`the first sees ${peers.length} of ${viewers.length} up`)
      if (others > 0) throw new Error(`${others} of ${viewers.length} see others than the first`)
      return true
    },
    { withinMs, everyMs: 100 },
  )
  return performance.now() - fromMs
}

/** Waits until one viewer sees a peer in a state for which `fits` holds. */
export const untilSeen = async (
  viewer: Viewer,
  peer: string,
  fits: (state: string | undefined, incarnation: number) => boolean,
  withinMs: number,
): Promise<number> => {
  const fromMs = performance.now()
  await waitFor(
    `${viewer.peer} sees ${peer} otherwise`,
    async () => {
      const one = (await viewer.seen()).find((each) => each.peer === peer)
      if (fits(one?.state, one?.incarnation ?? 0)) return true
      throw new Error(`it is ${one?.state}`)
    },
    { withinMs, everyMs: 25 },
  )
  return performance.now() - fromMs
}
