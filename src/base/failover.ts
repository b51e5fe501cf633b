/** When a peer counts as gone and as back: settings that change while a node runs, for one node or for its realm. */
import { Type, type Static } from 'typebox'
import { limits } from './limits.ts'
import { OneOf } from './schema.ts'

const fields = {
  /** Between two probes of a peer. */
  healthCheckIntervalMs: Type.Integer({
    minimum: limits.healthCheckIntervalMsMin,
    maximum: limits.healthCheckIntervalMsMax,
  }),
  /** Probes in a row that nobody sees answered before a peer is accused. */
  failureThreshold: Type.Integer({ minimum: 1, maximum: limits.failureThresholdMax }),
  /** How long a peer that was down answers again before it is chosen. */
  recoveryTimeMs: Type.Integer({ minimum: 0, maximum: limits.recoveryTimeMsMax }),
}

export const FailoverSettingsSchema = Type.Object(fields, { additionalProperties: false })
export type FailoverSettings = Static<typeof FailoverSettingsSchema>

/** `scope`: `realm` changes the realm document and takes a root key; without one it is `node`, this node alone, unless told. */
export const FailoverChangeSchema = Type.Object(
  {
    healthCheckIntervalMs: Type.Optional(fields.healthCheckIntervalMs),
    failureThreshold: Type.Optional(fields.failureThreshold),
    recoveryTimeMs: Type.Optional(fields.recoveryTimeMs),
    scope: Type.Optional(OneOf(['realm', 'node'])),
  },
  { additionalProperties: false },
)
export type FailoverChange = Static<typeof FailoverChangeSchema>

/** The settings in force, and whose word they are. */
export const FailoverReportSchema = Type.Object({ ...fields, source: OneOf(['default', 'realm', 'node']) })
export type FailoverReport = Static<typeof FailoverReportSchema>
