/** Agents that run in another realm than their own: two realms over real nets, with the standings that their meshes would give. */
import { afterEach, describe, expect, test } from 'vitest'
import type { Agent } from '../../../src/base/agent.ts'
import { limits } from '../../../src/base/limits.ts'
import { agentExec, agentKill, agentList, agentReserve, agentSpawn, agentStatus } from '../../../src/agents/methods.ts'
import { outstayed } from '../../../src/agents/rights.ts'
import { recordHand } from '../../../src/ownership/methods.ts'
import { sealGrant, sealRecord } from '../../../src/ownership/records.ts'
import { inOneRealm, letIn, startAgentNode, type AgentNode } from '../../support/agent-node.ts'
import { agentWith, ID, specWith } from '../../support/agents.ts'
import { waitFor } from '../../support/wait.ts'

const HOME = 'a'.repeat(64)
const ABROAD = 'b'.repeat(64)
const shared = { shareable: true, shareFraction: 1 }

const open: AgentNode[] = []
const start = async (spec: Parameters<typeof startAgentNode>[0]): Promise<AgentNode> => {
  const node = await startAgentNode(spec)
  open.push(node)
  return node
}
afterEach(async () => void (await Promise.all(open.splice(0).map((node) => node.close()))))

/** `owner` and `second` of one realm, without slots of their own, and `host` of another, with a member `local`. */
const twoRealms = async (options: { grant?: Parameters<typeof letIn>[2]; host?: object; slots?: number } = {}) => {
  const [owner, second, host, local] = await Promise.all([
    start({ name: 'owner', realm: HOME, role: 'admin', slots: 0 }),
    start({ name: 'second', realm: HOME, slots: 0 }),
    start({
      name: 'host',
      realm: ABROAD,
      role: 'admin',
      traits: { ...shared, ...options.host },
      ...(options.slots && { slots: options.slots }),
    }),
    start({ name: 'local', realm: ABROAD, role: 'admin' }),
  ])
  await inOneRealm(owner, second)
  await inOneRealm(host, local)
  await letIn(host, owner, options.grant)
  await letIn(host, second, options.grant)
  return { owner, second, host, local }
}
const toHost = { requirements: { node: 'host' } }

const all = async <T>(items: AsyncIterable<T>): Promise<T[]> => {
  const got: T[] = []
  for await (const item of items) got.push(item)
  return got
}

const ran = async (node: AgentNode, agent: Agent): Promise<unknown> => {
  const { signal } = new AbortController()
  const events = await all(node.agents.exec(agent.id, { command: 'true' }, { signal }))
  return events.map(({ type }) => type).join(' ')
}

