/** Builds the parts of the room in order and ties them together: what one hears, another acts on. */
import { encode } from '../base/codec.ts'
import { reasonOf, type GodelError } from '../base/errors.ts'
import type { Limits } from '../base/limits.ts'
import type { Log } from '../base/log.ts'
import { createRefusals, type Refusals } from '../base/refusals.ts'
import type { Seed } from '../identity/realm-document.ts'
import { ACCUSATION_DOMAIN, createAccept, encodeAccusation, type Accept } from './accept.ts'
import { startAdvertiser, type Advertiser } from './advertiser.ts'
import { createAmendments, type Amendments } from './amendments.ts'
import { createCertificates, type Certificates } from './certificates.ts'
import { createDouble, type Double } from './double.ts'
import { startExpulsion, type Expulsion } from './expulsion.ts'
import type { Failover } from './failover.ts'
import { startGossip, type Gossip } from './gossip.ts'
import { createGovernance, type Governance } from './governance.ts'
import type { Incarnation } from './incarnation.ts'
import { createIssuing, type Issuing } from './issuing.ts'
import type { Member } from './membership.ts'
import type { MeshDeps } from './mesh.ts'
import { startReachability } from './reachability.ts'
import { createRealmNews } from './realm-news.ts'
import { createForeignGovernance, noGovernance } from './foreign-governance.ts'
import { openOutside, type Outside } from './outside.ts'
import { openAddressBook, startSeeds, type AddressBook } from './seeds.ts'
import { meshMethods } from './serving.ts'
import { startSync, type Sync } from './sync.ts'
import { startTrust, type Trust } from './trust.ts'
import { startUpkeep } from './upkeep.ts'
import type { MeshView } from './view.ts'
import { createProbe } from './probe.ts'
import { probeForOthers } from './probe-serving.ts'
import { startWatch, type Accusing, type Watch } from './watch.ts'

interface PartsDeps extends MeshDeps {
  random: () => number
  member: Member
  incarnation: Incarnation
  view: MeshView
  failover: Failover
  /** Peers to find the realm by, from the token, the command line and the realm document. */
  seeds: () => readonly Seed[]
  /** Shared where many nodes live in one process; this node's own unless told. */
  certificates?: Certificates
  /** Addresses that the operator gives of this node. */
  announce: readonly string[]
}

/** The parts that judge and speak. */
interface Core {
  member: Member
  view: MeshView
  book: AddressBook
  certificates: Certificates
  refusals: Refusals
  issuing: Issuing
  accept: Accept
  advertiser: Advertiser
  gossip: Gossip
  trust: Trust
  expulsion: Expulsion
  double: Double
  amendments: Amendments
  governance: Governance
  outside: Outside
}

export interface Parts extends Core {
  log: Log
  /** Since when this node's certificate is not renewed though it is time, on the wall clock. */
  failingSinceMs(): number | undefined
  /** Members that are connected and admitted. */
  partners(): string[]
  watch: Pick<Watch, 'linkOf' | 'health'>
  /** Ends the loops; what can still be said can be said. */
  stop(): void
  close(): void
}

export const startParts = async (deps: PartsDeps): Promise<Parts> => {
  const running: { loops?: Loops } = {}
  const core: Core = await startCore(deps, {
    fetchOwn: async (peer) => running.loops?.pull(peer, [deps.key.peer]),
    onDouble(error) {
      // From here on nothing is said any more: the other would answer it.
      running.loops?.stop()
      core.advertiser.close()
      deps.onFailed?.(error)
    },
  })
  const loops = startLoops(deps, core)
  running.loops = loops
  const { gossip, advertiser, trust, expulsion, outside } = core
  return {
    ...core,
    ...loops,
    log: deps.log,
    close() {
      gossip.close()
      advertiser.close()
      trust.close()
      expulsion.close()
      outside.close()
    },
  }
}

/** What the loops do for the core. */
interface Back {
  /** Takes in what a peer holds of this node. */
  fetchOwn(peer: string): Promise<void>
  onDouble(error: GodelError): void
}

