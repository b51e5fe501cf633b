/** A whole node under attack by those with few rights: an observer, a guest of a federated realm, a pinned node. */
import fc from 'fast-check'
import { afterAll, afterEach, beforeAll, beforeEach, describe, expect, test, vi } from 'vitest'
import * as agentRows from '../../src/agents/methods.ts'
import { encode } from '../../src/base/codec.ts'
import { limits } from '../../src/base/limits.ts'
import { callFault } from '../../src/base/standing.ts'
import { topicOf } from '../../src/mesh/gossip.ts'
import * as meshRows from '../../src/mesh/methods.ts'
import { shareTopicOf } from '../../src/mesh/share.ts'
import type { Method } from '../../src/net/method.ts'
import type { Net } from '../../src/net/net.ts'
import * as recordRows from '../../src/ownership/methods.ts'
import { requestsOf, seed, storm, type Attacker } from '../support/attacks.ts'
import { forgeries } from '../support/forgeries.ts'
import { nearly, pack } from '../support/garbage.ts'
import { startMeshNode, type MeshNode } from '../support/mesh.ts'
import { gossipRpc, join, present, startRawPeer, type RawPeer } from '../support/raw-peer.ts'
import { startSiege, type Siege } from '../support/siege.ts'
import { waitFor } from '../support/wait.ts'

const nets = vi.hoisted(() => [] as Net[])
vi.mock(import('../../src/net/net.ts'), async (original) => {
  const room = await original()
  const startNet: typeof room.startNet = async (...given) => {
    const net = await room.startNet(...given)
    nets.push(net)
    return net
  }
  return { ...room, startNet }
})

const isRow = (value: unknown): value is Method =>
  typeof value === 'object' && value !== null && 'parseRequest' in value && 'access' in value
const methods = [meshRows, agentRows, recordRows].flatMap((rows) => (Object.values(rows) as unknown[]).filter(isRow))

let siege: Siege
let net: Net
let friend: MeshNode
let before: unknown
let secrets: string[]
const attackers: Record<string, Attacker> = {}
const faults: unknown[] = []
const onFault = (error: unknown) => void faults.push(error)

beforeAll(async () => {
  process.on('unhandledRejection', onFault)
  process.on('uncaughtExceptionMonitor', onFault)
  siege = await startSiege({ shareable: true, labels: { secret: 'fort-label' } })
  net = nets.find(({ peer }) => peer === siege.node.peerId)!
  friend = await startMeshNode({ name: 'friend', realm: 'plant', traits: { shareable: true, shareFraction: 1 } })
  const card = await friend.mesh.governance.card()
  await friend.mesh.governance.trust((await siege.api('GET', '/v1/realm/card')).body.card, { out: true })
  const grant = { scopes: ['capacity', 'exec', 'migrate'], agentsPerNode: 1 }
  await siege.api('POST', '/v1/realm/realms', { card })
  await siege.api('PUT', '/v1/realm/realms/plant/grant', grant)
  const isIn = () => [net, siege.honest.net].every((each) => each.standingOf(friend.net.peer) !== undefined)
  await waitFor('the friend is a guest of both nodes', isIn)
  const { id: agent } = (await siege.api('POST', '/v1/agents', {})).body

  const usedUp = await siege.invite(1, 'observer')
  const observer = await startRawPeer(siege.target)
  attackers['an observer'] = { raw: observer, shown: await join(observer, usedUp), agent, usedUp }
  const newcomer = await startRawPeer({ peer: friend.net.peer, address: friend.net.addresses()[0]! })
  const token = await friend.mesh.invite({ uses: 1, ttlMs: 60_000, role: 'member' })
  const guest = { shown: await join(newcomer, token), raw: await startRawPeer(siege.target, newcomer.key) }
  await newcomer.stop()
  attackers['a guest'] = { ...guest, agent, usedUp }
  const raw = await startRawPeer(siege.target)
  await siege.api('POST', '/v1/federation/peers', { peer: raw.peer, addresses: [], ...grant })
  const head = { realm: 'a'.repeat(64), version: 1, hash: 'b'.repeat(64), standalone: true }
  attackers['a pinned node'] = { raw, shown: { certificate: null, head }, agent, usedUp }

  const addresses = [siege.target.address, ...siege.honest.net.addresses()]
  secrets = ['fort-label', 'honest-label', ...addresses.map((address) => address.replace(/\/p2p\/.*$/, ''))]
  await observer.hangUp()
  before = await siege.shown()
})
afterAll(async () => {
  await Promise.all(Object.values(attackers).map(({ raw }) => raw.stop()))
  await friend.kill()
  await siege.stop()
})
beforeEach(() => void faults.splice(0))
afterEach(async () => {
  await Promise.all(Object.values(attackers).map(({ raw }) => raw.hangUp()))
  await siege.calm(net, [friend.net.peer])
  expect(await siege.shown()).toEqual(before)
  expect((await siege.api('GET', '/v1/health')).body.status).toBe('ok')
  expect(faults).toEqual([])
  expect((await siege.log()).filter((line) => line.level >= 50)).toEqual([])
})

