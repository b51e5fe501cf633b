/**
 * A real node, started whole in this process, an honest member beside it, and what a hostile peer may not change: what the
 * node shows over its API, what it holds in memory, what it is connected to, and what it writes into its log.
 */
import { mkdtemp, readFile, rm } from 'node:fs/promises'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { text } from 'node:stream/consumers'
import { setFlagsFromString } from 'node:v8'
import { runInNewContext } from 'node:vm'
import { loadOrCreateKey, type NodeKey } from '../../src/identity/node-key.ts'
import { nodeHeartbeat } from '../../src/mesh/methods.ts'
import type { Role } from '../../src/base/standing.ts'
import type { Net } from '../../src/net/net.ts'
import { startNode, type RunningNode } from '../../src/node/node.ts'
import type { NodeOptions } from '../../src/node/options.ts'
import { callApi, openApi, type Answer } from './api.ts'
import { startMeshNode, type MeshNode } from './mesh.ts'
import { waitFor } from './wait.ts'

setFlagsFromString('--expose-gc')
const collectGarbage = runInNewContext('gc') as () => void

/** Bytes on the heap and beside it that are still referred to. */
const heldBytes = (): number => {
  collectGarbage()
  collectGarbage() // the buffers that the first one found are freed beside it, and all of them before the second
  const { heapUsed, arrayBuffers } = process.memoryUsage()
  return heapUsed + arrayBuffers
}

const openSockets = (): number => process.getActiveResourcesInfo().filter((kind) => kind === 'TCPSocketWrap').length

export interface LogLine {
  level: number
  msg: string
  peer?: string
  code?: string
  reason?: string
}

export interface Siege {
  readonly node: RunningNode
  readonly founder: NodeKey
  readonly honest: MeshNode
  /** An advertisement of a member that has left since. */
  readonly lastWordOfGuest: Uint8Array
  readonly target: { peer: string; address: string }
  api(method: string, path: string, body?: unknown): Promise<Answer>
  invite(uses: number, role?: Role): Promise<string>
  log(): Promise<LogLine[]>
  /** The sum of a metric over its labels. */
  metric(name: string): Promise<number>
  /** The state of the realm as the node shows it, without what changes by itself. */
  shown(): Promise<unknown>
  /** Waits until the storm has left nothing behind: no connection but those of the honest ones, no memory, nothing in use. */
  calm(net: Net, friends?: readonly string[]): Promise<void>
  stop(): Promise<void>
}

export const startSiege = async (more: Partial<NodeOptions> = {}): Promise<Siege> => {
  const dataDir = await mkdtemp(join(tmpdir(), 'godel-siege-'))
  const node = await startNode({
    ...{ realm: 'lab', name: 'fort', dataDir, apiPort: 0, listen: ['/ip4/127.0.0.1/tcp/0'], bootstrap: [] },
    ...{ labels: {}, capabilities: [], gpu: { count: 0, types: [] }, shareable: false, acceptUnsandboxed: true },
    ...more,
  })
  const api: Siege['api'] = (method, path, body) => callApi({ dataDir }, method, path, body)
  const invite: Siege['invite'] = async (uses, role = 'member') => {
    const { status, body } = await api('POST', '/v1/realm/invitations', { uses, role })
    if (status >= 300) throw new Error(`no invitation: ${JSON.stringify(body)}`)
    return body.token
  }
  const honest = await startMeshNode({
    name: 'honest',
    join: await invite(1),
    traits: { labels: { secret: 'honest-label' } },
  })
  const guest = await startMeshNode({ name: 'guest', join: await invite(1) })
  const stateOf = async (name: string) =>
    (await api('GET', '/v1/peers')).body.peers.find((peer: { name: string }) => peer.name === name)?.state
  await waitFor('the node sees the guest', async () => (await stateOf('guest')) === 'alive')
  const lastWordOfGuest = await guest.mesh.ownAd()
  await guest.leave()
  await waitFor('the guest is gone', async () => (await stateOf('guest')) === 'left')
  await waitFor('the node sees the honest member', async () => (await stateOf('honest')) === 'alive')

  const shown: Siege['shown'] = async () => {
    const peers = (await api('GET', '/v1/peers')).body.peers as Record<string, unknown>[]
    const { agents, unanswered } = (await api('GET', '/v1/agents')).body
    const { capacity } = (await api('GET', '/v1/node')).body
    // What has ended is history, and stays in the list for a day.
    const live = agents.filter(({ status }: { status: string }) => status !== 'stopped')
    const stable = peers.map(({ adAgeMs: _age, sequence: _sequence, rttMs: _rtt, link: _link, ...rest }) => rest)
    return {
      peers: stable.toSorted((a, b) => String(a.peer).localeCompare(String(b.peer))),
      agents: live,
      unanswered,
      capacity,
    }
  }
  let atRest: { bytes: number; sockets: number } | undefined

  return {
    node,
    founder: await loadOrCreateKey(join(dataDir, 'node.key')),
    honest,
    lastWordOfGuest,
    target: { peer: node.peerId, address: node.listen[0]! },
    api,
    invite,
    shown,
    async log() {
      return (await readFile(join(dataDir, 'node.log'), 'utf8'))
        .trim()
        .split('\n')
        .map((line) => JSON.parse(line) as LogLine)
    },
    async metric(name) {
      const lines = (await text(await openApi({ dataDir }, 'GET', '/metrics'))).split('\n')
      return lines
        .filter((line) => line.startsWith(`godel_${name}`))
        .reduce((sum, line) => sum + Number(line.slice(line.lastIndexOf(' ') + 1)), 0)
    },
    async calm(net, friends = []) {
      const expected = [honest.net.peer, ...friends].toSorted().join()
      const connected = () => net.connected().toSorted().join() === expected
      await waitFor('nobody but the honest member is connected', connected, { withinMs: 10_000 })
      await honest.mesh.rpc.call(node.peerId, nodeHeartbeat, {})
      atRest ??= { bytes: heldBytes(), sockets: openSockets() }
      const { bytes, sockets } = atRest
      await waitFor('no socket of the storm is left', () => openSockets() <= sockets)
      const isFree = () => heldBytes() < bytes + 24 * 1024 * 1024
      await waitFor('the memory of the storm is free again', isFree, { everyMs: 200 })
    },
    async stop() {
      await honest.leave()
      await node.stop()
      await rm(dataDir, { recursive: true, force: true })
    },
  }
}
