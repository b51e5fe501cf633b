import fc from 'fast-check'
import { beforeAll, describe, expect, test } from 'vitest'
import type { Advertisement } from '../../../src/base/advertisement.ts'
import { encode } from '../../../src/base/codec.ts'
import { GodelError } from '../../../src/base/errors.ts'
import { limits } from '../../../src/base/limits.ts'
import { silentLog } from '../../../src/base/log.ts'
import { silentMeter } from '../../../src/base/meter.ts'
import type { Realm } from '../../../src/identity/realm-document.ts'
import { ACCUSATION_DOMAIN, AD_DOMAIN, createAccept, encodeAccusation } from '../../../src/mesh/accept.ts'
import { createCertificates } from '../../../src/mesh/certificates.ts'
import { judgeMessage } from '../../../src/mesh/gossip.ts'
import { takeInPage } from '../../../src/mesh/pages.ts'
import { createRefusals } from '../../../src/base/refusals.ts'
import { createView } from '../../../src/mesh/view.ts'
import { open } from '../../../src/net/envelope.ts'
import { createFakeClock } from '../../fakes/clock.ts'
import { adOf, certify, dayMs, keyOf, realmOf, recordOf, sealAccusation, sealAd, sealBy, wallMs } from './peers.ts'

const [founder, self, author, other, stranger] = ['founder', 'self', 'author', 'other', 'stranger'].map(keyOf) as [
  ReturnType<typeof keyOf>,
  ReturnType<typeof keyOf>,
  ReturnType<typeof keyOf>,
  ReturnType<typeof keyOf>,
  ReturnType<typeof keyOf>,
]
let realm: Realm
let foreign: Realm
let certificate: string
let otherCertificate: string

beforeAll(async () => {
  realm = await realmOf(founder)
  foreign = await realmOf(founder, 'elsewhere')
  certificate = await certify(founder, realm, author.peer)
  otherCertificate = await certify(founder, realm, other.peer)
})

const start = () => {
  const clock = createFakeClock({ wallMs })
  const view = createView({ clock, limits, log: silentLog }, { peer: self.peer })
  const own = recordOf(self.peer, { incarnation: 3, sequence: 4 }, { issuedAtMs: clock.monotonicMs() })
  view.setSelf(own, () => own.ad)
  const heardOfSelf: number[] = []
  const doubles: number[] = []
  const news = { revocation: async () => 'stale' as const, head: async () => 'stale' as const }
  let opened = 0
  const net = {
    peer: self.peer,
    open: (domain: string, envelope: Uint8Array) => {
      opened++
      return open(domain, envelope)
    },
  }
  const accept = createAccept({
    net,
    realm: () => realm,
    view,
    certificates: createCertificates({ realm: () => realm, clock, limits }),
    clock,
    limits,
    onSelfHeard: (incarnation) => heardOfSelf.push(incarnation),
    onMembership() {},
    onDouble: (record) => doubles.push(record.ad.incarnation),
  })
  const refusals = createRefusals({ log: silentLog, meter: silentMeter, limits }, { metric: 'refusals' })
  return { clock, view, accept, news, refusals, heardOfSelf, doubles, opened: () => opened }
}

const adBy = (key: typeof author, change: Partial<Advertisement> = {}) => adOf(key.peer, realm.id, certificate, change)

describe('what enters the view', () => {
  test('a member’s own sealed word, with the age that it has', async () => {
    const { accept, view } = start()
    expect(await accept.ad(await sealAd(author, adBy(author)), 700)).toBe('news')
    expect(view.get(author.peer)).toMatchObject({ state: 'alive', ageMs: 700 })
  })

  test('a word that is in the view already costs no second check of its signature', async () => {
    const { accept, opened } = start()
    const envelope = await sealAd(author, adBy(author))
    await accept.ad(envelope, 0)
    expect(await accept.ad(envelope, 0, author.peer)).toBe('known')
    expect(opened()).toBe(1)
  })

  test('a member’s accusation of another', async () => {
    const { accept, view } = start()
    await accept.ad(await sealAd(author, adBy(author)), 0)
    const words = { realm: realm.id, subject: author.peer, incarnation: 1, certificate: otherCertificate }
    expect(await accept.accusation(await sealAccusation(other, words), 0)).toBe('news')
    expect(view.get(author.peer)).toMatchObject({ state: 'suspect', verdict: { accusers: [other.peer] } })
  })
})