describe.each(['an observer', 'a guest', 'a pinned node'])('%s', (who) => {
  let attacker: Attacker
  let heard: string
  beforeEach(async () => {
    attacker = attackers[who]!
    heard = ''
    await present(attacker.raw, attacker.shown)
    attacker.raw.tap = (body) => (heard += body.toString('latin1'))
  })
  afterEach(() => {
    attacker.raw.tap = undefined
  })
  const ask = (name: string, request: unknown) => {
    const stream = methods.find((method) => method.name === name)!.kind === 'stream'
    return attacker.raw.ask({ name, payload: encode(request), stream })
  }

  test('that calls every method with garbage is answered or refused with a typed error, and uses no row of others', async () => {
    const standing = net.standingOf(attacker.raw.peer)!
    const outcomes: string[] = []
    const table = await requestsOf(siege, net, attacker)
    const check = (outcome: Awaited<ReturnType<RawPeer['ask']>>, method: Method) => {
      expect(outcome.end).not.toBe('closed')
      if (outcome.end === 'error') expect(['INTERNAL', 'REMOTE_ERROR']).not.toContain(outcome.code)
      if (callFault(method, standing) !== undefined) outcomes.push(`${method.name} ${JSON.stringify(outcome)}`)
    }
    await storm({ raw: attacker.raw, table, methods }, check, 25)
    const others = outcomes.filter((outcome) => !outcome.endsWith('{"end":"error","code":"FORBIDDEN"}'))
    expect(others).toEqual([])
    expect(outcomes.length > 0).toBe(true)
    // A member may know them, so what is looked for is there to be found.
    for (const secret of secrets) expect([secret, heard.includes(secret)]).toEqual([secret, who === 'an observer'])
  })

  test('does nothing with agents of others, and learns of them only what it may', async () => {
    const { agent } = attacker
    const isGuest = who !== 'an observer'
    const refusal = { end: 'error', code: isGuest ? 'AGENT_NOT_FOUND' : 'FORBIDDEN' }
    const spec = { command: 'true' }
    expect(await ask('agent.exec', { agent, epoch: 1, spec })).toEqual(refusal)
    expect(await ask('agent.kill', { agent, purge: true })).toEqual(refusal)
    const shown = (await ask('agent.status', { agent })) as { value: { agent?: unknown } }
    expect(shown.value.agent === undefined).toBe(isGuest)
    const listed = (await ask('agent.list', { unanswered: [] })) as { value?: unknown }
    expect(listed.value === undefined).toBe(isGuest)
    expect((await siege.api('GET', `/v1/agents/${agent}`)).body.status).toBe('idle')
  })

  test('that gossips garbage and forgeries, on every topic, changes nothing', async () => {
    const here = siege.honest.mesh.realm().id
    const { raw, shown } = attacker
    const made = await forgeries({
      ...{ id: here, founder: siege.founder, forger: raw, stranger: raw, certificate: shown.certificate ?? '' },
      victim: siege.honest.net.peer,
      victimCertificate: siege.honest.mesh.view.self().ad.certificate,
    })
    const forged = Object.entries(made)
      .filter(([what]) => what !== 'with a stolen certificate' && what !== 'an accusation by a stranger')
      .map(([, word]) => word)
    const last = { kind: 'ad', envelope: siege.lastWordOfGuest }
    const garbage = fc.sample(fc.oneof(fc.uint8Array({ maxLength: 5_000 }), nearly(last).map(pack)), {
      numRuns: 300,
      ...seed,
    })
    const messages = [...forged.flatMap((word) => [encode(word), word.envelope]), ...garbage, encode(last)]
    const stream = await raw.open('/meshsub/1.2.0')
    const topics = [topicOf(here), shareTopicOf(here), shareTopicOf(friend.mesh.realm().id), 'other']
    for (const topic of topics) if (!stream.send(gossipRpc(topic, messages))) await stream.onDrain()
    // What it calls for next is answered after what it said was read.
    await waitFor('its gossip was read', async () => (await ask('node.shown', {})).end !== 'closed')
    expect(await siege.honest.net.rpc.call(net.peer, meshRows.nodeHeartbeat, {})).toBeDefined()
  })
})

test('an observer that has others probed is held to a rate, and to those that are known', async () => {
  const { raw, shown } = attackers['an observer']!
  await present(raw, shown)
  const probe = (peer: string) => raw.ask({ name: 'node.probe', payload: encode({ peer }) })
  const outcomes = await Promise.all(Array.from({ length: 300 }, () => probe(siege.honest.net.peer)))
  const refused = outcomes.filter((outcome) => outcome.end === 'error')
  expect(new Set(refused.map((outcome) => outcome.code))).toEqual(new Set(['RATE_LIMITED']))
  expect(refused.length).toBeGreaterThan(300 - 3 * limits.probesForOthersPerSecond)
  const unknown = await waitFor('the rate lets it ask', async () => {
    const outcome = await probe(attackers['a guest']!.raw.peer)
    return outcome.end === 'error' && outcome.code !== 'RATE_LIMITED' && outcome.code
  })
  expect(unknown).toBe('NOT_FOUND')
})

test('a guest that announces news without end keeps nobody from hearing that its realm has put it out', async () => {
  const { raw, shown } = attackers['a guest']!
  await present(raw, shown)
  const told = Array.from({ length: 500 }, (_, n) => {
    const head = { realm: shown.head.realm, version: 200, hash: `${n}`.padStart(64, 'f') }
    return raw.ask({ name: 'realm.news', payload: encode({ head }) })
  })
  await waitFor('it is asked for what it announced', () => raw.asked.includes('realm.document'))
  await friend.mesh.governance.revoke(raw.peer)
  await waitFor('it is out', () => net.standingOf(raw.peer) === undefined, { withinMs: 2_000 })
  await Promise.all(told)
  expect(
    await present(raw, shown).then(
      () => 'let in',
      () => 'refused',
    ),
  ).toBe('refused')
})
