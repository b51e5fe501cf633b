/**
 * Hard filters. A row bears terms and a need demands terms; a candidate is eligible when it bears every one. Each kind of
 * demand has its words for a candidate that does not, so that a decision and its explanation rest on the same table.
 */
import { peerIdPattern } from '../base/ids.ts'
import { limits } from '../base/limits.ts'
import type { Need } from '../base/need.ts'
import type { CandidateAd, CandidateRow } from './candidates.ts'

/** One hard filter: the term that a candidate must bear. */
export interface Demand {
  readonly kind: DemandKind
  readonly term: string
  /** What was asked for, for the words of a rejection. */
  readonly wanted: string
}

type Words = (row: CandidateRow, wanted: string, inFlight: number) => string

/** Why a candidate that does not bear the term of a demand is rejected, in words. */
const words = {
  malformed: () => 'the need is malformed',
  node: () => 'not the named node',
  alive: (row) => row.state,
  fresh: () => 'expired',
  trusted: () => 'not trusted',
  shared: () => 'not shareable',
  awake: () => 'draining',
  calm: () => 'busy',
  room: ({ ad }, _, inFlight) => `full (${ad.running + inFlight} of ${ad.maxConcurrent})`,
  runtime: (_, wanted) => `runtime ${wanted} missing`,
  capability: (_, wanted) => `capability ${wanted} missing`,
  gpu: () => 'no GPU',
  gpuType: ({ ad }, wanted) =>
    ad.gpu.count > 0 ? `GPU type ${wanted} wanted, has ${ad.gpu.types.join(', ') || 'one of unknown type'}` : 'no GPU',
  region: ({ ad }, wanted) => `region ${wanted} wanted, is ${ad.region ?? 'unknown'}`,
  isolation: ({ ad }, wanted) => `isolation ${wanted} wanted, offers ${ad.isolation}`,
  open: () => 'takes no unsandboxed agents of other nodes',
  label: (_, wanted) => `label ${wanted} missing`,
} satisfies Record<string, Words>

export type DemandKind = keyof typeof words

/** What changes by the minute: a fresh advertisement may say otherwise. */
const momentary: ReadonlySet<DemandKind> = new Set(['awake', 'calm', 'room'])
export const isMomentary = (demand: Demand): boolean => momentary.has(demand.kind)

const demand = (kind: DemandKind, term: string = kind, wanted = ''): Demand => ({ kind, term, wanted })

/** What every need demands, however little it asks for. */
const always: readonly Demand[] = (['alive', 'fresh', 'trusted', 'shared', 'awake', 'calm', 'room'] as const).map(
  (kind) => demand(kind),
)
/** No candidate bears this term. */
const malformed: readonly Demand[] = [demand('malformed')]
const sandboxed = demand('isolation', 'isolation:bwrap', 'bwrap')
const open = demand('open')
const anyGpu = demand('gpu')

export const roomTerm = 'room'
export const hasRoom = (ad: CandidateAd, inFlight: number): boolean => ad.running + inFlight < ad.maxConcurrent

const peerId = new RegExp(peerIdPattern)

// A key may hold anything that a value may, in a need that nobody checked: the length keeps the two apart.
const labelTerm = (key: string, value: string): string => `label:${key.length}:${key}=${value}`
// A node that gives itself the PeerId of another as its name is not found by it.
const nodeTerm = (node: string): string => (peerId.test(node) ? `peer:${node}` : `name:${node}`)

/** The terms that a row bears. */
export const termsOf = (row: CandidateRow, inFlight: number): string[] => {
  const { ad } = row
  const terms = [`level:${row.level}`, `peer:${row.peer}`, `name:${ad.name}`]
  if (row.state === 'alive') terms.push('alive')
  if (row.expired !== true) terms.push('fresh')
  if (row.trusted) terms.push('trusted')
  if (row.level !== 'cross-realm' || ad.shareable) terms.push('shared')
  if (ad.status !== 'draining') terms.push('awake')
  // Written so that a load which is no number counts as unknown, not as full.
  if (ad.status !== 'busy' && !(ad.currentLoad >= 1)) terms.push('calm')
  if (hasRoom(ad, inFlight)) terms.push(roomTerm)
  if (row.self || ad.acceptUnsandboxed || ad.isolation !== 'none') terms.push('open')
  if (ad.isolation === 'bwrap') terms.push('isolation:bwrap')
  if (ad.region !== undefined) terms.push(`region:${ad.region}`)
  for (const { kind } of ad.runtimes) terms.push(`runtime:${kind}`)
  for (const capability of ad.capabilities) terms.push(`capability:${capability}`)
  for (const key of Object.keys(ad.labels)) terms.push(labelTerm(key, ad.labels[key]!))
  if (ad.gpu.count > 0) {
    terms.push('gpu')
    for (const type of ad.gpu.types) terms.push(`gpu:${type}`)
  }
  return terms
}

/** The terms that a need demands, in the order in which reasons are told. Total: a malformed need demands what nobody has. */
export const demandsOf = (need: Need): readonly Demand[] => {
  if (!isWellFormed(need)) return malformed
  const demands: Demand[] = []
  if (need.node !== undefined) demands.push(demand('node', nodeTerm(need.node), need.node))
  for (const one of always) demands.push(one)
  demands.push(demand('runtime', `runtime:${need.runtime}`, need.runtime))
  for (const name of need.capabilities) demands.push(demand('capability', `capability:${name}`, name))
  if (need.gpuType !== undefined) demands.push(demand('gpuType', `gpu:${need.gpuType}`, need.gpuType))
  else if (need.gpu) demands.push(anyGpu)
  if (need.region !== undefined) demands.push(demand('region', `region:${need.region}`, need.region))
  // Isolation is asked for as "at least": `none` is met by any level, but no other node runs it bare unless it said so.
  demands.push(need.isolation === 'bwrap' ? sandboxed : open)
  for (const key of Object.keys(need.nodeLabels)) {
    const value = need.nodeLabels[key]!
    demands.push(demand('label', labelTerm(key, value), `${key}=${value}`))
  }
  return demands
}

/** Why a row that does not bear the term of a demand is rejected. */
export const rejection = (row: CandidateRow, { kind, wanted }: Demand, inFlight: number): string =>
  clip((words[kind] as Words)(row, wanted, inFlight), limits.decisionReasonLengthMax)

/** A text cut to a length, and marked where it was. */
export const clip = (text: string, lengthMax: number): string =>
  text.length <= lengthMax ? text : `${text.slice(0, lengthMax - 1)}…`

const isText = (value: unknown): boolean => typeof value === 'string'
const isTextOrAbsent = (value: unknown): boolean => value === undefined || typeof value === 'string'

/** The shape of a need, checked by hand: a decision is made in less time than a general check takes. */
export const isWellFormed = (need: unknown): need is Need => {
  if (typeof need !== 'object' || need === null) return false
  const { requestId, runtime, capabilities, gpu, gpuType, region, node, isolation, nodeLabels } = need as Partial<Need>
  if (!isText(requestId) || !isText(runtime) || typeof gpu !== 'boolean') return false
  if (!Array.isArray(capabilities) || !capabilities.every(isText)) return false
  if (!isTextOrAbsent(gpuType) || !isTextOrAbsent(region) || !isTextOrAbsent(node)) return false
  if (isolation !== undefined && isolation !== 'none' && isolation !== 'bwrap') return false
  if (typeof nodeLabels !== 'object' || nodeLabels === null || Array.isArray(nodeLabels)) return false
  return Object.values(nodeLabels).every(isText)
}
