/** The SDK against the real API over a fake node. */
import { execFileSync } from 'node:child_process'
import { once } from 'node:events'
import { mkdir, mkdtemp, rm, symlink, writeFile } from 'node:fs/promises'
import { createServer, type RequestListener, type Server } from 'node:http'
import type { AddressInfo } from 'node:net'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { Readable } from 'node:stream'
import { list as listTar, type ReadEntry } from 'tar'
import { afterAll, afterEach, beforeAll, describe, expect, test } from 'vitest'
import { GodelClient, type ExecEvent } from '../../../src/client/index.ts'
import { systemClock } from '../../../src/client/clock.ts'
import { limits } from '../../../src/base/limits.ts'
import { mintId } from '../../../src/base/ids.ts'
import { apiKey, startTestApi, type TestApi } from '../../fakes/api-server.ts'
import { fakeAgent } from '../../fakes/node-services.ts'
import { runGit } from '../../support/git.ts'
import { waitFor } from '../../support/wait.ts'

let server: TestApi
let client: GodelClient
let agent: string
let scratch: string
beforeAll(async () => {
  server = await startTestApi()
  client = await GodelClient.connect({ url: server.api.url, apiKey })
  agent = server.node.addAgent({ labels: { task: 'train' } }).id
  scratch = await mkdtemp(join(tmpdir(), 'godel-client-'))
})
afterAll(async () => {
  await server.api.close()
  await rm(scratch, { recursive: true })
})

const collect = async <T>(source: AsyncIterable<T>): Promise<T[]> => {
  const items: T[] = []
  for await (const item of source) items.push(item)
  return items
}
const text = (event: ExecEvent): string => (event.type === 'output' ? Buffer.from(event.data).toString() : '')

describe('the node', () => {
  test('tells of itself, its peers and its realm', async () => {
    expect(await client.node()).toMatchObject({ name: 'one' })
    expect(await client.identity()).toMatchObject({ realm: { name: 'lab' } })
    expect(await client.peers.list()).toMatchObject([{ state: 'alive' }])
    expect(await client.realm.show()).toMatchObject({ version: 1 })
    expect(await client.realm.invite({ uses: 3 })).toMatchObject({ uses: 3, token: 'GDL1.token' })
    expect(await client.metrics()).toBe('up 1\n')
  })

  test('takes settings while it runs, times in words or in milliseconds', async () => {
    expect(await client.failover()).toMatchObject({ failureThreshold: 3, source: 'default' })
    const changed = { healthCheckIntervalMs: 500, failureThreshold: 4, recoveryTimeMs: 120_000, source: 'node' }
    const failover = { healthCheckInterval: 500, failureThreshold: 4, recoveryTime: '2m' }
    expect(await client.configure({ failover })).toEqual(changed)
    expect(await client.failover()).toEqual(changed)
    await expect(client.configure({ failover: { scope: 'realm' } })).rejects.toMatchObject({ code: 'FORBIDDEN' })
    for (const wrong of [{ healthCheckInterval: 249 }, { failureThreshold: 0 }, { recoveryTime: -1 }])
      await expect(client.configure({ failover: wrong })).rejects.toMatchObject({ code: 'INVALID_ARGUMENT' })
    const soon = client.configure({ failover: { recoveryTime: '2 fortnights' } })
    await expect(soon).rejects.toMatchObject({ code: 'INVALID_ARGUMENT', detail: { field: 'recoveryTime' } })
  })

  test('that is not ready says so, and that is no error', async () => {
    server.node.ready = false
    const health = await client.health()
    server.node.ready = true
    expect(health).toEqual({ live: true, ready: false, status: 'starting' })
  })

  test('that refuses is heard with its code and its fields', async () => {
    const id = mintId('ag', 1)
    await expect(client.agents.get(id)).rejects.toMatchObject({ code: 'AGENT_NOT_FOUND', detail: { agent: id } })
    const stranger = new GodelClient({ url: server.api.url, apiKey: 'wrong' })
    await expect(stranger.node()).rejects.toMatchObject({ code: 'UNAUTHENTICATED' })
    expect(await stranger.health()).toMatchObject({ live: true })
  })

  test('that is not there is named', async () => {
    const ended = await startTestApi()
    const { url } = ended.api
    await ended.api.close()
    await expect(new GodelClient({ url, apiKey }).node()).rejects.toMatchObject({
      code: 'NODE_UNREACHABLE',
      detail: { url },
    })
    await expect(GodelClient.connect({ url })).rejects.toMatchObject({ code: 'NODE_UNREACHABLE' })
  })
})

