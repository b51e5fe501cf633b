/**
 * Records of where an agent is, as they travel and rest: the host's sealed word, and with it the owner's sealed grant
 * that names the host for that epoch. Nobody but the owner can move an agent to another host, and nobody but the host that
 * was named (or the owner, in its place) can say how the agent fares there.
 */
import { Type } from 'typebox'
import { AgentIdSchema, PeerIdSchema } from '../base/advertisement.ts'
import { parseAgentRecord, type AgentRecord } from '../base/agent.ts'
import { decode, encode } from '../base/codec.ts'
import { GodelError } from '../base/errors.ts'
import { Bytes, Count, parser } from '../base/schema.ts'

const RECORD_DOMAIN = 'godel-agent-record'
const GRANT_DOMAIN = 'godel-agent-grant'

const GrantSchema = Type.Object({ agent: AgentIdSchema, epoch: Count(2 ** 40), host: PeerIdSchema })
const parseGrant = parser('a grant', GrantSchema)

/** A record and its grant, both sealed. At most 16 KiB together. */
export const SealedRecordSchema = Type.Object({ record: Bytes(12 * 1024), grant: Bytes(2 * 1024) })
export interface SealedRecord {
  record: Uint8Array
  grant: Uint8Array
}
const parseSealedRecord = parser('a sealed record', SealedRecordSchema)

/** Signs and checks as one peer; `net` is one. */
export interface Sealer {
  seal(domain: string, payload: Uint8Array): Promise<Uint8Array>
  open(domain: string, envelope: Uint8Array): Promise<{ peer: string; payload: Uint8Array }>
}

/** The owner's word that `host` runs `agent` under `epoch`. */
export const sealGrant = (sealer: Sealer, agent: string, epoch: number, host: string): Promise<Uint8Array> =>
  sealer.seal(GRANT_DOMAIN, encode({ agent, epoch, host }))

/** Opens a grant: who signed it and what it says. INVALID_MESSAGE when it does not hold. */
export const openGrant = async (sealer: Sealer, grant: Uint8Array) => {
  const { peer, payload } = await sealer.open(GRANT_DOMAIN, grant)
  return { owner: peer, ...parseGrant(decode(payload, 'a grant')) }
}

export const sealRecord = async (sealer: Sealer, record: AgentRecord, grant: Uint8Array): Promise<SealedRecord> => ({
  record: await sealer.seal(RECORD_DOMAIN, encode(record)),
  grant,
})

/** Opens a record and checks every signature and every name against the others. INVALID_MESSAGE or FORBIDDEN. */
export const openRecord = async (sealer: Sealer, sealed: SealedRecord): Promise<AgentRecord> => {
  const { peer, payload } = await sealer.open(RECORD_DOMAIN, sealed.record)
  const record = parseAgentRecord(decode(payload, 'an agent record'))
  const { agent } = record
  const grant = await openGrant(sealer, sealed.grant)
  const fault =
    grant.owner !== agent.owner
      ? 'its grant is not by the owner of the agent'
      : grant.agent !== agent.id || grant.epoch !== agent.epoch || grant.host !== agent.host
        ? 'its grant is for another agent, epoch or host'
        : peer !== agent.host && peer !== agent.owner
          ? 'it is signed by neither the host nor the owner'
          : undefined
  if (fault) throw new GodelError({ code: 'FORBIDDEN', action: 'a record of an agent', reason: fault })
  return record
}

/** True when `a` stands over `b`: by epoch, then by host where two claim one epoch, then by version. */
export const supersedes = (a: AgentRecord, b: AgentRecord): boolean => {
  if (a.agent.epoch !== b.agent.epoch) return a.agent.epoch > b.agent.epoch
  if (a.agent.host !== b.agent.host) return a.agent.host > b.agent.host
  return a.version > b.version
}

export const encodeSealed = (sealed: SealedRecord): Uint8Array => encode(sealed)
export const decodeSealed = (bytes: Uint8Array): SealedRecord => parseSealedRecord(decode(bytes, 'a stored record'))
