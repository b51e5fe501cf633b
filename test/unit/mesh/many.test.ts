/** Many nodes behind one address, in one process. */
import { afterEach, expect, test } from 'vitest'
import { startMeshNode, statesSeenBy, until, type MeshNode } from '../../support/mesh.ts'

const nodes: MeshNode[] = []
afterEach(async () => {
  await Promise.allSettled(nodes.splice(0).map((node) => node.kill()))
})

test.each([12, 30])(
  '%i nodes behind one address that join at once see the same, and go on doing so',
  { timeout: 90_000 },
  async (count) => {
    const first = await startMeshNode({ name: 'n0', realm: 'lab' })
    nodes.push(first)
    const token = await first.mesh.invite({ uses: count - 1, ttlMs: 60_000, role: 'member' })
    const names = Array.from({ length: count - 1 }, (_, index) => `n${index + 1}`)
    nodes.push(...(await Promise.all(names.map((name) => startMeshNode({ name, join: token })))))
    const everybody = nodes
      .map((node) => `${node.name}:alive`)
      .toSorted()
      .join(' ')
    const differing = () => nodes.filter((node) => statesSeenBy(node) !== everybody).length
    await until('equal views', () => differing() === 0 || differing(), 60_000)

    const leaver = nodes[1]!
    const rest = nodes.filter((node) => node !== leaver)
    const leaving = leaver.leave()
    const gone = () => rest.filter((node) => node.mesh.view.get(leaver.key.peer)?.state === 'left').length
    await until('the one that leaves is gone for all', () => gone() === rest.length || gone(), 2_000)
    await leaving
    const suspected = () =>
      rest.flatMap((node) => [...node.mesh.view.entries()]).filter((entry) => entry.state === 'down')
    expect(suspected()).toEqual([])
  },
)
