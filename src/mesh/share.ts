/**
 * The share topics: `/godel/1/share/REALM` carries what the nodes of a realm share, to its own nodes, which hand it to guests, and
 * to the nodes of realms that it grants the scope `capacity`. On the topic of another realm this node speaks with members and
 * with guests of that very realm, so that nothing goes on to a third one. Gossip may lose, so it is pulled as well.
 */
import { every, type Clock } from '../base/clock.ts'
import { GodelError, hasCode, reasonOf } from '../base/errors.ts'
import type { Limits } from '../base/limits.ts'
import type { Log } from '../base/log.ts'
import type { Refusals } from '../base/refusals.ts'
import type { GuestStanding, Standing } from '../base/standing.ts'
import { bind, type BoundMethod } from '../net/method.ts'
import type { Net, TopicHandler } from '../net/net.ts'
import type { Certificates } from './certificates.ts'
import type { Foreign } from './foreign.ts'
import type { Member } from './membership.ts'
import { shareDigests, sharePull, type ShareDigest, type ShareRecord } from './methods.ts'
import type { PeerRecord } from './records.ts'
import type { SharedSelf } from './shared-self.ts'
import type { Shelves } from './shelves.ts'
import type { View } from './view.ts'

export const shareTopicOf = (realm: string): string => `/godel/1/share/${realm}`

export interface Share {
  publish(envelope: Uint8Array): Promise<void>
  /** Takes part in the topics of exactly the realms that are named now. */
  follow(): void
  /** Takes in from a peer what it knows of the nodes of `realm`, its own. */
  pull(peer: string, realm: string): Promise<void>
  readonly methods: BoundMethod[]
  start(): void
  close(): void
}

interface ShareDeps {
  net: Pick<Net, 'peer' | 'rpc' | 'pubsub' | 'connected' | 'standingOf'>
  member: Pick<Member, 'realm'>
  view: Pick<View, 'get'>
  certificates: Certificates
  foreign: Foreign
  shelves: Shelves
  self: () => SharedSelf
  refusals: Refusals
  clock: Clock
  log: Log
  limits: Limits
  random: () => number
}

export const createShare = (deps: ShareDeps): Share => {
  const { net, member, foreign, shelves, refusals, clock, log, limits, random } = deps
  const ownTopic = shareTopicOf(member.realm().id)
  const following = new Map<string, () => void>()
  const offers = offersOf(deps)
  const call = { timeoutMs: limits.syncTimeoutMs }

  const judge =
    (realm: string): TopicHandler =>
    async (envelope, from) => {
      try {
        const outcome = await shelves.share(realm, { envelope, ageMs: 0 })
        return outcome === 'stale' ? 'ignore' : 'accept'
      } catch (error) {
        refusals.note('refused a message about what is shared', from, error)
        return hasCode(error, 'INVALID_MESSAGE', 'TOO_LARGE') ? 'reject' : 'ignore'
      }
    }

  const mayHear = (_: string, { by, realm, scopes }: GuestStanding): boolean =>
    by === 'realm' && scopes.includes('capacity') && foreign.named(realm!) !== undefined
  following.set(ownTopic, net.pubsub.subscribe(ownTopic, judge(member.realm().id), mayHear))

  const pull = async (peer: string, realm: string): Promise<void> => {
    const shelf = () => (realm === member.realm().id ? shelves.own : shelves.of(realm))
    const lacking: string[] = []
    for (let after: string | undefined; ;) {
      const page = await net.rpc.call(peer, shareDigests, after === undefined ? {} : { after }, call)
      for (const digest of page.digests)
        if (digest.peer !== net.peer && isNews(digest, shelf()?.record(digest.peer))) lacking.push(digest.peer)
      const last = page.digests.at(-1)?.peer
      const isStuck = last === undefined || (after !== undefined && last <= after)
      // A peer can claim more than any realm holds.
      if (!page.more || isStuck || lacking.length > limits.peersPerRealmMax) break
      after = last
    }
    while (lacking.length > 0) {
      const peers = lacking.slice(0, limits.sharePullEntriesMax)
      const { records, asked } = await net.rpc.call(peer, sharePull, { peers }, call)
      for (const record of records) {
        try {
          await shelves.share(realm, record)
        } catch (error) {
          refusals.note('refused what a node shares', peer, error)
        }
      }
      lacking.splice(0, Math.max(1, Math.min(asked, peers.length)))
    }
  }

  /** One node of each realm, the own included, at a time. */
  const round = async (): Promise<void> => {
    const byRealm = new Map<string, string[]>()
    for (const peer of net.connected()) {
      const standing = net.standingOf(peer)
      if (standing === undefined || (standing.kind === 'guest' && standing.by === 'pin')) continue
      const realm = standing.kind === 'member' ? member.realm().id : standing.realm!
      byRealm.set(realm, [...(byRealm.get(realm) ?? []), peer])
    }
    for (const [realm, peers] of byRealm) {
      const peer = peers[Math.floor(random() * peers.length)]!
      await pull(peer, realm).catch((error: unknown) =>
        log.debug('what is shared could not be pulled', { peer, realm, error: reasonOf(error) }),
      )
    }
  }
  let loop: { stop(): void } | undefined

  return {
    publish: (envelope) => net.pubsub.publish(ownTopic, envelope),
    follow() {
      const wanted = new Set([member.realm().id, ...foreign.all().map(({ id }) => id)])
      for (const [topic, stop] of following) {
        if ([...wanted].some((realm) => shareTopicOf(realm) === topic)) continue
        stop()
        following.delete(topic)
      }
      for (const realm of wanted) {
        const topic = shareTopicOf(realm)
        if (following.has(topic)) continue
        const isOfIt = (_: string, standing: GuestStanding) => standing.by === 'realm' && standing.realm === realm
        following.set(topic, net.pubsub.subscribe(topic, judge(realm), isOfIt))
      }
      for (const realm of shelves.realms()) if (!wanted.has(realm)) shelves.drop(realm)
    },
    pull,
    methods: [
      bind(shareDigests, ({ after }, { standing }) => {
        mustBeOfRealm(shareDigests.name, standing)
        const all = offers.all().filter(({ peer }) => after === undefined || peer > after)
        return { digests: all.slice(0, limits.syncDigestsPerPage), more: all.length > limits.syncDigestsPerPage }
      }),
      bind(sharePull, ({ peers }, { standing }) => {
        mustBeOfRealm(sharePull.name, standing)
        return offers.page(peers)
      }),
    ],
    start() {
      const failed = (error: unknown) => log.warn('pulling what is shared failed', { error: reasonOf(error) })
      loop = every(clock, () => limits.syncIntervalMs * (1 - limits.seedJitter * random()), round, failed)
    },
    close() {
      loop?.stop()
      for (const stop of following.values()) stop()
      following.clear()
    },
  }
}

