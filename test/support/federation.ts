/** Realms of nodes inside the test's process that name each other, or do not. */
import type { Scope } from '../../src/base/standing.ts'
import { startMeshNode, type MeshNode, type MeshNodeOptions } from './mesh.ts'

/** Intervals that let a test see in a second what takes minutes otherwise. */
export const quick = { syncIntervalMs: 400, guestTickMs: 100, pinShownIntervalMs: 200, probeIntervalMs: 300 }

export const createFederation = () => {
  const running: MeshNode[] = []

  const node = async (options: MeshNodeOptions): Promise<MeshNode> => {
    const started = await startMeshNode({ ...options, limits: { ...quick, ...options.limits } })
    running.push(started)
    return started
  }

  /** A realm of shareable nodes, unless their traits say otherwise: the first founds it, the others join it. */
  const realm = async (name: string, specs: readonly MeshNodeOptions[]): Promise<MeshNode[]> => {
    const shares = { shareable: true, shareFraction: 1 }
    const [first, ...others] = specs.map((spec) => ({ ...spec, traits: { ...shares, ...spec.traits } }))
    const founder = await node({ ...first!, realm: name })
    const nodes = [founder]
    for (const spec of others) {
      const join = await founder.mesh.invite({ uses: 1, ttlMs: 60_000, role: 'member' })
      nodes.push(await node({ ...spec, join }))
    }
    return nodes
  }

  const dispose = async (): Promise<void> => {
    await Promise.all(running.splice(0).map((one) => one.kill()))
  }
  return { node, realm, dispose }
}

/** `here` names the realm of `there`, and grants it scopes. */
export const name = async (
  here: MeshNode,
  there: MeshNode,
  {
    scopes = ['capacity'],
    agentsPerNode = 2,
    out = true,
  }: { scopes?: Scope[]; agentsPerNode?: number; out?: boolean } = {},
): Promise<void> => {
  await here.mesh.governance.trust(await there.mesh.governance.card(), { out })
  if (scopes.length > 0) await here.mesh.governance.share(there.mesh.realm().id, { scopes, agentsPerNode })
}

/** The nodes outside its realm that a node sees, by name in order: `b1:alive b2:down`. */
export const guestsSeenBy = ({ mesh }: MeshNode): string =>
  [...mesh.guests.entries()]
    .map(({ ad, state }) => `${ad.name}:${state}`)
    .toSorted()
    .join(' ')