describe('an agent in another realm', () => {
  test('is taken where the own realm is full, and belongs to the realm that spawned it', async () => {
    const { owner, host } = await twoRealms()
    const agent = await owner.agents.spawn({})
    expect(agent).toMatchObject({ host: host.peer, owner: owner.peer, realm: HOME, status: 'idle', epoch: 1 })
    const [decision] = owner.agents.decisions.recent(1)
    expect(decision).toMatchObject({ pick: host.peer, level: 'cross-realm' })
    expect(decision!.considered.find(({ node }) => node === 'owner')!.rejected).toEqual(['full (0 of 0)'])
  })

  test('is found, listed, run in and killed from the realm that it belongs to', async () => {
    const { owner, second, host } = await twoRealms()
    const agent = await second.agents.spawn(toHost)
    for (const node of [owner, second]) {
      expect(await node.agents.get(agent.id)).toMatchObject({ id: agent.id, hostName: 'host', status: 'idle' })
      const { agents, unanswered } = await node.agents.list({})
      expect(agents).toMatchObject([{ id: agent.id, host: host.peer, status: 'idle' }])
      expect(unanswered).toEqual([])
      expect(await ran(node, agent)).toBe('started exit')
    }
    await owner.agents.kill(agent.id, { purge: false })
    await waitFor('its homes have its end', async () => {
      const record = await second.ownership.lookup(agent.id)
      return record?.agent.status === 'stopped'
    })
  })

  test('has its homes in its own realm, told by the host through the owner, and none in the realm of its host', async () => {
    const { owner, second, host, local } = await twoRealms()
    const agent = await owner.agents.spawn(toHost)
    for (const node of [owner, second])
      expect(node.ownership.orphans(new Set()).map(({ id }) => id)).toEqual([agent.id])
    for (const node of [host, local]) expect(node.ownership.orphans(new Set([host.peer]))).toEqual([])
  })

  test('is told of by another node of its realm where its owner cannot be reached', async () => {
    const { owner, second, host } = await twoRealms()
    const agent = await owner.agents.spawn(toHost)
    second.see(owner, 'down')
    await owner.close()
    await waitFor('the owner is gone', () => !host.net.isConnected(owner.peer))
    await host.host.kill(agent.id, { purge: false, reason: 'the test' })
    expect((await second.ownership.lookup(agent.id))?.agent).toMatchObject({ status: 'stopped', reason: 'the test' })
  })

  test('that ended while nobody of its realm could be reached is told of when one can', async () => {
    const { owner, second, host } = await twoRealms()
    const agent = await owner.agents.spawn(toHost)
    for (const node of [owner, second]) host.net.expel(node.peer)
    await waitFor('nobody is connected', () => ![owner, second].some((node) => node.net.isConnected(host.peer)))
    await host.host.kill(agent.id, { purge: false })
    await letIn(host, second)
    await host.host.publishAll()
    expect((await second.ownership.lookup(agent.id))?.agent.status).toBe('stopped')
  })

  test('of which a higher epoch is known at home is stopped by its host', async () => {
    const { owner, host } = await twoRealms()
    const agent = await owner.agents.spawn(toHost)
    const elsewhere = { ...agent, epoch: 2, host: owner.peer }
    const grant = await sealGrant(owner.net, agent.id, 2, owner.peer)
    await owner.ownership.publish({ agent: elsewhere, version: 0, mode: 'pinned' }, grant)
    await host.host.publishAll()
    expect(host.host.get(agent.id)).toMatchObject({ status: 'stopped', reason: 'superseded by epoch 2' })
  })

  test.each([
    ['is lost', 'is down', 'down', undefined, /host of realm bbbb is down/],
    // Its owner is up and may well see the host: nothing is said to be lost that only cannot be seen from here.
    ['is in-doubt', 'shows itself no longer', undefined, undefined, /not seen from here; ask on owner/],
    ['is lost', 'lets the realm in no longer', 'alive', [] as [], /lets this realm in no longer/],
  ] as const)('%s, with the reason, where its host %s', async (shown, _what, state, scopes, reason) => {
    const status = shown.slice('is '.length)
    const { owner, second, host } = await twoRealms()
    const agent = await owner.agents.spawn(toHost)
    const known = second.guests.get(host.peer)!
    if (scopes) await letIn(host, second, { scopes })
    else {
      host.net.expel(second.peer)
      await waitFor('it is cut off', () => !second.net.isConnected(host.peer))
    }
    if (state === undefined) second.guests.drop(host.peer)
    else second.guests.set({ ...known, state })
    expect(await second.agents.get(agent.id)).toMatchObject({ status, reason: expect.stringMatching(reason) })
    const { agents } = await second.agents.list({})
    expect(agents).toMatchObject([{ id: agent.id, status, reason: expect.stringMatching(reason) }])
  })

  test('whose host does not answer a list leaves the host named as unanswered', async () => {
    const { owner, host } = await twoRealms()
    const agent = await owner.agents.spawn(toHost)
    host.net.expel(owner.peer)
    await waitFor('it is cut off', () => !owner.net.isConnected(host.peer))
    const { agents, unanswered } = await owner.agents.list({})
    expect(unanswered).toMatchObject([{ peer: host.peer, node: 'host' }])
    expect(agents).toMatchObject([{ id: agent.id, status: 'idle', reason: expect.stringMatching(/does not answer/) }])
  })
})

