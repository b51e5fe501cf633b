/** What a node is started with, its defaults, and the traits that follow from them and from the host. */
import { hostname } from 'node:os'
import {
  CapabilitySchema,
  LabelsSchema,
  NameSchema,
  RegionSchema,
  type Isolation,
  type NodeTraits,
} from '../base/advertisement.ts'
import { GodelError, hasCode } from '../base/errors.ts'
import { isPeerId } from '../base/ids.ts'
import type { Limits } from '../base/limits.ts'
import { parser, type Parse } from '../base/schema.ts'
import { isDialable, isListenable } from '../net/addresses.ts'

export interface NodeOptions {
  /** The realm's name: made on a fresh data directory, joined with `join`, and checked against what is there otherwise. */
  realm?: string
  /** The node's own name; the host's unless told. */
  name?: string
  dataDir: string
  /** 0 picks a free port. */
  apiPort: number
  /** Multiaddrs; none listens on every address at the port of the last start, else at limits.peerPort, else at a free one. */
  listen: string[]
  /** A port at which WebSockets are taken on every address, for peers that cannot get through otherwise; 0 picks one. */
  websocket?: number
  /** Finds peers of the realm on the LAN by multicast DNS; false unless told. */
  mdns?: boolean
  /** Relays for members that cannot be dialled; true unless told. */
  relay?: boolean
  /** The text of a join token. */
  join?: string
  /** Multiaddrs that end in /p2p/PEER. */
  bootstrap: string[]
  /** Slots for agents; limits.capacityDefault unless told. */
  capacity?: number
  region?: string
  labels: Record<string, string>
  capabilities: string[]
  gpu: { count: number; types: string[] }
  costPerHour?: number
  shareable: boolean
  /** The part of the slots that federated realms may take, above 0 up to 1; all of them unless told. Takes `shareable`. */
  shareFraction?: number
  /** Nodes that are pinned at the start, by PeerId or by a multiaddr that ends in /p2p/PEER. */
  acceptPeers?: string[]
  /** Multiaddrs that others are told of this node as they are, outside the realm too. */
  announce?: string[]
  acceptUnsandboxed: boolean
  /** debug, info, warn or error; info unless told. */
  logLevel?: string
}

/** The runtimes that this program brings along, with the version of their interface. */
const RUNTIMES = [{ kind: 'process', version: '1' }]

/** The host's name as a node name: what does not fit is replaced. */
export const defaultName = (): string => {
  const name = hostname()
    .split('.')[0]!
    .replaceAll(/[^A-Za-z0-9._-]/g, '-')
    .replace(/^[^A-Za-z0-9]+/, '')
    .slice(0, 63)
  return name === '' ? 'node' : name
}

const parseName = parser('a name', NameSchema)
const parseRegion = parser('a region', RegionSchema)
const parseLabels = parser('labels', LabelsSchema)
const parseCapability = parser('a capability', CapabilitySchema)

/** INVALID_ARGUMENT that names the option. */
const checked = <T>(field: string, parse: Parse<T>, value: unknown): T => {
  try {
    return parse(value)
  } catch (error) {
    if (!hasCode(error, 'INVALID_MESSAGE')) throw error
    throw new GodelError({
      code: 'INVALID_ARGUMENT',
      field,
      reason: `${JSON.stringify(value)}: ${error.detail.reason}`,
    })
  }
}

/** The traits that this node will advertise. INVALID_ARGUMENT for what the mesh could not carry. */
export const traitsOf = (options: NodeOptions, isolation: Isolation): NodeTraits => ({
  name: checked('--name', parseName, options.name ?? defaultName()),
  ...(options.region !== undefined && { region: checked('--region', parseRegion, options.region) }),
  labels: checked('--label', parseLabels, options.labels),
  capabilities: options.capabilities.map((capability) => checked('--capability', parseCapability, capability)),
  runtimes: RUNTIMES,
  gpu: options.gpu,
  cost: options.costPerHour === undefined ? {} : { perHour: options.costPerHour },
  isolation,
  acceptUnsandboxed: options.acceptUnsandboxed,
  shareable: options.shareable,
  shareFraction: shareFractionOf(options),
})

const shareFractionOf = ({ shareable, shareFraction = 1 }: NodeOptions): number => {
  if (!shareable) return 0
  if (shareFraction > 0 && shareFraction <= 1) return shareFraction
  throw new GodelError({
    code: 'INVALID_ARGUMENT',
    field: '--share-fraction',
    reason: 'must be above 0 and at most 1; without --shareable nothing is shared',
  })
}

const invalid = (field: string, reason: string) => new GodelError({ code: 'INVALID_ARGUMENT', field, reason })

/** A multiaddr that ends in a PeerId, as its two parts. */
const dialled = (text: string): { peer: string; address: string } | undefined => {
  const [, address = '', peer = ''] = /^(\/.+)\/p2p\/([^/]+)$/.exec(text) ?? []
  return isPeerId(peer) && isDialable(address) ? { peer, address } : undefined
}

/** What `--accept-peer` pins. INVALID_ARGUMENT for what is neither a PeerId nor a multiaddr with one. */
export const acceptedPeers = ({ acceptPeers = [] }: NodeOptions): { peer: string; addresses: string[] }[] =>
  acceptPeers.map((text) => {
    if (isPeerId(text)) return { peer: text, addresses: [] }
    const found = dialled(text)
    if (found === undefined)
      throw invalid('--accept-peer', `${text} is neither a PeerId nor a multiaddr that ends in /p2p/PEER`)
    return { peer: found.peer, addresses: [found.address] }
  })

/** INVALID_ARGUMENT for addresses and ports that are none. */
const checkAddresses = ({ listen, announce = [], bootstrap, websocket = 0 }: NodeOptions): void => {
  const portsMax = 65_535
  for (const each of listen)
    if (!isListenable(each))
      throw invalid(
        '--listen',
        `${each} is no address such as /ip4/0.0.0.0/tcp/7374, /ip6/::/tcp/0 or one with /ws behind`,
      )
  for (const each of announce)
    if (!isDialable(each))
      throw invalid('--announce', `${each} is no multiaddr such as /dns4/host.example.org/tcp/7374`)
  for (const each of bootstrap)
    if (!dialled(each))
      throw invalid(
        '--bootstrap',
        `${each} is no multiaddr that ends in /p2p/PEER, such as /ip4/10.0.0.7/tcp/7374/p2p/12D3KooW...`,
      )
  if (!Number.isSafeInteger(websocket) || websocket < 0 || websocket > portsMax)
    throw invalid('--websocket', `must be a port from 0 to ${portsMax}`)
}

/** Everything that can be wrong with them in themselves, before anything is made or started. INVALID_ARGUMENT. */
export const checkOptions = (options: NodeOptions, limits: Pick<Limits, 'capacityDefault' | 'capacityMax'>): void => {
  checkAddresses(options)
  acceptedPeers(options)
  traitsOf(options, 'none')
  slotsOf(options, limits)
}

/** The number of slots. INVALID_ARGUMENT out of bounds. */
export const slotsOf = (options: NodeOptions, limits: Pick<Limits, 'capacityDefault' | 'capacityMax'>): number => {
  const slots = options.capacity ?? limits.capacityDefault
  if (Number.isSafeInteger(slots) && slots >= 0 && slots <= limits.capacityMax) return slots
  throw new GodelError({
    code: 'INVALID_ARGUMENT',
    field: '--capacity',
    reason: `must be from 0 to ${limits.capacityMax}`,
  })
}
