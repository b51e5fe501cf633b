/**
 * Room mesh: who is in the realm, how each of them is, and who may speak here. The only writer of the view.
 *
 * mesh.ts            this map, the `Mesh` port and `startMesh`; parts.ts builds what runs and ties it together
 * membership.ts      this node's realm and certificate: taken up, founded, or had by join.ts; issuing.ts is the other side
 * trust.ts           admission of each connection (`realm.present`); certificates.ts keeps what was verified
 * view.ts            the replicated view; records.ts is its merge and what a record means; digest.ts compares two views; entries.ts keeps it small, due.ts says when, tombstones.ts who gives way, verdict.ts why a peer is not alive
 * accept.ts          the one way into the view, accusers.ts whose accusations count; gossip.ts, sync.ts with pages.ts, and serving.ts over methods.ts feed it
 * advertiser.ts      what this node says of itself, when (advertise-rate.ts), under which number (incarnation.ts)
 * liveness.ts        the failure detector as a step function; watch.ts performs it by probe.ts, ring.ts says who watches whom; probe-serving.ts evidence.ts presence.ts failover.ts
 * seeds.ts           finds peers again for ever; dial-plan.ts decides whom; reachability.ts who relays for it; member-rpc.ts calls members; upkeep.ts renews certificates
 * governance.ts      what operators change: documents by amendments.ts, who is out by revocations.ts; notes.ts what they should hear
 * expulsion.ts       what follows when somebody is put out; realm-news.ts how gossip brings it, head-patience.ts what a peer may have fetched; double.ts a copy of this node
 * outside.ts         what is outside the realm: foreign.ts guests.ts pins.ts guest-seeds.ts who that is; share.ts shared-self.ts share-ad.ts
 *                    public-address.ts shelves.ts guest-view.ts what is told and heard; foreign-governance.ts what operators say of it
 */
import type { Capacity, NodeTraits } from '../base/advertisement.ts'
import type { Audit } from '../base/audit.ts'
import type { Clock } from '../base/clock.ts'
import { GodelError, reasonOf } from '../base/errors.ts'
import type { Limits } from '../base/limits.ts'
import type { Log } from '../base/log.ts'
import type { Meter } from '../base/meter.ts'
import type { Membership } from '../identity/certificate.ts'
import { readJoinToken, type JoinToken } from '../identity/join-token.ts'
import type { NodeKey } from '../identity/node-key.ts'
import type { Realm, RealmDocument, Seed } from '../identity/realm-document.ts'
import type { RootKeys } from '../identity/root-keys.ts'
import type { Role, Standing } from '../base/standing.ts'
import type { Net } from '../net/net.ts'
import type { Store } from '../store/store.ts'
import { openFailover, type Failover } from './failover.ts'
import type { Amendments } from './amendments.ts'
import type { Governance } from './governance.ts'
import type { GuestView } from './guest-view.ts'
import { openIncarnation } from './incarnation.ts'
import { redeemToken } from './join.ts'
import { createMemberRpc, type MemberRpc } from './member-rpc.ts'
import { openMember } from './membership.ts'
import { nodeHeartbeat, nodeLeft } from './methods.ts'
import { notesOf } from './notes.ts'
import { addressesOf, startParts, type Parts } from './parts.ts'
import type { Pins } from './pins.ts'
import { seedOf, type AddressBook } from './seeds.ts'
import { createView, type View } from './view.ts'
import type { DetectorHealth, LinkReport } from './watch.ts'

export interface MeshDeps {
  readonly net: Net
  readonly key: NodeKey
  readonly store: Store
  readonly clock: Clock
  readonly log: Log
  readonly meter: Meter
  readonly limits: Limits
  /** Where refusals are put down; nowhere unless told. */
  readonly audit?: Audit | undefined
  /** What the node can take at this moment. Read often; must be cheap. */
  readonly capacity: () => Capacity
  readonly traits: NodeTraits
  /** Loads the root key of a realm that is founded here, or makes it. */
  readonly rootKey: () => Promise<NodeKey>
  /** The root key where it is kept; without, this node changes no realm document. */
  readonly roots?: RootKeys
  /** Told once when this node can go on no longer: DUPLICATE_IDENTITY. */
  readonly onFailed?: (error: GodelError) => void
  /** From 0 up to 1, for jitter and choices; Math.random unless told. */
  readonly random?: () => number
}