describe('the realm of the host', () => {
  test('sees that a guest agent is there, and cannot use or kill it; its operator can stop it and no more', async () => {
    const { owner, host, local } = await twoRealms()
    const agent = await owner.agents.spawn({ ...toHost, labels: { secret: 'plan' }, model: 'm-1' })
    for (const node of [host, local]) {
      const { agents } = await node.agents.list({})
      expect(agents).toMatchObject([{ id: agent.id, status: 'idle', realm: HOME, labels: {} }])
      expect(agents[0]).not.toHaveProperty('model')
      await expect(ran(node, agent)).rejects.toMatchObject({ code: 'FORBIDDEN' })
    }
    await expect(local.agents.kill(agent.id, { purge: false })).rejects.toMatchObject({ code: 'FORBIDDEN' })
    expect(await host.agents.kill(agent.id, { purge: false })).toMatchObject({ status: 'stopped' })
    await waitFor('its owner knows', async () => (await owner.agents.get(agent.id)).status === 'stopped')
  })

  test('ends the agents of a realm whose grant it has withdrawn, with the reason, and keeps their files', async () => {
    const { owner, host } = await twoRealms()
    const agent = await owner.agents.spawn(toHost)
    const mine = await host.agents.spawn(toHost)
    const at = { here: ABROAD, self: host.peer }
    await host.host.endWhere((one) => outstayed(one, { revoked: new Set(), realms: [], grants: [], pins: [] }, at))
    expect(host.host.get(agent.id)).toMatchObject({ status: 'stopped', reason: expect.stringMatching(/withdrawn/) })
    expect(host.host.get(mine.id)).toMatchObject({ status: 'idle' })
    await host.host.sweep()
    expect(host.host.get(agent.id)).toBeDefined()
    expect(host.admission.capacity().running).toBe(1)
    expect(await owner.agents.get(agent.id)).toMatchObject({ status: 'stopped' })
  })

  test.each([
    ['that is not shareable', { host: { shareable: false } }, /UNFIT.*not shareable/],
    ['that runs nothing of others without a sandbox', { host: { acceptUnsandboxed: false } }, /UNFIT.*unsandboxed/],
    ['whose grant has no scope for it', { grant: { scopes: ['capacity' as const] } }, /FORBIDDEN.*exec/],
    ['whose grant is for no agents', { grant: { agentsPerNode: 0 } }, /QUOTA_EXCEEDED/],
    ['that shares none of its slots', { host: { shareFraction: 0.2 } }, /QUOTA_EXCEEDED.*other realms/],
  ])('refuses at a node %s, whatever its advertisement says', async (_what, options, words) => {
    const { owner, host } = await twoRealms(options)
    const known = owner.guests.get(host.peer)!
    owner.guests.set({ ...known, ad: { ...known.ad, shareable: true, acceptUnsandboxed: true } })
    const refusal = await owner.agents.spawn(toHost).then(
      () => undefined,
      (error) => error,
    )
    expect(refusal).toMatchObject({ code: 'NO_CANDIDATE' })
    const { considered } = refusal.detail
    expect(considered.find(({ node }: { node: string }) => node === 'host').reasons.join()).toMatch(words)
    expect(host.admission.capacity().running).toBe(0)
  })

  test('takes no more of a realm on one node than its grant says, and the next candidate is asked', async () => {
    const { owner, second, host } = await twoRealms({ grant: { agentsPerNode: 1 } })
    const spare = await start({ name: 'spare', realm: ABROAD, traits: shared })
    await letIn(spare, owner)
    await second.agents.spawn(toHost)
    owner.guests.set({ ...owner.guests.get(spare.peer)!, ad: { ...owner.guests.get(spare.peer)!.ad, running: 3 } })
    expect(await owner.agents.spawn({})).toMatchObject({ hostName: 'spare' })
    expect(owner.agents.decisions.recent(1)[0]!.attempts).toMatchObject([
      { peer: host.peer, outcome: 'refused', error: expect.stringMatching(/QUOTA_EXCEEDED/) },
      { peer: spare.peer, outcome: 'placed' },
    ])
  })

  test('gives a guest no advertisement that is for members', async () => {
    const { owner, host, local } = await twoRealms()
    const ask = (from: AgentNode) => {
      const spec = specWith({ owner: from.peer, realm: from.realm, id: ID })
      return from.net.rpc.call(host.peer, agentReserve, { spec, epoch: 1 })
    }
    expect((await ask(owner)).advertisement).toHaveLength(0)
    expect((await ask(local)).advertisement).toHaveLength(1)
  })
})

