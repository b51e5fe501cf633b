/** What a node has to do with nodes outside its realm, for the rooms that need to know no more than that. */
import type { Host } from '../agents/host.ts'
import { outstayed, type Grants } from '../agents/rights.ts'
import { every, type Clock } from '../base/clock.ts'
import { reasonOf } from '../base/errors.ts'
import type { Limits } from '../base/limits.ts'
import type { Log } from '../base/log.ts'
import type { Mesh } from '../mesh/mesh.ts'
import type { Net } from '../net/net.ts'

/** The nodes of another realm that are connected at the moment. */
export const guestsOf =
  (net: Pick<Net, 'connected' | 'standingOf'>) =>
  (realm: string): string[] =>
    net.connected().filter((peer) => {
      const standing = net.standingOf(peer)
      return standing?.kind === 'guest' && standing.realm === realm
    })

interface GrantDeps {
  host: Host
  mesh: Pick<Mesh, 'realm' | 'onRevoked'>
  peer: string
  pins: () => Grants['pins']
  clock: Clock
  log: Log
  limits: Pick<Limits, 'grantCheckMs'>
}

/**
 * Ends the agents of realms and nodes whose grant was withdrawn, soon after it was, and those of a node that was revoked, at
 * once. Gives the function that ends the watch.
 */
export const watchGrants = ({ host, mesh, peer, pins, clock, log, limits }: GrantDeps): (() => void) => {
  const check = (): Promise<void> => {
    const { id, document, revoked } = mesh.realm()
    return host.endWhere((agent) => outstayed(agent, { ...document, revoked, pins: pins() }, { here: id, self: peer }))
  }
  const failed = (error: unknown) => log.warn('ending what was withdrawn failed', { error: reasonOf(error) })
  const off = mesh.onRevoked(() => void check().catch(failed))
  const loop = every(clock, () => limits.grantCheckMs, check, failed)
  return () => {
    off()
    loop.stop()
  }
}
