/** Who is not let in: each case is refused with its reason, logged once, and leaves the realm as it was. */
import { readFile } from 'node:fs/promises'
import { join } from 'node:path'
import { afterAll, beforeAll, describe, expect, test } from 'vitest'
import { createTestBed, runCli, type TestNode } from '../support/nodes.ts'
import { waitFor } from '../support/wait.ts'

const bed = createTestBed()
let founder: TestNode
beforeAll(async () => {
  founder = (await bed.realm([{ name: 'founder' }]))[0]!
}, 30_000)
afterAll(bed.dispose, 30_000)

const start = async (args: string[]) => {
  const dataDir = await bed.directory('stranger')
  const common = ['--data-dir', dataDir, '--api-port', '0', '--listen', '/ip4/127.0.0.1/tcp/0', '--name', 'stranger']
  return runCli(['start', '--json', ...common, ...args])
}

const seed = () => `${founder.ready.listen[0]}/p2p/${founder.ready.peerId}`
const invite = async (args: string[] = []) => (await founder.json(['realm', 'invite', ...args])).token as string

describe('a node that does not belong', () => {
  test.each([
    ['has no token', async () => ['--realm', 'lab', '--bootstrap', seed()], 'JOIN_REQUIRED'],
    ['has a token that is no token', async () => ['--realm', 'lab', '--join', 'GDL1.nonsense'], 'TOKEN_INVALID'],
    [
      'has a token of a realm of another name',
      async () => ['--realm', 'other', '--join', await invite()],
      'REALM_MISMATCH',
    ],
    [
      'has a token that was changed',
      async () => {
        const token = await invite()
        const at = token.length - 20
        return ['--realm', 'lab', '--join', token.slice(0, at) + (token[at] === 'A' ? 'B' : 'A') + token.slice(at + 1)]
      },
      'TOKEN_INVALID',
    ],
  ])(
    'and %s is refused',
    async (_what, args, code) => {
      const output = await start(await args())
      expect(output.code).not.toBe(0)
      expect(JSON.parse(output.stderr.trim().split('\n').at(-1)!).code).toBe(code)
    },
    60_000,
  )

  test('a used-up token lets nobody else in', async () => {
    const token = await invite()
    await bed.start({ name: 'guest', join: token })
    const output = await start(['--realm', 'lab', '--join', token])
    expect(output.code).not.toBe(0)
    expect(output.stderr).toContain('TOKEN_USED_UP')
  }, 60_000)

  test('an expired token is refused', async () => {
    const { token, expiresAtMs } = await founder.json(['realm', 'invite', '--ttl', '1s'])
    await waitFor('its time is over', () => Date.now() > expiresAtMs)
    const output = await start(['--realm', 'lab', '--join', token])
    expect(output.code).not.toBe(0)
    expect(output.stderr).toContain('TOKEN_EXPIRED')
  }, 60_000)

  test('a node of another realm of the same name is not admitted, and that is logged once', async () => {
    const foreigner = await bed.start({
      name: 'foreigner',
      args: ['--bootstrap', seed()],
      dataDir: await foreignRealm(),
    })
    const log = () => readFile(join(founder.dataDir, 'node.log'), 'utf8')
    const lines = async () =>
      (await log()).split('\n').filter((line) => line.includes(foreigner.ready.peerId) && line.includes('refused'))
    await waitFor('the refusal is logged', async () => (await lines()).length > 0)
    const { peers } = await founder.json(['peers'])
    expect(peers.map((peer: { name: string }) => peer.name)).not.toContain('foreigner')
    expect((await foreigner.json(['peers'])).peers.map((peer: { name: string }) => peer.name)).toEqual(['foreigner'])
    expect(await lines()).toHaveLength(1)
  }, 60_000)
})

/** A data directory that holds a realm of the same name and another id. */
const foreignRealm = async (): Promise<string> => {
  const dataDir = await bed.directory('foreign')
  const node = await bed.start({ name: 'foreigner', dataDir })
  await node.end()
  return dataDir
}

test('a node in no realm shows itself, and pins others by the commands alone', async () => {
  const [one, two] = [await bed.start({ name: 'one', realm: null }), await bed.start({ name: 'two', realm: null })]
  expect(await one.json(['status'])).toMatchObject({ realm: null, trust: { revocations: 0, realms: 0, pins: 0 } })
  await one.json(['federation', 'register', `${two.ready.listen[0]}/p2p/${two.ready.peerId}`, '--scope', 'exec'])
  const registered = await two.cli(['federation', 'register', one.ready.peerId, '--scope', 'exec'])
  expect(registered).toMatchObject({ code: 0, stderr: expect.stringContaining('Its operator pins this node too') })
  await waitFor('they see each other', async () => {
    const { peers } = await one.json<{ peers: { name: string; state: string }[] }>(['peers'])
    return peers.some(({ name, state }) => name === 'two' && state === 'alive')
  })
  expect((await one.cli(['realm', 'invite'])).stderr).toContain('takes a realm')
})
