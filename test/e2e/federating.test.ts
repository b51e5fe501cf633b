/** Two realms that work together by the commands alone: card, trust, share, and the end of it. */
import { afterAll, expect, test } from 'vitest'
import { createTestBed } from '../support/nodes.ts'
import { waitFor } from '../support/wait.ts'

const bed = createTestBed()
afterAll(() => bed.dispose())

test('an agent goes to another realm that was trusted and shares, and to none after the withdrawal', async () => {
  const lab = await bed.start({ name: 'lab-1', realm: 'lab', args: ['--capacity', '0'] })
  const plant = await bed.start({
    name: 'plant-1',
    realm: 'plant',
    args: ['--shareable', '--announce', '/ip4/127.0.0.1/tcp/1'],
  })
  const cards = { lab: (await lab.cli(['realm', 'card'])).stdout, plant: (await plant.cli(['realm', 'card'])).stdout }
  const { name, out } = await lab.json(['realm', 'trust', '-', '--out'], { input: cards.plant })
  expect({ name, out }).toEqual({ name: 'plant', out: true })
  await plant.json(['realm', 'trust', '-'], { input: cards.lab })
  await plant.json(['realm', 'share', 'lab', '--scope', 'exec', '--scope', 'capacity', '--quota', '1'])
  expect((await plant.cli(['realm', 'realms'])).stdout).toMatch(
    /lab +capacity, exec, 1 agents a node|lab +exec, capacity, 1/,
  )

  await waitFor(
    'the other realm is seen',
    async () => {
      const { peers } = await lab.json(['peers'])
      return peers.some((peer: any) => peer.level === 'cross-realm' && peer.realmName === 'plant')
    },
    { withinMs: 30_000 },
  )
  expect((await lab.cli(['peers'])).stdout).toMatch(/plant-1 +plant +alive/)
  const agent = await waitFor('an agent goes there', () => lab.json<{ host: string }>(['agent', 'spawn']), {
    withinMs: 30_000,
    everyMs: 500,
  })
  expect(agent.host).toBe(plant.ready.peerId)

  await plant.json(['realm', 'withdraw', 'lab', '--yes'])
  expect((await lab.cli(['agent', 'spawn'])).code).toBe(1)
}, 120_000)
