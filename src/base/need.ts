/** The vocabulary of placement: what is needed, what was considered, and the record of a decision. */
import { Type, type Static } from 'typebox'
import { IsolationSchema, LabelsSchema, PeerIdSchema } from './advertisement.ts'
import { Count, OneOf } from './schema.ts'

export const LevelSchema = OneOf(['realm', 'unregistered', 'cross-realm'])
/** The hierarchy: the own realm first, then pinned peers without a realm, then shareable peers of other realms. */
export type Level = Static<typeof LevelSchema>

export const NeedSchema = Type.Object({
  /** Breaks ties between equals, so that equal nodes share the load. */
  requestId: Type.String({ maxLength: 64 }),
  runtime: Type.String({ maxLength: 64 }),
  capabilities: Type.Array(Type.String({ maxLength: 64 })),
  gpu: Type.Boolean(),
  gpuType: Type.Optional(Type.String({ maxLength: 63 })),
  region: Type.Optional(Type.String({ maxLength: 63 })),
  node: Type.Optional(Type.String({ maxLength: 63 })),
  isolation: Type.Optional(IsolationSchema),
  nodeLabels: LabelsSchema,
})
export type Need = Static<typeof NeedSchema>

/** One candidate of a decision: its score (higher is better), or the reasons why it was not eligible. */
export const ConsideredSchema = Type.Object({
  peer: PeerIdSchema,
  node: Type.String({ maxLength: 63 }),
  level: LevelSchema,
  /** Milliseconds since the author issued the advertisement that this rests on. */
  adAgeMs: Count(),
  score: Type.Optional(Type.Number()),
  rejected: Type.Optional(Type.Array(Type.String({ maxLength: 255 }))),
})
export type Considered = Static<typeof ConsideredSchema>

export const AttemptSchema = Type.Object({
  peer: PeerIdSchema,
  node: Type.String({ maxLength: 63 }),
  epoch: Count(),
  outcome: OneOf(['placed', 'refused', 'unreachable', 'unknown']),
  /** The code and words of a refusal or a failure. */
  error: Type.Optional(Type.String({ maxLength: 2_048 })),
})
export type Attempt = Static<typeof AttemptSchema>

/** The record of one placement, from the need to where it went. */
export const DecisionSchema = Type.Object({
  requestId: Type.String({ maxLength: 64 }),
  atMs: Count(),
  need: NeedSchema,
  strategy: Type.String({ maxLength: 63 }),
  /** Why the pick was made: kept here below the threshold, named by the caller, or best by strategy. */
  rule: OneOf(['local-below-threshold', 'named-node', 'strategy', 'none']),
  pick: Type.Union([PeerIdSchema, Type.Null()]),
  level: Type.Union([LevelSchema, Type.Null()]),
  considered: Type.Array(ConsideredSchema),
  /** Candidates beyond the bound of the record, by count. */
  omitted: Count(),
  attempts: Type.Array(AttemptSchema),
})
export type Decision = Static<typeof DecisionSchema>