describe('agents', () => {
  test('are started, listed, shown and ended', async () => {
    const started = await client.agents.spawn({
      role: 'builder',
      labels: { task: 'build', x: 'a=b&c' },
      requirements: { gpu: true },
    })
    expect(server.node.spawned.at(-1)).toEqual({
      id: started.id,
      role: 'builder',
      labels: { task: 'build', x: 'a=b&c' },
      requirements: { gpu: true },
    })
    const { agents, unanswered } = await client.agents.list({ labels: { x: 'a=b&c' } })
    expect(agents.map((each) => each.id)).toEqual([started.id])
    expect(unanswered).toMatchObject([{ node: 'two' }])
    expect((await client.agents.list({ node: 'elsewhere' })).agents).toEqual([])
    expect(await client.agents.get(started.id)).toMatchObject({ role: 'builder' })
    expect(await client.agents.kill(started.id, { purge: true })).toMatchObject({ status: 'stopped' })
    expect(server.node.changes.at(-1)).toBe('purge')
  })

  test('run commands to their end', async () => {
    const result = await client.agents.run(agent, 'both', ['4'])
    expect(result).toMatchObject({ code: 4, signal: null })
    expect(Buffer.from(result.stdout).toString()).toBe('out\n')
    expect(Buffer.from(result.stderr).toString()).toBe('err\n')
    expect(await client.agents.run(agent, 'timeout')).toMatchObject({ code: null, signal: 'SIGTERM', cause: 'timeout' })
  })

  test('say what they say as it comes, byte by byte', async () => {
    const events = await collect(client.agents.exec(agent, { command: 'bytes' }))
    expect(events.map((event) => event.type)).toEqual(['started', 'output', 'exit'])
    const output = events[1] as Extract<ExecEvent, { type: 'output' }>
    expect([...output.data]).toEqual(Array.from({ length: 256 }, (_, index) => index))
  })

  test('take input, and need not take all of it', async () => {
    const bytes = Buffer.from(Array.from({ length: 400_000 }, (_, index) => index % 256))
    const stdin = Readable.from([bytes.subarray(0, 100_000), bytes.subarray(100_000)])
    const result = await client.agents.run(agent, 'cat', [], { stdin })
    expect(bytes.equals(result.stdout)).toBe(true)
    async function* endless() {
      for (;;) yield new Uint8Array(64 * 1024)
    }
    expect(await client.agents.run(agent, 'take-one', [], { stdin: endless() })).toMatchObject({ code: 0 })
  })

  test('are not told that input has ended when it broke off', async () => {
    async function* broken() {
      yield Buffer.from('half')
      throw new Error('the disk is gone')
    }
    await expect(client.agents.run(agent, 'length', [], { stdin: broken() })).rejects.toMatchObject({
      code: 'STREAM_LOST',
    })
    await waitFor('the command was cancelled', () => server.node.execs.at(-1)!.cancelled)
  })

  test('stop a command when its reader leaves or its signal says so', async () => {
    for await (const event of client.agents.exec(agent, { command: 'hang' })) if (event.type === 'output') break
    await waitFor('it was cancelled', () => server.node.execs.at(-1)!.ended && server.node.execs.at(-1)!.cancelled)
    const controller = new AbortController()
    const run = client.agents.run(agent, 'hang', [], { signal: controller.signal })
    run.catch(() => {}) // looked at below
    await waitFor('it runs', () => !server.node.execs.at(-1)!.ended)
    controller.abort()
    await expect(run).rejects.toMatchObject({ code: 'CANCELLED' })
    await waitFor('it was cancelled', () => server.node.execs.at(-1)!.cancelled)
  })

  test('tell of a failure after output, when the output has been read', async () => {
    const seen: string[] = []
    const run = async () => {
      for await (const event of client.agents.exec(agent, { command: 'break' })) seen.push(event.type + text(event))
    }
    await expect(run()).rejects.toMatchObject({ code: 'STREAM_LOST', detail: { reason: 'the cable was cut' } })
    expect(seen).toEqual(['started', 'outputsome\n'])
  })

  test('give output within bounds', async () => {
    const bounded = new GodelClient({ url: server.api.url, apiKey, limits: { ...limits, runOutputBytesMax: 100_000 } })
    await expect(bounded.agents.run(agent, 'flood', ['10'])).rejects.toMatchObject({ code: 'TOO_LARGE' })
    await waitFor('it was ended', () => server.node.execs.at(-1)!.ended)
  })
})