const startCore = async (deps: PartsDeps, back: Back): Promise<Core> => {
  const { net, key, store, clock, log, meter, limits, random, capacity, traits, member, incarnation, view } = deps
  const { realm, certificate } = member
  const refusals = createRefusals({ log, meter, limits, audit: deps.audit }, { metric: 'mesh_refusals_total' })
  const certificates = deps.certificates ?? createCertificates({ realm, clock, limits })
  const book = openAddressBook({ net, view, store, clock, log, limits }, deps.seeds)
  const issuing = createIssuing({ key, member, store, clock, log, refusals, limits })
  const accept = createAccept({
    net,
    realm,
    view,
    certificates,
    clock,
    limits,
    onSelfHeard: (heard) => advertiser.refute(heard),
    onDouble: (record) => double.heard(record),
    onMembership: (shown, membership) => trust.note(shown, membership),
  })
  const tell = (envelope: Uint8Array) => gossip.publish('ad', envelope)
  const saying = { view, incarnation, capacity, traits, realm: () => realm().id, certificate, gossip: tell }
  const advertiser: Advertiser = await startAdvertiser({
    ...{ clock, log, meter, limits, random, ...saying },
    net: { ...net, addresses: () => [...new Set([...deps.announce, ...net.addresses()])] },
  })
  const outside = await openOutside({ ...deps, realmView: view, certificates, refusals })
  const double = createDouble({
    ...{ self: key.peer, view, clock, log, limits, refute: advertiser.refute },
    fetch: back.fetchOwn,
    onFound: back.onDouble,
  })
  const trust: Trust = startTrust({
    net,
    member,
    certificates,
    clock,
    log,
    refusals,
    limits,
    addressesOf: (peer) => addressesOf({ book, outside, limits }, peer),
    guests: outside.guests,
    isOfRealm: (peer) => view.record(peer) !== undefined || book.seeds().includes(peer),
    ownAd: advertiser.sealed,
    onAd: (peer, ad) => void sponsor({ accept, gossip, view, refusals, limits }, peer, ad),
  })
  const news = createRealmNews({ member, clock, limits, learnFrom: trust.learnFrom })
  const gossip: Gossip = startGossip(
    { pubsub: net.pubsub, accept, news, refusals, clock, limits },
    { realm: realm().id },
  )
  const expulsion = startExpulsion({ self: key.peer, member, view, certificates, trust, log })
  const { roots } = deps
  const amendments = createAmendments({
    ...{ member, roots, clock, log },
    tell: () => gossip.publish('head', encode(member.head())),
  })
  const own = createGovernance({
    ...{ key, member, amendments, roots, view, clock, log, limits },
    tell: (jws) => gossip.publish('revocation', new TextEncoder().encode(jws)),
  })
  const { foreign, cardSeeds } = outside
  const peersOf = (id: string) => [...outside.view.entries()].filter((entry) => entry.realm === id).length
  const others = createForeignGovernance({ member, amendments, foreign, seeds: cardSeeds, peersOf, limits })
  const governance = member.isStandalone() ? noGovernance() : { ...own, ...others }
  const judges = { certificates, refusals, issuing, accept, trust, expulsion, double, outside }
  return { member, view, book, advertiser, gossip, amendments, governance, ...judges }
}

type Loops = Pick<Parts, 'partners' | 'watch' | 'stop' | 'failingSinceMs'> & Pick<Sync, 'pull'>

