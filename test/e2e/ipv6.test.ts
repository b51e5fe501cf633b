/** A realm over IPv6 alone: real processes, and the join line as it is printed. */
import { createServer } from 'node:net'
import { afterAll, expect, test } from 'vitest'
import { createTestBed } from '../support/nodes.ts'
import { waitFor } from '../support/wait.ts'

const bed = createTestBed()
afterAll(bed.dispose, 30_000)

const hasIp6 = await new Promise<boolean>((resolve) => {
  const probe = createServer()
  probe.once('error', () => resolve(false))
  probe.listen(0, '::1', () => probe.close(() => resolve(true)))
})
if (!hasIp6) process.stderr.write('NOT RUN: a join over IPv6: this host has no ::1\n')

test.skipIf(!hasIp6)(
  'a node joins by a line that names IPv6 addresses alone, and runs an agent for the other',
  async () => {
    const listen = ['/ip6/::1/tcp/0']
    const founder = await bed.start({ name: 'six', listen })
    const line = (await founder.cli(['realm', 'invite'])).stdout
    const token = /GDL1\.\S+/.exec(line)![0]
    const [, claims] = token.slice('GDL1.'.length).split('.') as [string, string]
    const { seeds } = JSON.parse(Buffer.from(claims, 'base64url').toString()) as { seeds: { addresses: string[] }[] }
    expect(seeds.flatMap(({ addresses }) => addresses)).toEqual([expect.stringMatching(/^\/ip6\/::1\/tcp\/\d+$/)])

    const second = await bed.start({ name: 'seven', listen, join: line })
    expect([...founder.ready.listen, ...second.ready.listen].every((each) => each.startsWith('/ip6/::1/'))).toBe(true)
    await waitFor('they see each other', async () => {
      const { peers } = await founder.json(['peers'])
      return peers.some((peer: any) => peer.name === 'seven' && peer.state === 'alive' && peer.connected)
    })
    const agent = await founder.json(['agent', 'spawn', '--node', 'seven'])
    expect((await founder.cli(['agent', 'exec', agent.id, '--', 'echo', 'over six'])).stdout).toBe('over six\n')
  },
  60_000,
)
