/** Networks as they are: nodes that nobody can dial, addresses that change, cables that are out for long. */
import { createHash } from 'node:crypto'
import { afterAll, beforeAll, describe, expect, test } from 'vitest'
import { callApi } from '../support/api.ts'
import { createMachines, withoutFilter, type Machine } from '../support/namespaces.ts'
import { createTestBed, type TestNode } from '../support/nodes.ts'
import { waitFor } from '../support/wait.ts'

const names = ['hub', 'spare', 'left', 'right']
const bed = createTestBed()
let site: Awaited<ReturnType<typeof createMachines>> | undefined
let machines: Record<string, Machine>
let nodes: Record<string, TestNode>

const isOff = await withoutFilter('nodes behind firewalls')

interface Shown {
  name: string
  state: string
  incarnation: number
  connection?: string
  addresses: string[]
}
const shownBy = async (name: string): Promise<Record<string, Shown>> => {
  const { peers } = (await callApi(nodes[name]!, 'GET', '/v1/peers')).body as { peers: Shown[] }
  return Object.fromEntries(peers.map((peer) => [peer.name, peer]))
}
const everybodyUp = (among: string[], withinMs = 30_000) =>
  waitFor(
    'everybody sees everybody',
    async () => {
      for (const name of among) {
        const shown = await shownBy(name)
        if (among.some((other) => shown[other]?.state !== 'alive')) return undefined
      }
      return true
    },
    { withinMs },
  )

beforeAll(async () => {
  if (isOff) return
  site = await createMachines(names)
  machines = Object.fromEntries(site.machines.map((machine) => [machine.name, machine]))
  for (const name of ['left', 'right']) await machines[name]!.shut()
  const specs = site.machines.map((machine) => ({
    ...{ name: machine.name, machine },
    args: ['--listen', '/ip4/0.0.0.0/tcp/0'], // beside the one address, so that a new address is listened on
  }))
  const started = await bed.realm(specs)
  nodes = Object.fromEntries(started.map((node) => [node.name, node]))
  await everybodyUp(names)
}, 60_000)
afterAll(async () => {
  await bed.dispose()
  await site?.dispose()
}, 30_000)

const relayedThrough = (name: string) => `relayed through ${nodes[name]!.ready.peerId}`

const sendsFiveMegabytes = async (): Promise<void> => {
  const agent = await nodes['left']!.json(['agent', 'spawn', '--node', 'right'])
  const command = ['sh', '-c', 'yes godel | head -c 5000000']
  const ran = await nodes['left']!.cli(['agent', 'exec', agent.id, '--', ...command])
  expect(ran.code).toBe(0)
  const expected = 'godel\n'.repeat(900_000).slice(0, 5_000_000)
  const hash = (text: string) => createHash('sha256').update(text).digest('hex')
  expect(hash(ran.stdout)).toBe(hash(expected))
  await nodes['left']!.json(['agent', 'kill', agent.id])
}

describe.skipIf(isOff)('two nodes that nobody can dial', () => {
  test('are reached over a member of the realm, and 5 MB of output come through', async () => {
    await waitFor('they are connected through a relay', async () => {
      const { right } = await shownBy('left')
      return right?.connection?.startsWith('relayed through') && right
    })
    const { hub, spare } = await shownBy('left')
    expect([hub?.connection, spare?.connection]).toEqual(['direct', 'direct'])
    expect(hub?.addresses.some((address) => address.includes('p2p-circuit'))).toBe(false)
    await sendsFiveMegabytes()
  }, 60_000)

  test('find another way when the relay dies', async () => {
    const before = (await shownBy('left'))['right']?.connection
    const dying = before === relayedThrough('hub') ? 'hub' : 'spare'
    const other = dying === 'hub' ? 'spare' : 'hub'
    await nodes[dying]!.end('SIGKILL')
    await waitFor(
      'they are connected through the other one',
      async () => (await shownBy('left'))['right']?.connection === relayedThrough(other),
      { withinMs: 30_000 },
    )
    await sendsFiveMegabytes()
    nodes[dying] = await nodes[dying]!.restart()
    await everybodyUp(names)
  }, 90_000)
})

describe.skipIf(isOff)('a node whose address changes', () => {
  test('tells the new one within seconds, and is dialled there', async () => {
    const move = '198.18.0.77'
    const startMs = performance.now()
    await machines['spare']!.moveTo(move)
    const isThere = async (from: string) => {
      const { spare } = await shownBy(from)
      const isTold = spare?.addresses.some((address) => address.includes(move)) === true
      return spare?.state === 'alive' && spare.connection === 'direct' && isTold
    }
    await waitFor('whoever it can dial is told', () => isThere('hub'))
    expect(performance.now() - startMs).toBeLessThan(10_000)
    // Who cannot be dialled has to give its half-open connection up first.
    await waitFor('who cannot be dialled finds it there', () => isThere('left'), { withinMs: 40_000 })
    await everybodyUp(names)
    // Whoever starts anew has nothing but the new address to go by.
    await nodes['left']!.end()
    nodes['left'] = await nodes['left']!.restart()
    await waitFor('a node that starts again finds it there', () => isThere('left'), { withinMs: 30_000 })
  }, 120_000)
})

describe.skipIf(isOff)('a cable that is out until both sides have given up', () => {
  test('is no matter once it is back: the views are equal, without a person', async () => {
    await everybodyUp(names)
    await machines['hub']!.cut()
    await waitFor(
      'both sides know',
      async () => {
        const [there, here] = [await shownBy('spare'), await shownBy('hub')]
        return there['hub']?.state === 'down' && names.slice(1).every((name) => here[name]?.state === 'down')
      },
      { withinMs: 60_000 },
    )
    await waitFor(
      'what was half open is closed',
      async () => {
        const [there, here] = [await shownBy('spare'), await shownBy('hub')]
        return [there['hub'], here['spare'], here['left']].every((peer) => peer?.connection === undefined)
      },
      { withinMs: 10_000 },
    )
    await machines['hub']!.mend()
    await everybodyUp(names, 45_000)
    const incarnations = async (name: string) =>
      Object.entries(await shownBy(name))
        .map(([peer, { state, incarnation }]) => `${peer} ${state} ${incarnation}`)
        .toSorted()
        .join()
    await waitFor(
      'the views are equal',
      async () => {
        const all = await Promise.all(names.map(incarnations))
        return new Set(all).size === 1
      },
      { withinMs: 40_000 },
    )
  }, 180_000)
})