/** What goes on by itself: sync, watching, dialling, looking after certificates. */
const startLoops = (deps: PartsDeps, core: Core): Loops => {
  const { net, key, clock, log, meter, limits, random, failover } = deps
  const { member, view, book, refusals, issuing, accept, advertiser, gossip, trust, double } = core
  const { connect } = trust
  const { outside } = core
  const isMember = (peer: string) => net.standingOf(peer)?.kind === 'member'
  const partners = () => net.connected().filter(isMember)
  const realm = { head: member.head, onHead: trust.learnFrom }
  const sync = startSync({ net, view, accept, partners, refusals, clock, log, meter, limits, random, ...realm })

  /** Whoever is accused and can be spoken to is to hear of it, so that it can answer. */
  const tellAccused = (peer: string): void => {
    if (!isMember(peer) || (view.record(peer)?.accusations.length ?? 0) === 0) return
    sync
      .push(peer, [peer])
      .catch((error: unknown) => log.debug('an accused was not told', { peer, error: reasonOf(error) }))
  }
  const accuse = async ({ subject, incarnation, evidence, aloud }: Accusing): Promise<void> => {
    const payload = { realm: member.realm().id, subject, incarnation, certificate: member.certificate(), evidence }
    const envelope = await net.seal(ACCUSATION_DOMAIN, encodeAccusation(payload))
    if ((await accept.accusation(envelope, 0)) === 'news' && aloud) await gossip.publish('accusation', envelope)
  }
  const connectSettled = async (peer: string, signal?: AbortSignal) => {
    await connect(peer, signal)
    await trust.settled(peer)
  }
  const probe = createProbe({ net, view, accept, connect: connectSettled, onShown: double.shown, clock, log })
  const probing = { net, view, accept, probe, partners, accuse, onAnswered: tellAccused, settings: failover.settings }
  const watch = startWatch({ ...probing, random, clock, log, meter, limits })
  const forOthers = probeForOthers({ probe, view, self: net.peer, onAnswered: tellAccused, clock, limits })
  const onMoved = () =>
    void advertiser.publish().catch((error: unknown) => log.warn('a move was not told', { error: reasonOf(error) }))
  const reach = startReachability({ net, view, onMoved, clock, log, limits, random })
  net.rpc.register([
    ...[...sync.methods, ...reach.methods, ...meshMethods({ ...core, onHeard: tellAccused }), ...forOthers],
    ...outside.methods,
  ])
  const members = { peer: net.peer, connected: net.connected, isAdmitted: isMember }
  const seeds = startSeeds({ net: members, view, book, connect, watched: watch.watched, clock, log, limits, random })
  const upkeep = startUpkeep({ net, key, member, issuing, trust, advertiser, view, connect, clock, log, limits })
  const listening = [
    trust.onAdmitted((peer, direction) => {
      seeds.admitted(peer)
      sync.admitted(peer, direction)
      outside.memberAdmitted(peer, direction)
      if (direction === 'outbound') tellAccused(peer)
      else clock.after(limits.syncSettleMs, () => tellAccused(peer))
    }),
    net.onDisconnected(watch.disconnected),
    net.onHint(seeds.hinted),
    view.onChange(() => meter.gauge('mesh_peers_up', view.size())),
    view.onChange(({ peer, state }, previous) => {
      // Calls to a peer that is down are not left waiting on a connection that nothing comes over any more.
      if (state === 'down' && previous?.state !== 'down') void net.disconnect(peer).catch(() => {})
    }),
  ]
  advertiser.advertise()
  outside.start(connect)
  return {
    partners,
    watch,
    pull: sync.pull,
    failingSinceMs: upkeep.failingSinceMs,
    stop() {
      for (const part of [seeds, watch, sync, upkeep, reach]) part.close()
      outside.stop()
      for (const off of listening.splice(0)) off()
    },
  }
}

/** Where a peer may be found, a member or not. */
export const addressesOf = (
  { book, outside, limits }: { book: AddressBook; outside: Outside; limits: Pick<Limits, 'addressesPerPeerMax'> },
  peer: string,
): string[] =>
  [...new Set([...book.addressesOf(peer), ...outside.addressesOf(peer)])].slice(0, limits.addressesPerPeerMax)

/**
 * Takes in the advertisement that a peer brought along. A newcomer's own publication may come before anybody's gossip
 * reaches it, so the first that it meets say it once more; gossip drops the copies.
 */
const sponsor = async (
  deps: { accept: Accept; gossip: Gossip; view: MeshView; refusals: Refusals; limits: Pick<Limits, 'sponsorAgeMsMax'> },
  peer: string,
  { envelope, ageMs }: { envelope: Uint8Array; ageMs: number },
): Promise<void> => {
  const { accept, gossip, view, refusals, limits } = deps
  try {
    const before = view.record(peer)?.ad.incarnation
    const outcome = await accept.ad(envelope, ageMs, peer)
    const isNewcomer = outcome === 'news' && before !== view.record(peer)?.ad.incarnation
    if (isNewcomer && ageMs <= limits.sponsorAgeMsMax) await gossip.publish('ad', envelope)
  } catch (error) {
    refusals.note('refused an advertisement', peer, error)
  }
}