export interface MeshOptions {
  /** The name of the realm; undefined takes the one that the store or the token names. */
  readonly realm?: string | undefined
  /** A join token. */
  readonly join?: string | undefined
  /** Multiaddrs that end in /p2p/PEER. */
  readonly bootstrap: readonly string[]
  /** Multiaddrs that others are told of this node, beside those that it knows of itself; outside the realm too. */
  readonly announce?: readonly string[] | undefined
}

export interface Invitation {
  uses: number
  ttlMs: number
  role: Role
}

export interface Mesh {
  readonly view: View
  /** The realm; of a node in none, a private one that is shown to nobody (`isStandalone`). */
  realm(): Realm
  isStandalone(): boolean
  /** This node's own membership. */
  membership(): Membership
  /** The capacity has changed: it is read again and told at once, within the rate. */
  advertise(): void
  /** The role of a member, which is admitted or known from its advertisement; undefined for strangers. */
  roleOf(peer: string): Role | undefined
  /** Who a peer is here: a member, connected or known by its advertisement, or a guest that is connected. */
  standingOf(peer: string): Standing | undefined
  /** The nodes outside the realm that show themselves. */
  readonly guests: GuestView
  readonly pins: Pins
  /** A join token. FORBIDDEN, with who can instead, when this node is no issuer for the role; INVALID_ARGUMENT. */
  invite(invitation: Invitation): Promise<string>
  /** Takes in an advertisement that came with an answer; INVALID_MESSAGE, CERTIFICATE_INVALID when it does not hold. */
  acceptAd(envelope: Uint8Array, ageMs: number): Promise<void>
  /** This node's present advertisement, sealed. */
  ownAd(): Promise<Uint8Array>
  /** Asks a peer for its present advertisement and takes it in; PEER_UNREACHABLE and what a call can throw. */
  refresh(peer: string, signal?: AbortSignal): Promise<void>
  /** Calls to members, connected first; one that is down is PEER_UNREACHABLE at once. */
  readonly rpc: MemberRpc
  readonly detector: Detector
  readonly governance: Governance
  /** Changes of the realm document, for those who add to what governance does. */
  readonly amendments: Amendments
  /** A peer has been put out: nothing that it holds here counts any more. */
  onRevoked(fn: (peer: string) => void): () => void
  /** What an operator should hear: sentences, none where all is well. */
  notes(): string[]
  addressesOf(peer: string): string[]
  /** Dials and admits unless admitted; PEER_UNREACHABLE, NOT_A_MEMBER, CERTIFICATE_INVALID, CANCELLED. */
  connect(peer: string, signal?: AbortSignal): Promise<void>
  /** Says good-bye, so that everybody takes this node out at once; bounded by limits.leaveTimeoutMs. */
  leave(): Promise<void>
  /** Stops everything that runs here, without a word. */
  close(): Promise<void>
}

export interface Detector extends Pick<Failover, 'configure' | 'report'> {
  /** How the way to a peer is; undefined unless this node watches it. */
  linkOf(peer: string): LinkReport | undefined
  health(): DetectorHealth
}

/**
 * Joins, founds or takes up a realm, and takes part in it from then on. REALM_MISMATCH, JOIN_REQUIRED, SEED_UNREACHABLE, the
 * codes of a token, CERTIFICATE_INVALID for a stored certificate that has run out, INVALID_ARGUMENT for traits or
 * options that cannot be used, STORE_FAILED.
 */
export const startMesh = async (given: MeshDeps, options: MeshOptions): Promise<Mesh> => {
  const log = given.log.child({ room: 'mesh' })
  const deps = { ...given, log, random: given.random ?? Math.random }
  const { net, key, store, clock, limits, rootKey } = deps
  const bootstrap = options.bootstrap.map(seedOf)
  const token = options.join === undefined ? undefined : await readJoinToken(options.join)
  const join = (wanted: JoinToken) => redeemToken({ net, clock, log, limits }, options.join!, wanted)
  const member = await openMember(
    { store, key, clock, log, limits, rootKey, join },
    { realm: options.realm, token, bootstrap: options.bootstrap },
  )
  const incarnation = await openIncarnation(store, Math.floor(deps.random() * limits.incarnationLeapMax))
  const running: { parts?: Parts } = {}
  const failover = openFailover({
    ...{ store, log, limits },
    realmSettings: () => member.realm().document.settings,
    async amend() {
      const amendments = running.parts?.amendments
      if (!amendments || !(await amendments.isRoot())) return undefined
      return async (name, value) => {
        const change = ({ settings }: RealmDocument) => ({ settings: { ...settings, [name]: value } })
        await amendments.amend('changing the settings of the realm', change)
      }
    },
  })
  const recoveryTimeMs = () => failover.settings().recoveryTimeMs
  const view = createView({ clock, limits, log }, { peer: key.peer, recoveryTimeMs })
  const seeds = () => [...(token?.seeds ?? []), ...bootstrap, ...member.realm().document.seeds]
  running.parts = await startParts({
    ...{ ...deps, member, incarnation, view, failover, seeds },
    announce: options.announce ?? [],
  })
  return facade(deps, running.parts, failover)
}