describe('what does not', () => {
  const refused: [string, () => Promise<Uint8Array>, string][] = [
    ['a word with a bit turned', async () => flip(await sealAd(author, adBy(author))), 'INVALID_MESSAGE'],
    ['a word in the name of another', () => sealAd(other, adBy(author)), 'INVALID_MESSAGE'],
    [
      'a word sealed for another purpose',
      () => sealBy(author, ACCUSATION_DOMAIN, encode(adBy(author))),
      'INVALID_MESSAGE',
    ],
    ['a word for another realm', () => sealAd(author, adBy(author, { realm: foreign.id })), 'REALM_MISMATCH'],
    [
      'a member of another realm',
      async () => sealAd(author, adBy(author, { certificate: await certify(founder, foreign, author.peer) })),
      'CERTIFICATE_INVALID',
    ],
    [
      'a certificate of another peer',
      () => sealAd(author, adBy(author, { certificate: otherCertificate })),
      'CERTIFICATE_INVALID',
    ],
    [
      'a certificate by nobody of the realm',
      async () => sealAd(author, adBy(author, { certificate: await certify(stranger, realm, author.peer) })),
      'CERTIFICATE_INVALID',
    ],
    ['a word without a certificate', () => sealAd(author, adBy(author, { certificate: '' })), 'CERTIFICATE_INVALID'],
    [
      'fields of a later version that break the bounds',
      () => sealAd(author, adBy(author, { currentLoad: 7 })),
      'INVALID_MESSAGE',
    ],
    ['a sequence beyond 2^40', () => sealAd(author, adBy(author, { sequence: 2 ** 53 })), 'INVALID_MESSAGE'],
    ['a list instead of a word', () => sealBy(author, AD_DOMAIN, encode([1, 2, 3])), 'INVALID_MESSAGE'],
    ['what is no msgpack', () => sealBy(author, AD_DOMAIN, new Uint8Array([0xc1])), 'INVALID_MESSAGE'],
    [
      'more than an advertisement may hold',
      () =>
        sealAd(author, adBy(author, { labels: Object.fromEntries(range(20).map((n) => [`k${n}`, 'x'.repeat(100)])) })),
      'TOO_LARGE',
    ],
  ]

  test.each(refused)('%s', async (_, make, code) => {
    const { accept, view } = start()
    await expect(accept.ad(await make(), 0)).rejects.toMatchObject({ code })
    expect([...view.entries()]).toHaveLength(1)
  })

  test('a certificate that has expired, even one that was good before', async () => {
    const { accept, clock } = start()
    await accept.ad(await sealAd(author, adBy(author)), 0)
    await clock.advance(dayMs)
    const later = await sealAd(author, adBy(author, { sequence: 2 }))
    await expect(accept.ad(later, 0)).rejects.toMatchObject({ code: 'CERTIFICATE_INVALID' })
  })

  test('an accusation by its own subject', async () => {
    const { accept } = start()
    const words = { realm: realm.id, subject: author.peer, incarnation: 1, certificate }
    await expect(accept.accusation(await sealAccusation(author, words), 0)).rejects.toMatchObject({
      code: 'INVALID_MESSAGE',
    })
  })

  test('an accusation by somebody without a certificate of his own', async () => {
    const { accept, view } = start()
    await accept.ad(await sealAd(author, adBy(author)), 0)
    const words = { realm: realm.id, subject: author.peer, incarnation: 1, certificate: otherCertificate }
    await expect(accept.accusation(await sealAccusation(stranger, words), 0)).rejects.toMatchObject({
      code: 'CERTIFICATE_INVALID',
    })
    expect(view.get(author.peer)?.state).toBe('alive')
  })
})

