/**
 * Records across the border of a realm. The homes of an agent are in the realm that it belongs to, wherever it runs: a host abroad
 * hands its record to the owner, or, where that cannot be reached, to any node of that realm which is connected as a guest.
 * The receiver puts it to the homes as if the host had, and what they say goes back.
 */
import type { AgentRecord } from '../base/agent.ts'
import { GodelError, hasCode, reasonOf } from '../base/errors.ts'
import type { Limits } from '../base/limits.ts'
import type { Log } from '../base/log.ts'
import type { Rpc } from '../net/method.ts'
import { recordHand } from './methods.ts'
import { openRecord, type SealedRecord, type Sealer } from './records.ts'

interface AbroadDeps {
  peer: string
  /** The id of this node's realm. */
  realm: () => string
  rpc: Pick<Rpc, 'call'>
  sealer: Sealer
  /** The nodes of another realm that are connected at the moment. */
  guestsOf: (realm: string) => readonly string[]
  /** Whether a peer is a member of this realm, as far as this node knows. */
  isMember: (peer: string) => boolean
  log: Log
  limits: Pick<Limits, 'handTimeoutMs' | 'handPeersMax'>
}

export const createAbroad = ({ peer, realm, rpc, sealer, guestsOf, isMember, log, limits }: AbroadDeps) => ({
  /** Whether the homes of an agent are in another realm. What this node owns itself it puts to its own. */
  isForeign: ({ agent }: Pick<AgentRecord, 'agent'>): boolean => agent.realm !== realm() && agent.owner !== peer,

  /**
   * Hands a record to the realm of its agent. The number of homes that have it, 0 where nobody of that realm can be reached.
   * What the homes refuse with: STALE_EPOCH, CONFLICT, FORBIDDEN.
   */
  async hand({ agent }: AgentRecord, sealed: SealedRecord): Promise<number> {
    const others = guestsOf(agent.realm).filter((other) => other !== agent.owner)
    let refusal: unknown
    for (const target of [agent.owner, ...others].slice(0, limits.handPeersMax)) {
      try {
        const { homes } = await rpc.call(target, recordHand, sealed, { timeoutMs: limits.handTimeoutMs })
        if (homes > 0) return homes
      } catch (error) {
        if (hasCode(error, 'STALE_EPOCH')) throw error
        if (hasCode(error, 'CONFLICT', 'FORBIDDEN')) refusal ??= error
        log.debug('a record was not handed over', { agent: agent.id, target, error: reasonOf(error) })
      }
    }
    if (refusal !== undefined) throw refusal
    return 0
  },

  /** Opens what a host abroad hands over, if this realm has to do with it. FORBIDDEN, INVALID_MESSAGE. */
  async receive(sealed: SealedRecord, from: string): Promise<AgentRecord> {
    const record = await openRecord(sealer, sealed)
    const { agent } = record
    const fault =
      agent.host !== from
        ? 'it is about an agent on another host'
        : agent.owner !== peer && (agent.realm !== realm() || !isMember(agent.owner))
          ? 'its owner is not of this realm'
          : undefined
    if (fault)
      throw new GodelError({ code: 'FORBIDDEN', action: `handing over a record of ${agent.id}`, reason: fault })
    return record
  },
})
