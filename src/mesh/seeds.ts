/**
 * The node's own reconnect loop, because libp2p gives up after five tries: peers of the view, remembered ones, and the seeds
 * of token, command line and realm document are dialled until they answer. Up to limits.rememberedPeersMax peers are kept in
 * the store with their addresses, so that a node that starts again finds its realm.
 */
import { Type } from 'typebox'
import { every, type Clock } from '../base/clock.ts'
import { decode, encode } from '../base/codec.ts'
import { GodelError, reasonOf } from '../base/errors.ts'
import { peerIdPattern } from '../base/ids.ts'
import type { Limits } from '../base/limits.ts'
import type { Log } from '../base/log.ts'
import { Count, parser } from '../base/schema.ts'
import type { Seed } from '../identity/realm-document.ts'
import type { Net } from '../net/net.ts'
import type { Store, Write } from '../store/store.ts'
import { retryDelayMs, wantedPeers, type DialAttempt } from './dial-plan.ts'
import type { MeshView } from './view.ts'

const SPACE = 'peers'
const hintedAddressesMax = 4
const parseRemembered = parser(
  'a remembered peer',
  Type.Object({ addresses: Type.Array(Type.String({ maxLength: 255 }), { maxItems: 16 }), seenAtMs: Count() }),
)
interface Remembered {
  addresses: string[]
  seenAtMs: number
}

export interface AddressBook {
  addressesOf(peer: string): string[]
  /** Peers that the store remembers and those that were given. */
  seeds(): string[]
  /** Somebody on the LAN says that the peer is there: tried as its last address. */
  hint(peer: string, addresses: readonly string[]): void
  /** Keeps the addresses of peers that are connected now; the ones not seen for longest give way. */
  remember(peers: readonly string[]): Promise<void>
}

/** INVALID_ARGUMENT for a multiaddr without its /p2p part. */
export const seedOf = (multiaddr: string): Seed => {
  const match = /^(\/.+)\/p2p\/([^/]+)$/.exec(multiaddr)
  if (!match || !new RegExp(peerIdPattern).test(match[2]!))
    throw new GodelError({
      code: 'INVALID_ARGUMENT',
      field: 'bootstrap',
      reason: `${multiaddr} does not end in /p2p/PEER`,
    })
  return { peer: match[2]!, addresses: [match[1]!] }
}

export const openAddressBook = (
  deps: {
    net: Pick<Net, 'peer' | 'remoteAddresses'>
    view: MeshView
    store: Store
    clock: Clock
    log: Log
    limits: Limits
  },
  given: () => readonly Seed[],
): AddressBook => {
  const { net, view, store, clock, log, limits } = deps
  const remembered = new Map<string, Remembered>()
  const hints = new Map<string, readonly string[]>()
  for (const [peer, bytes] of store.scan(SPACE)) {
    try {
      remembered.set(peer, parseRemembered(decode(bytes, 'a remembered peer')))
    } catch (error) {
      log.warn('a remembered peer could not be read', { peer, error: reasonOf(error) })
    }
  }

  const addressesOf = (peer: string): string[] => {
    const all = new Set([
      ...(view.record(peer)?.ad.addresses ?? []),
      ...net.remoteAddresses(peer),
      ...given()
        .filter((seed) => seed.peer === peer)
        .flatMap((seed) => seed.addresses),
      ...(remembered.get(peer)?.addresses ?? []),
    ])
    const known = [...all].slice(0, limits.addressesPerPeerMax - hintedAddressesMax)
    return [...new Set([...known, ...(hints.get(peer) ?? [])])]
  }

  return {
    addressesOf,
    seeds: () => [...new Set([...given().map((seed) => seed.peer), ...remembered.keys()])],
    hint(peer, addresses) {
      hints.delete(peer)
      hints.set(peer, addresses.slice(0, hintedAddressesMax))
      if (hints.size > limits.hintsMax) hints.delete(hints.keys().next().value!)
    },
    async remember(peers) {
      const seenAtMs = clock.wallMs()
      for (const peer of peers) remembered.set(peer, { addresses: addressesOf(peer), seenAtMs })
      const bySight = [...remembered].toSorted(([, a], [, b]) => b.seenAtMs - a.seenAtMs)
      const gone = bySight.slice(limits.rememberedPeersMax).map(([peer]) => peer)
      for (const peer of gone) remembered.delete(peer)
      const kept = peers.filter((peer) => remembered.has(peer))
      const writes: Write[] = [
        ...kept.map((peer) => ({ space: SPACE, key: peer, value: encode(remembered.get(peer)) })),
        ...gone.map((peer) => ({ space: SPACE, key: peer, value: null })),
      ]
      if (writes.length > 0) await store.commit(writes)
    },
  }
}