describe('a guest', () => {
  test('of a third realm neither sees an agent nor gets at it', async () => {
    const { owner, host } = await twoRealms()
    const third = await start({ name: 'third', realm: 'c'.repeat(64) })
    await letIn(host, third)
    const agent = await owner.agents.spawn(toHost)
    const mine = await host.agents.spawn(toHost)
    const { rpc } = third.net
    for (const { id, epoch } of [agent, mine]) {
      expect(await rpc.call(host.peer, agentStatus, { agent: id })).toEqual({})
      const kill = rpc.call(host.peer, agentKill, { agent: id, purge: true })
      await expect(kill).rejects.toMatchObject({ code: 'AGENT_NOT_FOUND' })
      const exec = rpc.stream(host.peer, agentExec, { agent: id, epoch, spec: { command: 'true' } })
      await expect(all(exec)).rejects.toMatchObject({ code: 'AGENT_NOT_FOUND' })
    }
    expect(await all(rpc.stream(host.peer, agentList, { unanswered: [host.peer] }))).toEqual([])
    expect(host.host.list()).toHaveLength(2)
  })

  test('hands over records of nothing but what runs on itself, for owners of the realm, by their grant', async () => {
    const { owner, second, host, local } = await twoRealms()
    const hand = async (
      from: AgentNode,
      fields: Partial<Agent> & { owner: string },
      granter: AgentNode,
      sender = from,
    ) => {
      const agent = agentWith({ host: from.peer, realm: HOME, ...fields })
      const grant = await sealGrant(granter.net, agent.id, 1, agent.host)
      const sealed = await sealRecord(from.net, { agent, version: 1, mode: 'pinned' }, grant)
      return sender.net.rpc.call(second.peer, recordHand, sealed)
    }
    const forbidden = { code: 'FORBIDDEN' }
    await expect(hand(host, { owner: owner.peer, host: local.peer }, owner)).rejects.toMatchObject(forbidden)
    // Nor what another has sealed.
    await expect(hand(host, { owner: owner.peer }, owner, owner)).rejects.toMatchObject(forbidden)
    await expect(hand(host, { owner: owner.peer }, host)).rejects.toMatchObject(forbidden)
    await expect(hand(host, { owner: host.peer }, host)).rejects.toMatchObject(forbidden)
    await expect(hand(host, { owner: owner.peer, realm: ABROAD }, owner)).rejects.toMatchObject(forbidden)
    expect(second.ownership.orphans(new Set())).toEqual([])
    expect(await hand(host, { owner: owner.peer }, owner)).toEqual({ homes: 2 })
  })

  test.each([
    ['the realm of the host', { realm: ABROAD }],
    ['a third realm', { realm: 'c'.repeat(64) }],
    ['another owner', { owner: 'second' as const }],
  ])('cannot spawn for %s', async (_what, fields) => {
    const { owner, second, host } = await twoRealms()
    const { owner: named, ...rest } = fields as { owner?: string; realm?: string }
    const spec = specWith({ realm: HOME, id: ID, ...rest, owner: named ? second.peer : owner.peer })
    const answer = await owner.net.rpc.call(host.peer, agentReserve, { spec, epoch: 1 })
    expect(answer).toMatchObject({ refusal: { code: 'FORBIDDEN' } })
    const grant = await sealGrant(owner.net, ID, 1, host.peer)
    const order = { spec, epoch: 1, grant, reservation: 'rs_none', staged: false }
    await expect(owner.net.rpc.call(host.peer, agentSpawn, order)).rejects.toMatchObject({ code: 'FORBIDDEN' })
  })

  test('that is pinned spawns on a node that is not shareable, and acts on its own agents alone', async () => {
    const { owner, second, host } = await twoRealms({ grant: { by: 'pin' }, host: { shareable: false } })
    const agent = await owner.agents.spawn({})
    expect(agent).toMatchObject({ host: host.peer, realm: HOME })
    expect(owner.agents.decisions.recent(1)[0]).toMatchObject({ level: 'unregistered' })
    expect(await ran(owner, agent)).toBe('started exit')
    expect(await second.net.rpc.call(host.peer, agentStatus, { agent: agent.id })).toEqual({})
    const kill = second.net.rpc.call(host.peer, agentKill, { agent: agent.id, purge: true })
    await expect(kill).rejects.toMatchObject({ code: 'AGENT_NOT_FOUND' })
  })

  test('that is a member at home does not get at agents of others of its realm, nor does an observer at anything', async () => {
    const { owner, second, host } = await twoRealms()
    const agent = await owner.agents.spawn(toHost)
    await letIn(host, second, { role: 'member' })
    const kill = second.net.rpc.call(host.peer, agentKill, { agent: agent.id, purge: true })
    await expect(kill).rejects.toMatchObject({ code: 'FORBIDDEN' })
    // Where the host does not know the role, the own node does.
    await letIn(host, second)
    await expect(second.agents.kill(agent.id, { purge: true })).rejects.toMatchObject({ code: 'FORBIDDEN' })
    await expect(ran(second, agent)).rejects.toMatchObject({ code: 'FORBIDDEN' })
    second.role = 'observer'
    await expect(second.agents.spawn(toHost)).rejects.toMatchObject({ code: 'FORBIDDEN' })
    expect(host.host.list()).toMatchObject([{ id: agent.id, status: 'idle' }])
  })
})

