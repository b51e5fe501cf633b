/**
 * What a node says about itself to its realm. Written by that node alone, sealed in a signed envelope, ordered by
 * (incarnation, sequence). An advertisement is a hint: the target of a placement decides again.
 */
import { Type, type Static } from 'typebox'
import { idPattern, peerIdPattern } from './ids.ts'
import { limits } from './limits.ts'
import { Count, OneOf, parser } from './schema.ts'

export const NodeStatusSchema = OneOf(['available', 'busy', 'draining'])

export const IsolationSchema = OneOf(['none', 'bwrap'])
export type Isolation = Static<typeof IsolationSchema>

export const PeerIdSchema = Type.String({ pattern: peerIdPattern })
export const AgentIdSchema = Type.String({ pattern: idPattern('ag') })
export const NameSchema = Type.String({ pattern: '^[A-Za-z0-9][A-Za-z0-9._-]{0,62}$' })
export const RegionSchema = Type.String({ pattern: '^[A-Za-z0-9][A-Za-z0-9._-]{0,62}$' })
export const CapabilitySchema = Type.String({ pattern: '^[A-Za-z0-9][A-Za-z0-9._:/@+-]{0,62}$' })
export const LabelsSchema = Type.Record(
  Type.String({ pattern: `^[A-Za-z0-9][A-Za-z0-9._/-]{0,${limits.labelKeyLengthMax - 1}}$` }),
  Type.String({ maxLength: limits.labelValueLengthMax }),
  { maxProperties: limits.labelsMax, additionalProperties: false },
)

export const RuntimeSchema = Type.Object({
  kind: CapabilitySchema,
  version: Type.String({ maxLength: 64 }),
})

export const GpuSchema = Type.Object({
  count: Count(1_024),
  types: Type.Array(Type.String({ minLength: 1, maxLength: 63 }), { maxItems: 16 }),
  memoryMb: Type.Optional(Count()),
})

export const CoordinatesSchema = Type.Object({
  latitude: Type.Number({ minimum: -90, maximum: 90 }),
  longitude: Type.Number({ minimum: -180, maximum: 180 }),
})

export const CostSchema = Type.Object({
  perHour: Type.Optional(Type.Number({ minimum: 0 })),
  perExecution: Type.Optional(Type.Number({ minimum: 0 })),
  perToken: Type.Optional(Type.Number({ minimum: 0 })),
})

export const EnsembleSchema = Type.Object({
  name: NameSchema,
  capabilities: Type.Array(CapabilitySchema, { maxItems: limits.capabilitiesMax }),
  load: Type.Number({ minimum: 0, maximum: 1 }),
  limit: Count(),
})

/** A node's lasting traits: what it was started with and what it found on its host. */
export const NodeTraitsSchema = Type.Object({
  name: NameSchema,
  region: Type.Optional(RegionSchema),
  coordinates: Type.Optional(CoordinatesSchema),
  labels: LabelsSchema,
  capabilities: Type.Array(CapabilitySchema, { maxItems: limits.capabilitiesMax }),
  runtimes: Type.Array(RuntimeSchema, { maxItems: 16 }),
  gpu: GpuSchema,
  cost: CostSchema,
  isolation: IsolationSchema,
  /** Takes agents of other nodes without a sandbox. */
  acceptUnsandboxed: Type.Boolean(),
  shareable: Type.Boolean(),
  shareFraction: Type.Number({ minimum: 0, maximum: 1 }),
})
export type NodeTraits = Static<typeof NodeTraitsSchema>

/** A node's momentary capacity. `currentLoad` is 0..1; `running` and `maxConcurrent` count agents. */
export const CapacitySchema = Type.Object({
  status: NodeStatusSchema,
  currentLoad: Type.Number({ minimum: 0, maximum: 1 }),
  running: Count(limits.capacityMax),
  maxConcurrent: Count(limits.capacityMax),
})
export type Capacity = Static<typeof CapacitySchema>

export const AdvertisementSchema = Type.Object({
  realm: Type.String({ pattern: '^[0-9a-f]{64}$' }),
  peer: PeerIdSchema,
  ...NodeTraitsSchema.properties,
  ...CapacitySchema.properties,
  ensembles: Type.Array(EnsembleSchema, { maxItems: 8 }),
  addresses: Type.Array(Type.String({ maxLength: 255 }), { maxItems: 8 }),
  /** Grows with each start of the node and with each refutation; kept on disk before it is used. */
  incarnation: Count(2 ** 40),
  /** The incarnation with which the node started, so that a start is told from a refutation. */
  startedAs: Type.Optional(Count(2 ** 40)),
  /** Grows with each advertisement of one incarnation. */
  sequence: Count(2 ** 40),
  ttlMs: Type.Integer({ minimum: 1, maximum: limits.advertisementTtlMsMax }),
  /** The node's last word: it has left in good order, and nothing of it is to be used. */
  left: Type.Boolean(),
  /** The membership certificate of the author, so that a relayed advertisement can be checked offline. */
  certificate: Type.String({ maxLength: limits.certificateBytesMax }),
})
export type Advertisement = Static<typeof AdvertisementSchema>

export const parseAdvertisement = parser('an advertisement', AdvertisementSchema)
