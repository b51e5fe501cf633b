/** Nodes that are killed in the middle of everything: what was acknowledged is there, what was not leaves nothing behind. */
import { readdir } from 'node:fs/promises'
import { join } from 'node:path'
import { afterEach, expect, test } from 'vitest'
import { callApi, openApi, spawnOver } from '../support/api.ts'
import { createTestBed, type TestNode } from '../support/nodes.ts'
import { processesWith } from '../support/processes.ts'
import { startSlowGit } from '../support/slow-git.ts'
import { waitFor } from '../support/wait.ts'

let bed = createTestBed()
afterEach(async () => {
  await bed.dispose()
  bed = createTestBed()
}, 30_000)

const listed = async (node: TestNode): Promise<Map<string, string>> => {
  const { agents } = (await callApi(node, 'GET', '/v1/agents')).body
  return new Map(agents.map((agent: { id: string; status: string }) => [agent.id, agent.status]))
}

test('a node that is killed over and over in a burst of spawns and kills has every one that it acknowledged', async () => {
  let [node] = (await bed.realm([{ name: 'alone', args: ['--capacity', '2000'] }])) as [TestNode]
  const [spawned, killed, doubtful] = [new Set<string>(), new Set<string>(), new Set<string>()]

  /** Spawns, and kills every other agent, until the node is gone. */
  const work = async (current: TestNode): Promise<void> => {
    for (let turn = 0; ; turn++) {
      const answer = await spawnOver(current)
      if (answer.status !== 201) throw new Error(JSON.stringify(answer.body))
      const { id } = answer.body
      spawned.add(id)
      if (turn % 2 === 0) continue
      doubtful.add(id)
      if ((await callApi(current, 'DELETE', `/v1/agents/${id}`)).status === 200) killed.add(id)
    }
  }

  for (let round = 0; round < 8; round++) {
    const before = spawned.size
    const work4 = Array.from({ length: 4 }, () => work(node).catch((error: unknown) => error))
    await waitFor('work is under way', () => spawned.size > before + 5 * round, { everyMs: 1 })
    await node.end('SIGKILL')
    for (const error of await Promise.all(work4))
      expect(String(error)).toMatch(/ECONNRESET|hang up|ECONNREFUSED|ENOENT/)
    node = await node.restart()
    const there = await listed(node)
    for (const id of killed) expect(there.has(id), `${id} was killed`).toBe(false)
    for (const id of spawned) if (!doubtful.has(id)) expect(there.get(id), `${id} was acknowledged`).toBe('idle')
    const { running } = (await callApi(node, 'GET', '/v1/node')).body.capacity
    expect(running).toBe([...there.values()].filter((status) => status === 'idle').length)
  }
  expect(killed.size).toBeGreaterThan(5)
}, 90_000)

test('a target that is killed while it fetches the files keeps neither slot nor files, and takes the same agent again', async () => {
  const [caller, target] = (await bed.realm([{ name: 'caller' }, { name: 'target', args: ['--capacity', '1'] }])) as [
    TestNode,
    TestNode,
  ]
  const git = await startSlowGit()
  try {
    const id = 'ag_0192f0c1-2345-7abc-8def-0123456789ab'
    const request = { id, workspace: { git: git.url() }, requirements: { node: 'target' } }
    const answer = spawnOver(caller, request)
    await git.asked
    await target.end('SIGKILL')
    expect((await answer).body.code).toMatch(/SPAWN_IN_DOUBT|NO_CANDIDATE/)
    git.release()
    const back = await target.restart()
    const again = await waitFor('it is taken again', async () => {
      const { status, body } = await spawnOver(caller, request)
      return status === 201 && body
    })
    expect(again).toMatchObject({ id, epoch: 2, hostName: 'target', status: 'idle' })
    expect((await callApi(back, 'GET', '/v1/node')).body.capacity).toMatchObject({ running: 1, maxConcurrent: 1 })
    expect(await readdir(join(back.dataDir, 'agents'))).toEqual([id])
  } finally {
    git.close()
  }
}, 60_000)

test('a target that is stopped while it fetches the files hands the spawn on to another', async () => {
  const pool = ['--label', 'pool=x']
  const nodes = await bed.realm([{ name: 'caller' }, { name: 'one', args: pool }, { name: 'two', args: pool }])
  const [caller] = nodes as [TestNode]
  await waitFor(
    'the caller sees three',
    async () => (await callApi(caller, 'GET', '/v1/peers')).body.peers.length === 3,
  )
  const git = await startSlowGit()
  try {
    const id = 'ag_0192f0c1-2345-7abc-8def-0123456789ac'
    const answer = spawnOver(caller, { id, workspace: { git: git.url() }, requirements: { nodeLabels: { pool: 'x' } } })
    await git.asked
    const { hostName } = (await callApi(caller, 'GET', `/v1/agents/${id}`)).body
    await nodes.find(({ name }) => name === hostName)!.end('SIGTERM')
    git.release()
    const { body } = await answer
    expect(body).toMatchObject({ id, status: 'idle' })
    expect(body.hostName).not.toBe(hostName)
  } finally {
    git.close()
  }
}, 60_000)

test('a node that is stopped under load ends at once with all that it ran', async () => {
  const [node] = (await bed.realm([{ name: 'busy', args: ['--capacity', '40'] }])) as [TestNode]
  const mark = `godel-load-${process.pid}`
  const git = await startSlowGit()
  try {
    const agents = await Promise.all(Array.from({ length: 5 }, () => spawnOver(node)))
    const execs = agents.flatMap(({ body }) =>
      Array.from({ length: 4 }, async () => {
        const script = `trap '' TERM; while :; do sleep 1; done # ${mark}`
        const command = { command: 'sh', args: ['-c', script] }
        const answer = await openApi(node, 'POST', `/v1/agents/${body.id}/exec`, command)
        answer.resume().on('error', () => {})
      }),
    )
    const starts = Array.from({ length: 5 }, () => spawnOver(node, { workspace: { git: git.url() } }).catch(() => {}))
    await Promise.all([git.asked, ...execs])
    await waitFor('all of it runs', () => processesWith(mark).length >= 20)
    const start = performance.now()
    await node.end('SIGTERM')
    expect(performance.now() - start).toBeLessThan(5_000)
    expect(node.process.exitCode).toBe(0)
    expect(processesWith(mark)).toEqual([])
    await Promise.all(starts)
  } finally {
    git.close()
  }
}, 60_000)
