/** Dialling back on request, on real connections: nobody can have this node dial somebody else. */
import { createServer, type Server } from 'node:net'
import { afterEach, beforeEach, expect, test } from 'vitest'
import { encode } from '../../../src/base/codec.ts'
import { AD_DOMAIN } from '../../../src/mesh/accept.ts'
import { startMeshNode, traitsOf, type MeshNode } from '../../support/mesh.ts'
import { join, present, startRawPeer, type Credentials, type RawPeer } from '../../support/raw-peer.ts'

let node: MeshNode
let asker: RawPeer
let credentials: Credentials
/** Something that listens, at the asker's own address and at another one of this host. */
let targets: Record<'127.0.0.1' | '127.0.0.2', { server: Server; port: number; taken: number }>

const listening = (host: string) =>
  new Promise<{ server: Server; port: number; taken: number }>((resolve) => {
    const target = { server: createServer(), port: 0, taken: 0 }
    target.server.on('connection', (socket) => {
      target.taken++
      socket.destroy()
    })
    target.server.listen(0, host, () => {
      target.port = (target.server.address() as { port: number }).port
      resolve(target)
    })
  })

beforeEach(async () => {
  targets = { '127.0.0.1': await listening('127.0.0.1'), '127.0.0.2': await listening('127.0.0.2') }
  node = await startMeshNode({ name: 'node', realm: 'lab' })
  asker = await startRawPeer({ peer: node.net.peer, address: node.net.addresses()[0]! })
  credentials = await join(asker, await node.mesh.invite({ uses: 1, ttlMs: 60_000, role: 'member' }))
  await present(asker, credentials)
})
afterEach(async () => {
  await asker.stop()
  await node.kill()
  for (const { server } of Object.values(targets)) server.close()
})

/** Advertises these addresses, as a member may, and asks to be dialled back. */
const askedWith = async (addresses: string[], sequence: number): Promise<unknown> => {
  const { certificate, head } = credentials
  const ad = {
    ...{ realm: head.realm, peer: asker.peer, ...traitsOf('asker'), status: 'available', currentLoad: 0, running: 0 },
    ...{
      maxConcurrent: 1,
      ensembles: [],
      addresses,
      incarnation: 1,
      sequence,
      ttlMs: 60_000,
      left: false,
      certificate,
    },
  }
  const records = [{ envelope: await asker.seal(AD_DOMAIN, encode(ad)), ageMs: 0, accusations: [] }]
  expect(await asker.ask({ name: 'view.push', payload: encode({ records }) })).toMatchObject({ value: { refused: 0 } })
  return asker.ask({ name: 'node.dialback', payload: encode({}) })
}

test('a member that advertises the address of another host has nobody dialled there', async () => {
  const { '127.0.0.1': own, '127.0.0.2': other } = targets
  const answer = { end: 'answer', value: { reached: false } }
  expect(await askedWith([`/ip4/127.0.0.2/tcp/${other.port}`, '/dns4/localhost/tcp/1'], 1)).toEqual(answer)
  expect([own.taken, other.taken]).toEqual([0, 0])
  expect(await askedWith([`/ip4/127.0.0.2/tcp/${other.port}`, `/ip4/127.0.0.1/tcp/${own.port}`], 2)).toEqual(answer)
  expect([own.taken > 0, other.taken]).toEqual([true, 0])
})