const isNews = (theirs: ShareDigest, mine: PeerRecord | undefined): boolean =>
  mine === undefined ||
  theirs.incarnation > mine.ad.incarnation ||
  (theirs.incarnation === mine.ad.incarnation &&
    Number(theirs.left) - Number(mine.ad.left) >= 0 &&
    (theirs.left !== mine.ad.left || theirs.sequence > mine.ad.sequence))

/** A pin is one operator's word: what the other nodes of the realm share is for realms that the realm has named. */
const mustBeOfRealm = (action: string, standing: Standing | undefined): void => {
  if (standing?.kind === 'guest' && standing.by === 'pin')
    throw new GodelError({ code: 'FORBIDDEN', action, reason: 'it is for nodes of realms, and the caller is pinned' })
}

/** What this node hands on: its own word and those of members that are shareable and still members. */
const offersOf = ({ net, view, certificates, shelves, self, clock, limits }: ShareDeps) => {
  const records = (): PeerRecord[] =>
    shelves.own.records().filter(({ peer, ad }) => {
      const state = view.get(peer)?.state
      return ad.shareable && certificates.peek(ad.certificate) !== undefined && (ad.left || state !== 'down')
    })
  return {
    all(): ShareDigest[] {
      const mine = self().last()?.ad
      return [...records().map(({ ad }) => ad), ...(mine ? [mine] : [])]
        .map(({ peer, incarnation, sequence, left }) => ({ peer, incarnation, sequence, left }))
        .toSorted((a, b) => (a.peer < b.peer ? -1 : 1))
    },
    page(peers: readonly string[]): { records: ShareRecord[]; asked: number } {
      const byPeer = new Map(records().map((record) => [record.peer, record]))
      const page: ShareRecord[] = []
      let bytes = 0
      let asked = 0
      for (const peer of peers) {
        const record = byPeer.get(peer)
        const given =
          peer === net.peer
            ? self().last()
            : record && { ...record, ageMs: Math.max(0, Math.round(clock.monotonicMs() - record.issuedAtMs)) }
        bytes += given?.envelope.byteLength ?? 0
        if (bytes > limits.sharePullBytesMax) break
        if (given) page.push({ envelope: given.envelope, ageMs: given.ageMs })
        asked++
      }
      return { records: page, asked }
    },
  }
}