export interface Seeds {
  /** A peer has been admitted: its addresses are worth keeping, and the next failure is its first. */
  admitted(peer: string): void
  /**
   * Heard on the LAN. Only who is known by PeerId is dialled for it: whoever is dialled is shown this node's certificate, and
   * strangers on a LAN are not to learn the realm.
   */
  hinted(peer: string, addresses: readonly string[]): void
  close(): void
}

interface SeedsDeps {
  net: Pick<Net, 'peer' | 'connected' | 'isAdmitted'>
  view: MeshView
  book: AddressBook
  connect: (peer: string) => Promise<void>
  watched: () => string[]
  clock: Clock
  log: Log
  limits: Limits
  random: () => number
}

export const startSeeds = (deps: SeedsDeps): Seeds => {
  const { net, view, book, watched, clock, log, limits, random } = deps
  const attempts = new Map<string, DialAttempt>()
  const dialling = new Set<string>()
  const fresh = new Set<string>()
  const hintedAtMs = new Map<string, number>()
  let rememberAtMs = clock.monotonicMs() + limits.seedIntervalMs

  const dial = async (peer: string): Promise<void> => {
    dialling.add(peer)
    try {
      await deps.connect(peer)
      attempts.delete(peer)
    } catch (error) {
      const failures = (attempts.get(peer)?.failures ?? 0) + 1
      attempts.set(peer, { failures, notBeforeMs: clock.monotonicMs() + retryDelayMs(failures, random(), limits) })
      log.debug('a peer could not be connected to', { peer, failures, error: reasonOf(error) })
    } finally {
      dialling.delete(peer)
    }
  }

  /** Two that learn of each other would dial at once: the one with the higher PeerId lets the other go first. */
  const firstTry = (peer: string, isIsolated: boolean, nowMs: number): DialAttempt => {
    const patience = isIsolated || net.peer < peer ? 0 : 2 * limits.seedTickMs
    return { failures: 0, notBeforeMs: nowMs + patience }
  }

  const remember = async (nowMs: number): Promise<void> => {
    const all = nowMs >= rememberAtMs
    const peers = [...(all ? net.connected() : fresh)].filter((peer) => net.isAdmitted(peer))
    fresh.clear()
    if (all) rememberAtMs = nowMs + limits.seedIntervalMs
    if (peers.length > 0) await book.remember(peers.slice(0, limits.rememberedPeersMax))
  }

  const round = async (): Promise<void> => {
    const nowMs = clock.monotonicMs()
    const connected = new Set(net.connected().filter((peer) => net.isAdmitted(peer)))
    const { stateOf, states } = view
    const someone = () => view.someone(random())
    const ties = { watched: watched(), seeds: book.seeds(), connected }
    const input = { self: net.peer, up: view.size() - 1, stateOf, known: states, someone, ...ties }
    const wanted = new Set(wantedPeers(input, limits))
    for (const peer of attempts.keys()) if (!wanted.has(peer)) attempts.delete(peer)
    for (const peer of wanted) {
      const attempt = attempts.get(peer) ?? firstTry(peer, connected.size === 0, nowMs)
      attempts.set(peer, attempt)
      if (dialling.size >= limits.seedDialsAtOnce) break
      if (!dialling.has(peer) && attempt.notBeforeMs <= nowMs) void dial(peer)
    }
    await remember(nowMs)
  }

  const failed = (error: unknown) => log.warn('looking for peers failed', { error: reasonOf(error) })
  round().catch(failed)
  const loop = every(clock, () => limits.seedTickMs, round, failed)
  return {
    admitted(peer) {
      attempts.delete(peer)
      fresh.add(peer)
    },
    hinted(peer, addresses) {
      const isKnown = (view.record(peer) && view.record(peer)?.ad.left !== true) || book.seeds().includes(peer)
      if (!isKnown || peer === net.peer) return
      book.hint(peer, addresses)
      const nowMs = clock.monotonicMs()
      if (nowMs - (hintedAtMs.get(peer) ?? Number.NEGATIVE_INFINITY) < limits.hintRetryMs) return
      hintedAtMs.set(peer, nowMs)
      if (hintedAtMs.size > limits.hintsMax) hintedAtMs.delete(hintedAtMs.keys().next().value!)
      attempts.delete(peer)
    },
    close: () => loop.stop(),
  }
}
