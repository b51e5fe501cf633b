/** The names by which people know peers, and how grants are told. */
import type { Scope } from '../base/standing.ts'
import type { GodelClient } from '../client/client.ts'

/** Gives `name (PeerId)` for a peer that is known, and the PeerId alone for others. */
export const peerNames = async (client: GodelClient): Promise<(peer: string) => string> => {
  const names = new Map((await client.peers.list()).map(({ peer, name }) => [peer, name]))
  return (peer) => {
    const name = names.get(peer)
    return name === undefined ? peer : `${name} (${peer})`
  }
}

export const scopes = ['capacity', 'exec', 'migrate'] as const satisfies readonly Scope[]

/** What the nodes of a grant may do. */
export const grantOf = ({ scopes: given, agentsPerNode }: { scopes: Scope[]; agentsPerNode: number }): string => {
  if (given.length === 0) return 'nothing'
  const counted = given.some((scope) => scope !== 'capacity')
  return given.join(', ') + (counted ? `, ${agentsPerNode} ${agentsPerNode === 1 ? 'agent' : 'agents'} a node` : '')
}
