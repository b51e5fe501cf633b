/** How a host's agents rest in the store, so that a restarted node has the agents that it had. */
import { Type, type Static } from 'typebox'
import { AgentSchema } from '../base/agent.ts'
import { decode, encode } from '../base/codec.ts'
import { reasonOf } from '../base/errors.ts'
import type { Log } from '../base/log.ts'
import { Bytes, Count, parser } from '../base/schema.ts'
import type { Store, Write } from '../store/store.ts'

const SPACE = 'agents'

const ShelvedAgentSchema = Type.Object({
  agent: AgentSchema,
  grant: Bytes(2 * 1024),
  version: Count(2 ** 40),
  /** It was stopped because a higher epoch stands, and by nobody who wanted the agent to end. */
  superseded: Type.Optional(Type.Literal(true)),
})
/** An agent with the owner's grant and the version of its record, which grows with every change. */
export type ShelvedAgent = Static<typeof ShelvedAgentSchema>
const parseShelvedAgent = parser('a stored agent', ShelvedAgentSchema)

export const shelveAgent = (entry: ShelvedAgent): Write => ({ space: SPACE, key: entry.agent.id, value: encode(entry) })
export const unshelveAgent = (agent: string): Write => ({ space: SPACE, key: agent, value: null })

/** Every stored agent. One that cannot be read is left where it is and logged: nothing is lost by starting. */
export const readShelvedAgents = (store: Store, log: Log): ShelvedAgent[] =>
  store.scan(SPACE).flatMap(([key, bytes]) => {
    try {
      return [parseShelvedAgent(decode(bytes, 'a stored agent'))]
    } catch (error) {
      log.error('a stored agent cannot be read', { agent: key, error: reasonOf(error) })
      return []
    }
  })