describe('a word about this node', () => {
  test('an older one is nothing; one that it has never said is a double’s', async () => {
    const { accept, heardOfSelf, doubles, view } = start()
    const mine = await certify(founder, realm, self.peer)
    const say = async (change: Partial<Advertisement>) =>
      accept.ad(await sealAd(self, adOf(self.peer, realm.id, mine, change)), 0)
    expect(await say({ incarnation: 3, sequence: 2 })).toBe('self')
    expect(doubles).toEqual([])
    await say({ incarnation: 8 })
    expect([heardOfSelf, doubles]).toEqual([[], [8]])
    expect(view.self().ad).toMatchObject({ incarnation: 3, sequence: 4 })
  })

  test('an accusation of its present incarnation is answered, one of another is not', async () => {
    const { accept, heardOfSelf } = start()
    for (const incarnation of [2, 3, 4]) {
      const words = { realm: realm.id, subject: self.peer, incarnation, certificate: otherCertificate }
      expect(await accept.accusation(await sealAccusation(other, words), 0)).toBe('self')
    }
    expect(heardOfSelf).toEqual([3])
  })
})

describe('garbage', () => {
  test('random bytes are refused with a code and change nothing', async () => {
    const { accept, view } = start()
    await fc.assert(
      fc.asyncProperty(fc.uint8Array({ maxLength: 4_000 }), async (bytes) => {
        for (const entry of [accept.ad, accept.accusation])
          await expect(entry(bytes, 0)).rejects.toBeInstanceOf(GodelError)
      }),
    )
    expect([...view.entries()]).toHaveLength(1)
  })

  test('random bytes by a member, properly sealed, are refused with a code', async () => {
    const { accept } = start()
    await fc.assert(
      fc.asyncProperty(fc.oneof(fc.uint8Array({ maxLength: 1_000 }), fc.object().map(encode)), async (payload) => {
        await expect(accept.ad(await sealBy(author, AD_DOMAIN, payload), 0)).rejects.toBeInstanceOf(GodelError)
      }),
    )
  })

  test('a gossip handler never throws and rejects what is malformed', async () => {
    const deps = start()
    await fc.assert(
      fc.asyncProperty(
        fc.uint8Array({ maxLength: 4_000 }),
        fc.constantFrom('ad', 'accusation', 'head', 'other'),
        async (bytes, kind) => {
          expect(await judgeMessage(deps, bytes, other.peer)).toBe('reject')
          expect(await judgeMessage(deps, encode({ kind, envelope: bytes }), other.peer)).toBe('reject')
        },
      ),
    )
  })

  test('a page with bad records gives the good ones all the same', async () => {
    const { accept, refusals, view } = start()
    const good = { envelope: await sealAd(author, adBy(author)), ageMs: 5, accusations: [] }
    const bad = { envelope: new Uint8Array([1, 2, 3]), ageMs: 0, accusations: [] }
    const half = { ...good, accusations: [{ envelope: new Uint8Array([9]), ageMs: 0 }] }
    expect(await takeInPage({ accept, refusals }, other.peer, [bad, good, half])).toBe(2)
    expect(view.get(author.peer)?.state).toBe('alive')
  })
})

