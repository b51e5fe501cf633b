/** What a hostile peer asks of a node under siege: every method, rightly and with garbage. */
import fc from 'fast-check'
import { encode } from '../../src/base/codec.ts'
import { viewPush } from '../../src/mesh/methods.ts'
import type { Method } from '../../src/net/method.ts'
import type { Net } from '../../src/net/net.ts'
import { sealGrant } from '../../src/ownership/records.ts'
import { recordGet } from '../../src/ownership/methods.ts'
import { garbageFor } from './garbage.ts'
import type { Outcome, RawPeer } from './raw-peer.ts'
import type { Siege } from './siege.ts'
import { waitFor } from './wait.ts'

export const seed = process.env['GODEL_SEED'] === undefined ? {} : { seed: Number(process.env['GODEL_SEED']) }
export const missingAgent = 'ag_0192f0c1-2345-7abc-8def-0123456789ab'

/** A word of the honest member that the node has a later one of: whoever repeats it tells nothing. */
export const overtakenAd = async ({ honest, node }: Siege): Promise<Uint8Array> => {
  const overtaken = await honest.mesh.ownAd()
  const records = [{ envelope: await honest.mesh.ownAd(), ageMs: 0, accusations: [] }]
  await honest.net.rpc.call(node.peerId, viewPush, { records })
  return overtaken
}

/** What an attacker has: itself, what it shows to be let in, an agent that is not its own, and a token that was used. */
export interface Attacker {
  raw: RawPeer
  shown: { certificate: string | null; head: { realm: string; version: number; hash: string } }
  agent: string
  usedUp: string
}

/** For every method a request that passes its schema and changes nothing. */
export const requestsOf = async (siege: Siege, net: Net, attacker: Attacker): Promise<Record<string, unknown>> => {
  const { honest } = siege
  const { raw, shown, agent, usedUp } = attacker
  const envelope = await overtakenAd(siege)
  const here = honest.mesh.realm().id
  const spec = {
    ...{ id: missingAgent, realm: shown.head.realm, owner: raw.peer, role: 'worker', runtime: 'imaginary' },
    ...{ labels: { a: 'b' }, requirements: { node: 'nobody', region: 'nowhere' } },
  }
  const grant = await sealGrant({ seal: raw.seal, open: net.open }, missingAgent, 1, net.peer)
  const { held } = await honest.net.rpc.call(net.peer, recordGet, { agent })
  return {
    'realm.join': { token: usedUp },
    'realm.present': { ...shown, ad: { envelope, ageMs: 5 } },
    'realm.document': { realm: here },
    'realm.revocations': { realm: here, after: 'nobody/nothing' },
    'realm.renew': {},
    'realm.news': { head: shown.head },
    'view.sync': {},
    'view.digests': { buckets: [0, 1, 63], after: net.peer },
    'view.pull': { peers: [net.peer, honest.net.peer] },
    'view.push': { records: [{ envelope, ageMs: 0, accusations: [] }] },
    'share.digests': { after: net.peer },
    'share.pull': { peers: [net.peer, honest.net.peer] },
    'share.left': { envelope },
    'node.heartbeat': {},
    'node.probe': { peer: honest.net.peer },
    'node.left': { envelope },
    'node.dialback': {},
    'node.shown': {},
    'record.put': held,
    'record.get': { agent },
    'record.hand': held,
    'agent.reserve': { spec, epoch: 1 },
    'agent.spawn': { spec, epoch: 1, grant, reservation: 'rs_none', staged: false },
    'agent.status': { agent },
    'agent.list': { unanswered: [net.peer] },
    'agent.release': { reservation: 'rs_none' },
    'agent.kill': { agent: missingAgent, purge: true },
    'agent.exec': { agent: missingAgent, epoch: 1, spec: { command: 'true', args: ['x'], env: { A: 'b' }, cwd: '.' } },
  }
}

/** Calls every method rightly once and with garbage `numRuns` times; what comes of each call goes to `check`. */
export const storm = async (
  { raw, table, methods }: { raw: RawPeer; table: Record<string, unknown>; methods: readonly Method[] },
  check: (outcome: Outcome, method: Method) => void,
  numRuns: number,
): Promise<void> => {
  for (const method of methods) {
    const ask = async (payload: Uint8Array) => {
      const request = { name: method.name, payload, stream: method.kind === 'stream' }
      const asked = async () => {
        const outcome = await raw.ask(request)
        // Its rate would hide what the node makes of the rest, so the storm keeps to it.
        const isPaced = method.rate !== 'call' && outcome.end === 'error' && outcome.code === 'RATE_LIMITED'
        return isPaced ? undefined : outcome
      }
      check(await waitFor(`the rate lets ${method.name} through`, asked, { everyMs: 55 }), method)
    }
    await ask(encode(table[method.name]))
    await fc.assert(fc.asyncProperty(garbageFor(table[method.name], method.requestBytesMax), ask), { numRuns, ...seed })
  }
}
