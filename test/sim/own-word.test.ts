/** Whatever others say, pass on, alter or replay: what a peer says of itself is what it said. */
import fc from 'fast-check'
import { expect, test } from 'vitest'
import { decode, encode } from '../../src/base/codec.ts'
import { ACCUSATION_DOMAIN, AD_DOMAIN, encodeAccusation } from '../../src/mesh/accept.ts'
import { topicOf } from '../../src/mesh/gossip.ts'
import { viewPush } from '../../src/mesh/methods.ts'
import { createWorld, type SimNode, type World } from './world.ts'

const attack = fc.record({
  from: fc.integer({ min: 1, max: 5 }),
  kind: fc.constantFrom('posed', 'altered', 'replayed', 'accused', 'ahead', 'left' as const),
  way: fc.constantFrom('gossip', 'push' as const),
  at: fc.nat(5_000),
  waitMs: fc.nat(3_000),
})
type Attack = typeof attack extends fc.Arbitrary<infer T> ? T : never

/** What the attacker sends: an envelope that speaks of the victim, and whether it is an accusation. */
const forge = async (world: World, victim: SimNode, { from, kind, at }: Attack, heard: readonly Uint8Array[]) => {
  const attacker = world.nodes[from]!
  const record = attacker.live!.view.record(victim.peer)!
  const { payload } = await attacker.live!.net.open(AD_DOMAIN, record.envelope)
  const ad = decode(payload, 'an advertisement') as Record<string, unknown>
  // With the attacker's own certificate, so that nothing but the author is amiss.
  const posing = { ...ad, certificate: world.realm.memberOf(from).certificate() }
  const sealed = (changed: object) => world.envelopes.seal(AD_DOMAIN, attacker.peer, encode({ ...posing, ...changed }))
  switch (kind) {
    case 'posed':
      return { kind: 'ad', envelope: sealed({ currentLoad: 0.42, sequence: record.ad.sequence + at }) }
    case 'ahead':
      return { kind: 'ad', envelope: sealed({ incarnation: record.ad.incarnation + 1 + at }) }
    case 'left':
      return { kind: 'ad', envelope: sealed({ left: true }) }
    case 'altered': {
      const envelope = Uint8Array.from(record.envelope)
      envelope[at % envelope.length]! ^= 1 + (at % 255)
      return { kind: 'ad', envelope }
    }
    case 'replayed':
      return { kind: 'ad', envelope: heard[at % heard.length]! }
    case 'accused': {
      const { certificate, realm } = world.realm.memberOf(from)
      const accusation = { subject: victim.peer, incarnation: record.ad.incarnation, certificate: certificate() }
      const bytes = encodeAccusation({ realm: realm().id, ...accusation })
      return { kind: 'accusation', envelope: world.envelopes.seal(ACCUSATION_DOMAIN, attacker.peer, bytes) }
    }
  }
}

const send = async (world: World, one: Attack, word: { kind: string; envelope: Uint8Array }): Promise<void> => {
  const { net } = world.nodes[one.from]!.live!
  if (one.way === 'gossip' || word.kind === 'accusation')
    return net.pubsub.publish(topicOf(world.realm.memberOf(0).realm().id), encode(word))
  const record = { envelope: word.envelope, ageMs: 0, accusations: [] }
  for (const peer of net.connected()) net.rpc.call(peer, viewPush, { records: [record] }).catch(() => {})
}

test('no sequence of messages by others changes what a peer says of itself', async () => {
  const property = fc.asyncProperty(
    fc.array(attack, { minLength: 1, maxLength: 12 }),
    fc.nat(),
    async (attacks, seed) => {
      const world = await createWorld({ nodes: 8, seed: String(seed) })
      const heard: Uint8Array[] = []
      world.onChange((_, { peer }) => {
        const envelope = world.nodes[1]!.live!.view.record(peer)?.envelope
        if (peer === victim.peer && envelope) heard.push(envelope)
      })
      const victim = world.nodes[7]!
      await world.begin(8)
      heard.push(world.nodes[1]!.live!.view.record(victim.peer)!.envelope)
      for (const one of attacks) {
        victim.capacity.currentLoad = (one.at % 10) / 10
        victim.live!.processor.submit(0.1, victim.live!.mesh.advertise)
        await send(world, one, await forge(world, victim, one, heard))
        await world.run(one.waitMs)
        for (const { live } of world.nodes) {
          const seen = live!.view.record(victim.peer)!
          const { peer, payload } = world.envelopes.open(AD_DOMAIN, seen.envelope)
          expect(peer).toBe(victim.peer)
          expect(decode(payload, 'an advertisement')).toEqual(JSON.parse(JSON.stringify(seen.ad)))
          expect(seen.ad.currentLoad).not.toBe(0.42)
        }
        expect(victim.live!.view.self().state).toBe('alive')
        expect(victim.live!.view.self().ad.currentLoad).toBe(victim.capacity.currentLoad)
      }
      // Whoever was accused has answered, and everybody has heard it.
      await world.run(10_000)
      const own = victim.live!.view.record(victim.peer)!.ad
      for (const { live } of world.nodes) {
        const { ad, state } = live!.view.get(victim.peer)!
        expect({ state, incarnation: ad.incarnation, sequence: ad.sequence }).toEqual({
          state: 'alive',
          incarnation: own.incarnation,
          sequence: own.sequence,
        })
      }
    },
  )
  await fc.assert(property, { numRuns: 25 })
})
