/** Two nodes on copies of one data directory: one of them stops, says why, and the realm goes on with at most one. */
import { once } from 'node:events'
import { cp } from 'node:fs/promises'
import { createServer } from 'node:net'
import { join } from 'node:path'
import { afterAll, beforeAll, expect, test } from 'vitest'
import { createTestBed, type TestNode } from '../support/nodes.ts'
import { waitFor } from '../support/wait.ts'

const bed = createTestBed()
let founder: TestNode
beforeAll(async () => {
  founder = (await bed.realm([{ name: 'founder' }]))[0]!
}, 30_000)
afterAll(bed.dispose, 30_000)

const copyOf = async (dataDir: string): Promise<string> => {
  const copy = join(await bed.directory('copy'), 'data')
  await cp(dataDir, copy, { recursive: true, filter: (path) => !path.endsWith('.sock') })
  return copy
}

/** What a process said on standard error from now on, and how it ended. */
const watched = (node: TestNode) => {
  let said = ''
  node.process.stderr!.on('data', (part: Buffer) => (said += part.toString()))
  return { node, said: () => said, ended: once(node.process, 'exit') as Promise<[number | null]> }
}

const joined = async (name: string): Promise<TestNode> => {
  const { token } = await founder.json(['realm', 'invite'])
  return bed.start({ name, join: token })
}

const settles = async (twins: ReturnType<typeof watched>[]): Promise<void> => {
  const first = await waitFor('one of the two ends', () => twins.find(({ node }) => node.process.exitCode !== null), {
    withinMs: 10_000,
  })
  const [exit] = await first.ended
  expect(exit).toBe(1)
  await waitFor('it says why', () => first.said().includes('DUPLICATE_IDENTITY'))
  expect(JSON.parse(first.said().trim().split('\n').at(-1)!)).toMatchObject({ code: 'DUPLICATE_IDENTITY' })
  const other = twins.find((twin) => twin !== first)!
  if (other.node.process.exitCode !== null) return
  await waitFor('the realm sees the one that is left', async () => {
    const { peers } = await founder.json<{ peers: { peer: string; state: string }[] }>(['peers'])
    return peers.find(({ peer }) => peer === other.node.ready.peerId)?.state === 'alive'
  })
}

test('both started at once', async () => {
  const first = await joined('twin')
  await first.end()
  const copy = await copyOf(first.dataDir)
  // Both would take the port of the last start, and one would fail for that.
  const blocker = createServer().listen(Number(/tcp\/(\d+)/.exec(first.ready.listen[0]!)![1]), '127.0.0.1')
  await once(blocker, 'listening')
  const twins = await Promise.all([
    bed.start({ name: 'twin', dataDir: first.dataDir }).then(watched),
    bed.start({ name: 'twin', dataDir: copy }).then(watched),
  ])
  blocker.close()
  expect(twins[0]!.node.ready.peerId).toBe(twins[1]!.node.ready.peerId)
  await settles(twins)
}, 60_000)

test('the copy started while the original runs', async () => {
  const first = await joined('original')
  await first.end()
  const copy = await copyOf(first.dataDir)
  const original = watched(await bed.start({ name: 'original', dataDir: first.dataDir }))
  await waitFor('it is in the realm', async () => {
    const { peers } = await founder.json<{ peers: { peer: string; state: string }[] }>(['peers'])
    return peers.find(({ peer }) => peer === first.ready.peerId)?.state === 'alive'
  })
  const twin = watched(await bed.start({ name: 'original', dataDir: copy }))
  await settles([original, twin])
}, 60_000)