/** The port over the parts that run. */
export const facade = (deps: MeshDeps, parts: Parts, failover: Failover): Mesh => {
  const { net, key, clock, limits } = deps
  const { member, view, book, certificates, issuing, accept, advertiser, trust } = parts
  const { outside } = parts
  const roleOf = (peer: string): Role | undefined => {
    if (peer === key.peer) return member.membership().role
    const shown = trust.membershipOf(peer) ?? certificates.peek(view.record(peer)?.ad.certificate ?? '')
    return shown?.role
  }
  const roleIn = (certificate: string) => certificates.peek(certificate)?.role
  return {
    view,
    realm: member.realm,
    isStandalone: member.isStandalone,
    membership: member.membership,
    advertise() {
      advertiser.advertise()
      outside.advertise()
    },
    roleOf,
    standingOf(peer) {
      const role = roleOf(peer)
      return net.standingOf(peer) ?? (role && { kind: 'member', role })
    },
    guests: outside.view,
    pins: outside.pins,
    invite: async (invitation) => {
      if (member.isStandalone()) throw new GodelError({ code: 'REALM_REQUIRED', action: 'inviting' })
      return issuing.invite(invitation, seedsFor(net, view, book))
    },
    async acceptAd(envelope, ageMs) {
      await accept.ad(envelope, ageMs)
    },
    ownAd: advertiser.fresh,
    async refresh(peer, signal) {
      await trust.connect(peer, signal)
      const callOptions = { timeoutMs: limits.probeTimeoutMs, ...(signal && { signal }) }
      const { envelope, ageMs } = await net.rpc.call(peer, nodeHeartbeat, {}, callOptions)
      await accept.ad(envelope, ageMs, peer)
    },
    rpc: createMemberRpc({ net, view, connect: trust.connect, clock, limits }),
    detector: {
      configure: failover.configure,
      report: failover.report,
      linkOf: parts.watch.linkOf,
      health: parts.watch.health,
    },
    governance: parts.governance,
    amendments: parts.amendments,
    onRevoked: parts.expulsion.onRevoked,
    notes() {
      const admins = view.alive().flatMap(({ peer, ad }) => (roleIn(ad.certificate) === 'admin' ? [peer] : []))
      const [realm, membership, wallMs] = [member.realm(), member.membership(), clock.wallMs()]
      const refusedBy = trust.refusedBy()
      return notesOf({ realm, membership, wallMs, admins, refusedBy, renewalFailingSinceMs: parts.failingSinceMs() })
    },
    addressesOf: (peer) => addressesOf({ book, outside, limits }, peer),
    connect: trust.connect,
    async leave() {
      parts.stop()
      if (parts.double.isFound()) return // what it says would be taken for the other's last word
      try {
        await sayGoodBye(deps, parts)
      } catch (error) {
        parts.log.warn('the last word was not told', { error: reasonOf(error) })
      }
    },
    async close() {
      parts.stop()
      parts.close()
    },
  }
}

/** By gossip for everybody, and straight to those that are connected, since gossip may lose it. */
const sayGoodBye = async ({ net, limits }: MeshDeps, { book, advertiser, partners, outside }: Parts): Promise<void> => {
  await book.remember(partners())
  const outsideToo = outside.leave()
  const envelope = await advertiser.leave()
  const calls = partners().map((peer) =>
    net.rpc.call(peer, nodeLeft, { envelope }, { timeoutMs: limits.leaveTimeoutMs }),
  )
  await Promise.allSettled([...calls, outsideToo])
}

/** This node first, since it alone redeems its tokens, then others through which the realm can be found. */
const seedsFor = (net: Net, view: View, book: AddressBook): Seed[] => {
  const others = view.alive().filter((entry) => !entry.self && net.isConnected(entry.peer))
  return [
    { peer: net.peer, addresses: net.addresses().slice(0, 8) },
    ...others.map(({ peer }) => ({ peer, addresses: book.addressesOf(peer).slice(0, 8) })),
  ].filter((seed) => seed.addresses.length > 0)
}