describe('in one realm', () => {
  const realm = async () => {
    const [founder, mine, watching] = await Promise.all([
      start({ name: 'founder', realm: HOME, role: 'admin' }),
      start({ name: 'mine', realm: HOME, role: 'member' }),
      start({ name: 'watching', realm: HOME, role: 'observer' }),
    ])
    await inOneRealm(founder, mine)
    await inOneRealm(founder, watching)
    await inOneRealm(mine, watching)
    return { founder, mine, watching }
  }

  test('a member uses what it spawned and no more, an admin everything, an observer nothing', async () => {
    const { founder, mine, watching } = await realm()
    const its = await mine.agents.spawn({ requirements: { node: 'founder' } })
    const other = await founder.agents.spawn({ requirements: { node: 'mine' } })
    expect(await ran(mine, its)).toBe('started exit')
    // Not even on its own host, which may only stop it.
    await expect(ran(mine, other)).rejects.toMatchObject({ code: 'FORBIDDEN' })
    expect(await ran(founder, its)).toBe('started exit')
    for (const agent of [its, other]) {
      await expect(ran(watching, agent)).rejects.toMatchObject({ code: 'FORBIDDEN' })
      await expect(watching.agents.kill(agent.id, { purge: false })).rejects.toMatchObject({ code: 'FORBIDDEN' })
    }
    expect((await watching.agents.list({})).agents.map(({ id }) => id).toSorted()).toEqual(
      [its.id, other.id].toSorted(),
    )
    expect(await mine.agents.kill(other.id, { purge: false })).toMatchObject({ status: 'stopped' })
    expect(await founder.agents.kill(its.id, { purge: false })).toMatchObject({ status: 'stopped' })
  })

  test('a member cannot kill the agent of another on a third node', async () => {
    const { founder, mine, watching } = await realm()
    const agent = await founder.agents.spawn({ requirements: { node: 'watching' } })
    const refused = await mine.agents.kill(agent.id, { purge: false }).catch((error: unknown) => error)
    expect(refused).toMatchObject({ code: 'FORBIDDEN', message: expect.stringContaining(founder.peer) })
    expect(watching.host.get(agent.id)).toMatchObject({ status: 'idle' })
  })

  test('an observer spawns nowhere, not even on itself', async () => {
    const { founder, watching } = await realm()
    await expect(watching.agents.spawn({})).rejects.toMatchObject({ code: 'FORBIDDEN' })
    const spec = specWith({ owner: watching.peer, realm: HOME, id: ID })
    const reserve = watching.net.rpc.call(founder.peer, agentReserve, { spec, epoch: 1 })
    await expect(reserve).rejects.toMatchObject({ code: 'FORBIDDEN' })
    expect(await watching.net.rpc.call(watching.peer, agentReserve, { spec, epoch: 1 })).toMatchObject({
      refusal: { code: 'FORBIDDEN' },
    })
  })
})

test('a hand-over of a record is within what a node waits for a spawn', () => {
  expect(limits.handTimeoutMs * limits.handPeersMax).toBeLessThan(limits.rpcDefaultTimeoutMs)
})