describe('files', () => {
  const entriesOf = async (tar: Uint8Array) => {
    const entries: Record<string, string> = {}
    const parser = listTar({
      onReadEntry: (entry: ReadEntry) => void (entries[entry.path] = entry.linkpath || entry.type),
    })
    const done = once(parser, 'end')
    parser.end(Buffer.from(tar))
    await done
    return entries
  }

  test('of a directory are sent as they are', async () => {
    const dir = join(scratch, 'workspace')
    await mkdir(join(dir, 'src', 'empty'), { recursive: true })
    await writeFile(join(dir, 'src', 'a file'), 'content', { mode: 0o755 })
    await writeFile(join(dir, '.hidden'), '')
    await symlink('src/a file', join(dir, 'link'))
    const started = await client.agents.spawn({ workspace: { dir } })
    expect(server.node.spawned.at(-1)).toEqual({ id: started.id, workspace: { upload: expect.stringMatching(/^up_/) } })
    expect(await entriesOf(server.node.uploads.at(-1)!)).toEqual({
      './': 'Directory',
      './.hidden': 'File',
      './link': 'src/a file',
      './src/': 'Directory',
      './src/a file': 'File',
      './src/empty/': 'Directory',
    })
  })

  test('that are no files are left out, last of their directory or not', async () => {
    const dir = join(scratch, 'pipes')
    await mkdir(join(dir, 'inner'), { recursive: true })
    for (const name of ['a-pipe', 'inner/pipe', 'z-pipe']) execFileSync('mkfifo', [join(dir, name)])
    await writeFile(join(dir, 'file'), '')
    await client.agents.uploadWorkspace(dir)
    expect(Object.keys(await entriesOf(server.node.uploads.at(-1)!)).toSorted()).toEqual(['./', './file', './inner/'])
  })

  test.runIf(process.platform === 'linux')(
    'that cannot be read fail the whole once, however many they are',
    async () => {
      const dir = join(scratch, 'unreadable')
      await mkdir(dir)
      await writeFile(join(dir, 'file'), 'x'.repeat(100_000))
      for (const byte of [0xfa, 0xfb, 0xfc, 0xfd, 0xfe])
        await writeFile(Buffer.concat([Buffer.from(`${dir}/name-`), Buffer.from([byte])]), '')
      const uploads = server.node.uploads.length
      await expect(client.agents.uploadWorkspace(dir)).rejects.toMatchObject({ code: 'WORKSPACE_FAILED' })
      await new Promise((resolve) => setTimeout(resolve, 50)) // the later ones fail by now, and nobody is hurt
      expect(server.node.uploads).toHaveLength(uploads)
    },
  )

  test('of a repository on this machine are cloned here and sent', async () => {
    const repository = join(scratch, 'repository')
    await mkdir(repository)
    await runGit(repository, 'init', '-q')
    await writeFile(join(repository, 'kept'), 'x')
    await runGit(repository, 'add', '.')
    await runGit(repository, 'commit', '-q', '-m', 'one')
    await writeFile(join(repository, 'not committed'), 'x')
    await client.agents.spawn({ workspace: { git: `file://${repository}` } })
    const entries = Object.keys(await entriesOf(server.node.uploads.at(-1)!))
    expect(entries).toContain('./kept')
    expect(entries).toContain('./.git/')
    expect(entries).not.toContain('./not committed')
  })

  test('of a repository elsewhere are left to the host of the agent', async () => {
    const uploads = server.node.uploads.length
    await client.agents.spawn({ workspace: { git: 'https://example.org/r.git' } })
    expect(server.node.spawned.at(-1)!.workspace).toEqual({ git: 'https://example.org/r.git' })
    expect(server.node.uploads).toHaveLength(uploads)
  })

  test.each([
    ['not there', { dir: '/nowhere/at/all' }, /cannot be read/],
    ['a file', { dir: '/etc/hostname' }, /is not a directory/],
    ['no repository', { git: 'file:///nowhere.git' }, /git clone of file:\/\/\/nowhere.git failed/],
  ])('that are %s are refused, and nothing is started', async (_what, workspace, message) => {
    const spawned = server.node.spawned.length
    await expect(client.agents.spawn({ workspace })).rejects.toMatchObject({
      code: 'WORKSPACE_FAILED',
      message: expect.stringMatching(message),
    })
    expect(server.node.spawned).toHaveLength(spawned)
  })
})

