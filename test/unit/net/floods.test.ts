/** One certified peer that talks as fast as it can, among others behind the same address. */
import { afterAll, beforeAll, describe, expect, it } from 'vitest'
import { encode } from '../../../src/base/codec.ts'
import { topicOf } from '../../../src/mesh/gossip.ts'
import { startMeshNode, statesSeenBy, until, type MeshNode } from '../../support/mesh.ts'
import { gossipRpc, join, present, startRawPeer, type RawPeer } from '../../support/raw-peer.ts'

const honest: MeshNode[] = []
let flooder: RawPeer
let topic: string

beforeAll(async () => {
  const founder = await startMeshNode({ name: 'n0', realm: 'lab' })
  honest.push(founder)
  const token = await founder.mesh.invite({ uses: 20, ttlMs: 60_000, role: 'member' })
  honest.push(
    ...(await Promise.all(Array.from({ length: 10 }, (_, n) => startMeshNode({ name: `n${n + 1}`, join: token })))),
  )
  await until('eleven see each other', () => honest.every((node) => statesSeenBy(node).split('alive').length === 12))
  flooder = await startRawPeer({ peer: founder.net.peer, address: founder.net.addresses()[0]! })
  const credentials = await join(flooder, token)
  await present(flooder, credentials)
  topic = topicOf(credentials.head.realm)
}, 60_000)
afterAll(async () => {
  await flooder.stop()
  await Promise.all(honest.map((node) => node.kill()))
})

/** A change of one node's load, until all honest ones know it; in milliseconds. */
const tellsAll = async (node: MeshNode): Promise<number> => {
  node.capacity.running = (node.capacity.running + 4) % 8
  node.capacity.currentLoad = node.capacity.running / 8
  const { running } = node.capacity
  node.mesh.advertise()
  const knows = ({ mesh }: MeshNode) =>
    [...mesh.view.entries()].some(({ peer, ad }) => peer === node.net.peer && ad.running === running)
  return until('all know', () => honest.every(knows))
}

describe('a member that floods the topic of its realm, of twelve behind one address', () => {
  it('keeps none of the others from hearing each other within a second', async () => {
    const stream = await flooder.open('/meshsub/1.2.0')
    let sent = 0
    let isOn = true
    const flood = async () => {
      while (isOn && stream.writeStatus === 'writable') {
        const messages = Array.from({ length: 200 }, () =>
          encode({ kind: 'ad', envelope: Buffer.alloc(200, `${sent++}`) }),
        )
        if (!stream.send(gossipRpc(topic, messages))) await stream.onDrain().catch(() => {})
        await new Promise((resolve) => setImmediate(resolve))
      }
    }
    const flooding = flood()
    await until('the flood is on', () => sent > 5_000)
    const cpu = process.cpuUsage()
    const startMs = performance.now()
    for (const node of honest.slice(0, 4)) expect(await tellsAll(node)).toBeLessThan(1_000)
    const tookMs = performance.now() - startMs
    const used = process.cpuUsage(cpu)
    isOn = false
    await flooding
    process.stdout.write(
      `flood: ${sent} messages, ${Math.round((used.user + used.system) / 10 / tookMs)}% CPU of all in one process\n`,
    )
    expect(honest[0]!.net.isConnected(flooder.peer)).toBe(true)
  }, 60_000)

  it('that asks for view sync without end is told to slow down, and others are answered', async () => {
    const asked = await Promise.all(
      Array.from({ length: 900 }, () => flooder.ask({ name: 'view.sync', payload: encode({}) })),
    )
    const refused = asked.filter((outcome) => outcome.end === 'error' && outcome.code === 'RATE_LIMITED')
    expect(refused.length).toBeGreaterThan(200)
    expect(refused.length).toBeLessThan(500)
    expect(await tellsAll(honest[5]!)).toBeLessThan(1_000)
  })

  it('and asks to be dialled back again and again is told to slow down', async () => {
    const asked = []
    for (let n = 0; n < 6; n++) asked.push(await flooder.ask({ name: 'node.dialback', payload: encode({}) }))
    expect(asked.slice(0, 2)).toMatchObject([{ end: 'answer', value: { reached: false } }, { end: 'answer' }])
    expect(asked.at(-1)).toEqual({ end: 'error', code: 'RATE_LIMITED' })
  })
})
