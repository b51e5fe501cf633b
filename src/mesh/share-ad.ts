/**
 * What a node says of itself outside its realm: the coarse projection of its advertisement. It has no labels, no internal
 * addresses, and of the slots only the shared part; it is sealed in a domain of its own, so that an advertisement never
 * passes for one, nor what a pinned node is shown for what a realm is.
 */
import { Type, type Static } from 'typebox'
import {
  AdvertisementSchema,
  NodeTraitsSchema,
  CapacitySchema,
  type Advertisement,
  type Capacity,
  type NodeTraits,
} from '../base/advertisement.ts'
import { parser } from '../base/schema.ts'

/** For the nodes of federated realms. */
export const SHARE_DOMAIN = 'godel-share'
/** For a node that is pinned on both sides. */
export const SHOWN_DOMAIN = 'godel-shown'

const traits = NodeTraitsSchema.properties
const whole = AdvertisementSchema.properties

export const ShareAdSchema = Type.Object(
  {
    realm: whole.realm,
    peer: whole.peer,
    name: traits.name,
    region: traits.region,
    coordinates: traits.coordinates,
    capabilities: traits.capabilities,
    runtimes: traits.runtimes,
    gpu: traits.gpu,
    cost: traits.cost,
    isolation: traits.isolation,
    acceptUnsandboxed: traits.acceptUnsandboxed,
    shareable: traits.shareable,
    ...CapacitySchema.properties,
    addresses: whole.addresses,
    incarnation: whole.incarnation,
    sequence: whole.sequence,
    ttlMs: whole.ttlMs,
    left: whole.left,
    certificate: whole.certificate,
  },
  { additionalProperties: false },
)
export type ShareAd = Static<typeof ShareAdSchema>
export const parseShareAd = parser('what a node shares', ShareAdSchema)

/**
 * The part of the capacity that is shared: `slots · fraction`, rounded down. Of those as many count as free as the node has
 * free at all, so that what its own realm does shows only once it takes what others could have.
 */
export const sharedCapacity = (capacity: Capacity, fraction: number): Capacity => {
  const maxConcurrent = Math.floor(capacity.maxConcurrent * fraction)
  const free = Math.max(0, capacity.maxConcurrent - capacity.running)
  const running = maxConcurrent - Math.min(maxConcurrent, free)
  const isFull = capacity.status === 'available' && (running >= maxConcurrent || capacity.currentLoad >= 1)
  return { status: isFull ? 'busy' : capacity.status, currentLoad: capacity.currentLoad, running, maxConcurrent }
}

/** The projection: what is not named here is not told. */
export const projectionOf = (
  node: NodeTraits,
  capacity: Capacity,
  rest: Pick<ShareAd, 'realm' | 'peer' | 'addresses' | 'incarnation' | 'sequence' | 'ttlMs' | 'left' | 'certificate'>,
): ShareAd => ({
  name: node.name,
  ...(node.region !== undefined && { region: node.region }),
  ...(node.coordinates !== undefined && { coordinates: node.coordinates }),
  capabilities: node.capabilities,
  runtimes: node.runtimes,
  gpu: node.gpu,
  cost: node.cost,
  isolation: node.isolation,
  acceptUnsandboxed: node.acceptUnsandboxed,
  shareable: node.shareable,
  ...capacity,
  ...rest,
})

/** The projection in the form in which routing and reports know nodes. */
export const asAdvertisement = (ad: ShareAd): Advertisement => ({ ...ad, labels: {}, ensembles: [], shareFraction: 1 })
