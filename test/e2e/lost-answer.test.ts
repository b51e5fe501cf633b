/** A spawn whose answer never comes: the retry gives the same agent, or a second epoch whose first copy stops. */
import { afterEach, expect, test } from 'vitest'
import { callApi, spawnOver } from '../support/api.ts'
import { createTestBed, type TestNode } from '../support/nodes.ts'
import { startSlowGit, type SlowGit } from '../support/slow-git.ts'
import { waitFor } from '../support/wait.ts'

let bed = createTestBed()
const servers: SlowGit[] = []
afterEach(async () => {
  for (const server of servers.splice(0)) server.close()
  await bed.dispose()
  bed = createTestBed()
}, 30_000)

const slowGit = async (): Promise<SlowGit> => {
  const git = await startSlowGit()
  servers.push(git)
  return git
}

const mesh = async (): Promise<[TestNode, TestNode, TestNode]> => {
  const nodes = (await bed.realm([
    { name: 'caller' },
    { name: 'first', args: ['--label', 'pool=x'] },
    { name: 'second', args: ['--label', 'pool=x'] },
  ])) as [TestNode, TestNode, TestNode]
  await waitFor('every node sees three', async () => {
    const views = await Promise.all(nodes.map((node) => node.json(['peers'])))
    return views.every((view) => view.peers.length === 3)
  })
  return nodes
}

const ID = 'ag_0192f0c1-2345-7abc-8def-0123456789ab'
const byName = (nodes: TestNode[], name: string) => nodes.find((node) => node.name === name)!

test('a caller that dies before the answer finds the same agent when it asks again with the same id', async () => {
  const [caller, first] = await mesh()
  const git = await slowGit()
  const request = { id: ID, workspace: { git: git.url() }, requirements: { node: 'first' } }
  const lost = spawnOver(caller, request).catch(() => 'lost')
  await git.asked
  await caller.end('SIGKILL')
  expect(await lost).toBe('lost')
  git.release()
  await waitFor(
    'the target has finished what it was told',
    async () => (await first.json(['agent', 'show', ID])).status === 'idle',
  )

  const back = await caller.restart()
  await waitFor('the caller knows its peers again', async () => (await back.json(['peers'])).peers.length === 3)
  const again = await spawnOver(back, request)
  expect(again.body).toMatchObject({ id: ID, hostName: 'first', epoch: 1 })
  const { agents } = await back.json(['agent', 'list'])
  expect(agents).toHaveLength(1)
}, 90_000)

test('a target that falls silent is passed over with a second epoch, and its own copy stops when it is back', async () => {
  const nodes = await mesh()
  const [caller] = nodes
  const git = await slowGit()
  const request = { id: ID, workspace: { git: git.url() }, requirements: { nodeLabels: { pool: 'x' } } }
  const answer = spawnOver(caller, request)
  await git.asked
  const silent = await waitFor('one target has begun', async () => {
    for (const node of nodes.slice(1)) {
      const { body } = await callApi(node, 'GET', `/v1/agents/${ID}`)
      if (body.status === 'starting') return byName(nodes, body.hostName)
    }
    return false
  })
  silent.process.kill('SIGSTOP')
  git.release()
  const placed = await answer
  expect(placed.body).toMatchObject({ id: ID, epoch: 2 })
  expect(placed.body.hostName).not.toBe(silent.name)

  silent.process.kill('SIGCONT')
  await waitFor(
    'the first copy has stopped, and one agent is left',
    async () => {
      const { agents, unanswered } = await caller.json(['agent', 'list'])
      const own = await silent.json(['agent', 'list', '--status', 'stopped'])
      const superseded = own.agents.length === 0 || own.agents[0].reason?.includes('superseded')
      return unanswered.length === 0 && agents.length === 1 && agents[0].epoch === 2 && superseded
    },
    { withinMs: 60_000 },
  )
  for (const node of nodes) expect(await node.json(['agent', 'show', ID])).toMatchObject({ epoch: 2, status: 'idle' })
  const { decisions } = await caller.json(['routes'])
  expect(decisions[0].attempts).toMatchObject([
    { node: silent.name, epoch: 1, outcome: 'unknown' },
    { node: placed.body.hostName, epoch: 2, outcome: 'placed' },
  ])
}, 120_000)