describe('decisions', () => {
  test('are listed and explained', async () => {
    server.node.decide('rq_1')
    expect((await client.routes.list({ limit: 5 })).at(-1)).toMatchObject({ requestId: 'rq_1' })
    expect(await client.routes.explain({ requirements: { gpu: true } })).toMatchObject({ rule: 'strategy' })
  })

  test('are followed, from where the reader was', async () => {
    server.node.decide('rq_2')
    const seen: string[] = []
    for await (const event of client.routes.follow({ after: 'rq_1' })) {
      seen.push(event.type === 'decision' ? event.decision.requestId : event.type)
      if (seen.length === 1) server.node.decide('rq_3')
      if (seen.length === 2) break
    }
    expect(seen).toEqual(['rq_2', 'rq_3'])
    await waitFor('nobody follows', () => server.node.followers() === 0)
  })

  test('stop quietly when the signal says so', async () => {
    const controller = new AbortController()
    const following = collect(client.routes.follow({ signal: controller.signal }))
    await waitFor('it follows', () => server.node.followers() === 1)
    controller.abort()
    expect(await following).toEqual([])
  })
})

describe('answers that are lost', () => {
  const servers: Server[] = []
  afterEach(() => {
    for (const each of servers.splice(0)) {
      each.close()
      each.closeAllConnections()
    }
  })
  const serve = async (answer: RequestListener): Promise<GodelClient> => {
    const flaky = createServer(answer).listen(0, '127.0.0.1')
    servers.push(flaky)
    await once(flaky, 'listening')
    const { port } = flaky.address() as AddressInfo
    const url = `http://127.0.0.1:${port}`
    return new GodelClient({
      url,
      apiKey,
      clock: systemClock,
      limits: { ...limits, clientRetryMs: 1, clientCallTimeoutMs: 500 },
    })
  }
  const bodyOf = async (request: Parameters<RequestListener>[0]) =>
    JSON.parse(String(Buffer.concat(await collect(request as AsyncIterable<Buffer>))))

  test('are asked for again with the same id', async () => {
    const ids: string[] = []
    const unlucky = await serve(async (request, response) => {
      const { id } = await bodyOf(request)
      ids.push(id)
      if (ids.length < 3) return void request.socket.destroy()
      response.writeHead(201, { 'content-type': 'application/json' }).end(JSON.stringify(fakeAgent({ id })))
    })
    const started = await unlucky.agents.spawn()
    expect(ids).toEqual([started.id, started.id, started.id])
  })

  test('are given up at last, with the id that may run', async () => {
    let asked = 0
    const id = mintId('ag', Date.now())
    const dead = await serve((request) => {
      asked++
      request.socket.destroy()
    })
    await expect(dead.agents.spawn({ id })).rejects.toMatchObject({ code: 'SPAWN_IN_DOUBT', detail: { agent: id } })
    expect(asked).toBe(limits.clientAttemptsMax)
  })

  test('are not asked for again when they were refusals', async () => {
    const before = server.node.spawned.length
    const request = { requirements: { gpu: true, gpuType: 'none-such' } }
    await expect(client.agents.spawn(request)).rejects.toMatchObject({ code: 'NO_CANDIDATE' })
    expect(server.node.spawned).toHaveLength(before + 1)
  })

  test('that never come end with a deadline', async () => {
    const silent = await serve(() => {})
    await expect(silent.node()).rejects.toMatchObject({ code: 'DEADLINE_EXCEEDED', detail: { afterMs: 500 } })
  })

  test('that are not ours are told as such', async () => {
    const web = await serve((_request, response) => void response.writeHead(200).end('<html>'))
    await expect(web.node()).rejects.toMatchObject({
      code: 'NODE_UNREACHABLE',
      message: expect.stringContaining('is not JSON'),
    })
    const sending = await serve(
      (_request, response) => void response.writeHead(302, { location: 'http://example.org/' }).end(),
    )
    await expect(sending.node()).rejects.toMatchObject({ code: 'STREAM_LOST' })
  })

  test('that break off in the midst of output are no ends of commands', async () => {
    const cut = await serve((_request, response) => {
      response.writeHead(200).write('{"type":"started","execId":"ex_1","epoch":1}\n')
      response.end()
    })
    await expect(cut.agents.run(agent, 'echo')).rejects.toMatchObject({ code: 'STREAM_LOST' })
  })
})
