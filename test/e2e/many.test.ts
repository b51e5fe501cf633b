/** Thirty nodes behind one address that join at the same moment agree within seconds. */
import { afterAll, expect, test } from 'vitest'
import { callApi } from '../support/api.ts'
import { createTestBed } from '../support/nodes.ts'
import { waitFor } from '../support/wait.ts'

const bed = createTestBed()
afterAll(bed.dispose, 60_000)

const NODES = 30

test('thirty processes that join at once by one token have equal views', async () => {
  const specs = Array.from({ length: NODES }, (_, index) => ({ name: `node-${index}`, args: ['--capacity', '2'] }))
  const nodes = await bed.realm(specs)
  const everybody = nodes.map((node) => node.ready.peerId).toSorted()
  const alive = async (node: (typeof nodes)[number]): Promise<string[]> => {
    const { body } = await callApi(node, 'GET', '/v1/peers')
    const peers = body.peers as { peer: string; state: string }[]
    return peers.filter((peer) => peer.state === 'alive').map((peer) => peer.peer)
  }
  await waitFor(
    'all views are equal',
    async () => {
      for (const node of nodes) if ((await alive(node)).length !== NODES) return false
      return true
    },
    { withinMs: 30_000, everyMs: 500 },
  )
  for (const node of nodes) expect((await alive(node)).toSorted()).toEqual(everybody)
}, 180_000)