describe('a liar', () => {
  test('that accuses each new incarnation counts a few times, and again after a while', async () => {
    const { accept, view, clock } = start()
    const lie = async (incarnation: number) => {
      await accept.ad(await sealAd(author, adBy(author, { incarnation })), 0)
      const words = { realm: realm.id, subject: author.peer, incarnation, certificate: otherCertificate }
      return accept.accusation(await sealAccusation(other, words), 0)
    }
    const outcomes: string[] = []
    for (let incarnation = 1; incarnation <= 10; incarnation++) outcomes.push(await lie(incarnation))
    expect(outcomes.filter((one) => one === 'news')).toHaveLength(limits.accusationRepeatBurst)
    expect(view.get(author.peer)?.state).toBe('alive')
    await clock.advance(limits.accusationRepeatMs)
    expect(await lie(11)).toBe('news')
  })

  test('is answered by this node once in a while, and at once where another accuses it as well', async () => {
    const { accept, view, clock, heardOfSelf } = start()
    const authorCertificate = certificate
    const heard = async (key: typeof author, incarnation: number, shown: string) => {
      const own = recordOf(self.peer, { incarnation }, { issuedAtMs: clock.monotonicMs() })
      view.setSelf(own, () => own.ad)
      const words = { realm: realm.id, subject: self.peer, incarnation, certificate: shown }
      await accept.accusation(await sealAccusation(key, words), 0)
    }
    for (let incarnation = 3; incarnation < 8; incarnation++) await heard(other, incarnation, otherCertificate)
    expect(heardOfSelf).toEqual([3])
    await heard(author, 7, authorCertificate)
    expect(heardOfSelf).toEqual([3, 7])
    await heard(other, 8, otherCertificate)
    await heard(author, 8, authorCertificate)
    expect(heardOfSelf).toEqual([3, 7, 8])
    await clock.advance(limits.refuteAgainMs)
    await heard(other, 9, otherCertificate)
    expect(heardOfSelf).toEqual([3, 7, 8, 9])
  })
})

describe('accusations that do not hold', () => {
  test('forged, old, foreign, of oneself or of nobody known: no sequence of them changes what is shown of a peer', async () => {
    const { accept, view } = start()
    await accept.ad(await sealAd(author, adBy(author, { incarnation: 5 })), 0, author.peer)
    const against = { realm: realm.id, subject: author.peer, incarnation: 5, certificate: otherCertificate }
    const good = await sealAccusation(other, against)
    const strange = await certify(founder, foreign, stranger.peer)
    const useless = [
      flip(good),
      good.slice(0, -1),
      await sealAccusation(other, { ...against, incarnation: 4 }),
      await sealAccusation(other, { ...against, incarnation: 6 }),
      await sealAccusation(other, { ...against, realm: foreign.id }),
      await sealAccusation(stranger, against), // with another's certificate
      await sealAccusation(stranger, { ...against, certificate: strange }),
      await sealAccusation(author, { ...against, certificate }), // against itself
      await sealAccusation(other, { ...against, subject: stranger.peer }),
      await sealBy(other, AD_DOMAIN, encodeAccusation(against)), // signed as something else
      await sealBy(other, ACCUSATION_DOMAIN, encode({ ...against, evidence: 'a feeling' })),
      encode(against), // not signed
    ]
    const before = view.get(author.peer)
    await fc.assert(
      fc.asyncProperty(
        fc.array(fc.constantFrom(...useless), { maxLength: 20 }),
        fc.nat({ max: 2 ** 40 }),
        async (list, ageMs) => {
          for (const envelope of list) await accept.accusation(envelope, ageMs).catch(() => 'refused')
          expect(view.get(author.peer)).toEqual(before)
        },
      ),
      { numRuns: 30 },
    )
    expect(await accept.accusation(good, 0)).toBe('news')
    expect(view.get(author.peer)?.state).toBe('suspect')
  })

  test('one that holds says what was met, and its age as told by others counts only so far', async () => {
    const { accept, view } = start()
    await accept.ad(await sealAd(author, adBy(author)), 0)
    const words = { realm: realm.id, subject: author.peer, incarnation: 1, certificate: otherCertificate }
    await accept.accusation(
      await sealBy(other, ACCUSATION_DOMAIN, encodeAccusation({ ...words, evidence: 'refused' })),
      2 ** 40,
    )
    expect(view.get(author.peer)?.verdict).toEqual({
      reason: 'accused',
      accusers: [other.peer],
      evidence: { [other.peer]: 'refused' },
      sinceMs: limits.accusationAgeMsMax,
    })
  })
})

const range = (count: number) => [...Array(count).keys()]

const flip = (envelope: Uint8Array): Uint8Array => {
  const copy = envelope.slice()
  copy[copy.length - 20]! ^= 1
  return copy
}
