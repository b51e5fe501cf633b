import { spawn, type ChildProcess } from 'node:child_process'
import {
  existsSync,
  mkdirSync,
  readdirSync,
  readFileSync,
  statSync,
  symlinkSync,
  writeFileSync,
  chmodSync,
} from 'node:fs'
import { createServer, type Server } from 'node:http'
import { createServer as createTcpServer, connect, type AddressInfo } from 'node:net'
import path from 'node:path'
import { create } from 'tar'
import { afterAll, beforeAll, describe, expect, it } from 'vitest'
import { mintId } from '../../../src/base/ids.ts'
import { createSandbox } from '../../../src/agents/sandbox.ts'
import { createWorkspaces, type WorkspaceSourceFiles } from '../../../src/agents/workspaces.ts'
import { createExecRig, probedLevels, type ExecRig } from '../../support/exec-rig.ts'
import { runGit } from '../../support/git.ts'
import { processesWith } from '../../support/processes.ts'
import { paxOf, streamOf, tarOf } from '../../support/tar-files.ts'
import { waitFor } from '../../support/wait.ts'

const levels = await probedLevels()
const never = new AbortController().signal
let rig: ExecRig
beforeAll(async () => {
  rig = await createExecRig()
})
afterAll(() => rig.close())

const workspacesOf = (limits: Record<string, number> = {}, level = levels[0]!) =>
  createWorkspaces(
    { ...rig, limits: { ...rig.limits, ...limits }, sandbox: createSandbox(level, { hide: [rig.dataDir] }) },
    { dataDir: rig.dataDir },
  )

const newAgent = () => mintId('ag', Date.now())

const agentFiles = () => readdirSync(path.join(rig.dataDir, 'agents'))

const refusalOf = async (source: WorkspaceSourceFiles, limits: Record<string, number> = {}): Promise<unknown> => {
  const agent = newAgent()
  const before = agentFiles()
  const error = await workspacesOf(limits)
    .prepare(agent, source, never)
    .catch((thrown: unknown) => thrown)
  expect(agentFiles()).toEqual(before)
  return error
}

describe('a workspace', () => {
  it('is an empty directory and a home, for the node’s user alone', async () => {
    const dirs = await workspacesOf().prepare(newAgent(), { kind: 'empty' }, never)
    for (const dir of [dirs.root, dirs.workspace, dirs.home]) expect(statSync(dir).mode & 0o777).toBe(0o700)
    expect(readdirSync(dirs.workspace)).toEqual([])
  })

  it('is listed until it is removed, read-only directories included', async () => {
    const workspaces = workspacesOf()
    const agent = newAgent()
    const { workspace } = await workspaces.prepare(agent, { kind: 'empty' }, never)
    mkdirSync(path.join(workspace, 'a/b'), { recursive: true })
    writeFileSync(path.join(workspace, 'a/b/file'), '')
    symlinkSync(rig.dirs.workspace, path.join(workspace, 'a/link'))
    chmodSync(path.join(workspace, 'a/b'), 0o500)
    chmodSync(path.join(workspace, 'a'), 0)
    expect(await workspaces.list()).toContain(agent)
    await workspaces.remove(agent)
    await workspaces.remove(agent)
    expect(await workspaces.list()).not.toContain(agent)
    expect(existsSync(rig.dirs.workspace)).toBe(true)
  })

  it('that was half-made when the node ended is listed, and removed with its agent', async () => {
    const workspaces = workspacesOf()
    const agent = newAgent()
    mkdirSync(path.join(rig.dataDir, 'agents', `.new-${agent}.x/workspace`), { recursive: true })
    expect(await workspaces.list()).toContain(agent)
    await workspaces.remove(agent)
    expect(await workspaces.list()).not.toContain(agent)
  })

  it('that is prepared again starts over', async () => {
    const workspaces = workspacesOf()
    const agent = newAgent()
    const { workspace } = await workspaces.prepare(
      agent,
      { kind: 'tar', stream: streamOf(tarOf({ path: 'old' })) },
      never,
    )
    await workspaces.prepare(agent, { kind: 'tar', stream: streamOf(tarOf({ path: 'new' })) }, never)
    expect(readdirSync(workspace)).toEqual(['new'])
    expect(agentFiles().filter((name) => name.includes(agent))).toEqual([agent])
  })

  it.each(['', '..', 'ag_1', '../../etc', 'ag_0192f0c1-2345-7abc-8def-0123456789ab/..'])(
    'is never made for %j',
    async (agent) => {
      await expect(workspacesOf().prepare(agent, { kind: 'empty' }, never)).rejects.toMatchObject({
        code: 'INVALID_ARGUMENT',
      })
      expect(() => workspacesOf().dirs(agent)).toThrow('is not the id of an agent')
    },
  )
})

describe('a tar', () => {
  it('is unpacked with its modes, links and times', async () => {
    const source = path.join(rig.dataDir, 'source')
    mkdirSync(path.join(source, 'deep/dir'), { recursive: true })
    writeFileSync(path.join(source, 'deep/dir/run'), '#!/bin/sh\n', { mode: 0o755 })
    writeFileSync(path.join(source, 'ü'.repeat(100)), 'long name')
    symlinkSync('../ü', path.join(source, 'deep/up'))
    symlinkSync('dir/run', path.join(source, 'deep/down'))
    const packed = create({ cwd: source }, ['.'])
    const { workspace } = await workspacesOf().prepare(
      newAgent(),
      { kind: 'tar', stream: packed as AsyncIterable<Uint8Array> },
      never,
    )
    expect(statSync(path.join(workspace, 'deep/dir/run')).mode & 0o777).toBe(0o755)
    expect(readFileSync(path.join(workspace, 'deep/down'), 'utf8')).toBe('#!/bin/sh\n')
    expect(readFileSync(path.join(workspace, 'ü'.repeat(100)), 'utf8')).toBe('long name')
    expect(statSync(path.join(workspace, 'deep/dir/run')).mtimeMs).toBeCloseTo(
      statSync(path.join(source, 'deep/dir/run')).mtimeMs,
      -4,
    )
  })

  it('may come in the smallest pieces', async () => {
    const bytes = tarOf({ path: 'a', body: 'x'.repeat(700) }, { path: 'b', body: 'y' })
    const pieces = Array.from({ length: Math.ceil(bytes.length / 100) }, (_, index) =>
      bytes.subarray(index * 100, index * 100 + 100),
    )
    const { workspace } = await workspacesOf().prepare(newAgent(), { kind: 'tar', stream: streamOf(...pieces) }, never)
    expect(readFileSync(path.join(workspace, 'a'), 'utf8')).toBe('x'.repeat(700))
    expect(readFileSync(path.join(workspace, 'b'), 'utf8')).toBe('y')
  })

  it('that is empty gives an empty workspace', async () => {
    const { workspace } = await workspacesOf().prepare(newAgent(), { kind: 'tar', stream: streamOf(tarOf()) }, never)
    expect(readdirSync(workspace)).toEqual([])
  })

  it('gives nobody the rights of another', async () => {
    const { workspace } = await workspacesOf().prepare(
      newAgent(),
      {
        kind: 'tar',
        stream: streamOf(tarOf({ path: 'su', mode: 0o6755 }, { path: 'd', type: 'Directory', mode: 0o7777 })),
      },
      never,
    )
    expect(statSync(path.join(workspace, 'su')).mode & 0o7000).toBe(0)
    expect(statSync(path.join(workspace, 'd')).mode & 0o7000).toBe(0)
  })

  const body = 'written outside'
  it.each<[string, Buffer, RegExp]>([
    ['an absolute path', tarOf({ path: '/tmp/godel-evil', body }), /absolute/],
    ['a parent directory', tarOf({ path: '../evil', body }), /leads out/],
    ['a parent directory in the middle', tarOf({ path: 'a/../../evil', body }), /leads out/],
    ['a parent directory by a long name', paxOf({ path: '../evil' }, { path: 'fine', body }), /leads out/],
    ['a parent directory before a NUL', paxOf({ path: '../evil\0fine' }, { path: 'fine', body }), /leads out/],
    ['no end', tarOf({ path: 'a', body }).subarray(0, -1_024), /end is missing/],
    ['an absolute symbolic link', tarOf({ path: 'l', type: 'SymbolicLink', linkpath: '/etc/passwd' }), /outside/],
    ['a symbolic link that climbs out', tarOf({ path: 'a/l', type: 'SymbolicLink', linkpath: '../../x' }), /outside/],
    [
      'a symbolic link that climbs after a name',
      tarOf(
        { path: 'd', type: 'SymbolicLink', linkpath: '.' },
        { path: 'x', type: 'SymbolicLink', linkpath: 'd/e/../..' },
      ),
      /outside/,
    ],
    [
      'writing through a symbolic link',
      tarOf(
        { path: 'd/', type: 'Directory' },
        { path: 'l', type: 'SymbolicLink', linkpath: 'd' },
        { path: 'l/file', body },
      ),
      /symlink|symbolic/i,
    ],
    ['a hard link out', tarOf({ path: 'l', type: 'Link', linkpath: '../../x' }), /outside/],
    ['an absolute hard link', tarOf({ path: 'l', type: 'Link', linkpath: '/etc/passwd' }), /outside/],
    ['a device', tarOf({ path: 'null', type: 'CharacterDevice' }), /CharacterDevice/],
    ['a block device', tarOf({ path: 'sda', type: 'BlockDevice' }), /BlockDevice/],
    ['a FIFO', tarOf({ path: 'fifo', type: 'FIFO' }), /FIFO/],
    ['a broken header', Buffer.concat([Buffer.alloc(512, 'x'), Buffer.alloc(1024)]), /not sound/],
    ['an end in the middle', tarOf({ path: 'a', body: 'x'.repeat(2_000) }).subarray(0, 1_024), /not sound/],
    ['a file where a directory must be', tarOf({ path: 'a', body }, { path: 'a/b', body }), /not sound/],
    ['compression', Buffer.from([0x1f, 0x8b, 8, 0]), /compressed/],
    ['nothing at all that is a tar', Buffer.from('hello'), /not sound/],
  ])('with %s is refused whole', async (_what, bytes, words) => {
    const error = await refusalOf({
      kind: 'tar',
      stream: streamOf(tarOf({ path: 'before' }).subarray(0, -1024), bytes),
    })
    const alone = await refusalOf({ kind: 'tar', stream: streamOf(bytes) })
    for (const thrown of words.source === 'compressed' ? [alone] : [error, alone])
      expect(thrown).toMatchObject({ code: 'WORKSPACE_FAILED', message: expect.stringMatching(words) as string })
    expect(existsSync('/tmp/godel-evil')).toBe(false)
  })

  it('is bounded in entries, bytes and depth', async () => {
    const many = tarOf(...Array.from({ length: 11 }, (_, index) => ({ path: `f${index}` })))
    expect(await refusalOf({ kind: 'tar', stream: streamOf(many) }, { workspaceEntriesMax: 10 })).toMatchObject({
      code: 'WORKSPACE_FAILED',
    })
    const large = tarOf({ path: 'f', body: 'x'.repeat(2_000) })
    expect(await refusalOf({ kind: 'tar', stream: streamOf(large) }, { workspaceBytesMax: 1_000 })).toMatchObject({
      code: 'TOO_LARGE',
    })
    const claimed = tarOf({ path: 'f', size: 8 * 1024 ** 3 - 1 })
    expect(await refusalOf({ kind: 'tar', stream: streamOf(claimed) })).toMatchObject({ code: 'TOO_LARGE' })
    const deep = tarOf({ path: 'a/'.repeat(30) + 'f' })
    expect(await refusalOf({ kind: 'tar', stream: streamOf(deep) }, { workspaceDepthMax: 20 })).toMatchObject({
      code: 'WORKSPACE_FAILED',
    })
  })

  it('that never ends is left when it is cancelled', async () => {
    const abort = new AbortController()
    let released = false
    async function* endless() {
      try {
        yield tarOf({ path: 'a' }).subarray(0, 512)
        queueMicrotask(() => abort.abort())
        for (;;) yield await new Promise<Uint8Array>((resolve) => setTimeout(() => resolve(Buffer.alloc(0)), 10))
      } finally {
        released = true
      }
    }
    await expect(
      workspacesOf().prepare(newAgent(), { kind: 'tar', stream: endless() }, abort.signal),
    ).rejects.toMatchObject({ code: 'CANCELLED' })
    await waitFor('the source to be let go', () => released)
  })

  it('that breaks off is refused with the reason', async () => {
    async function* broken() {
      yield tarOf({ path: 'a' }).subarray(0, 512)
      throw new Error('connection lost')
    }
    expect(await refusalOf({ kind: 'tar', stream: broken() })).toMatchObject({
      code: 'WORKSPACE_FAILED',
      message: expect.stringContaining('connection lost') as string,
    })
  })
})

describe('a git repository', () => {
  let web: Server
  let daemon: ChildProcess
  let webUrl: string
  let daemonUrl: string

  beforeAll(async () => {
    const repositories = path.join(rig.dataDir, 'repositories')
    mkdirSync(path.join(repositories, 'work'), { recursive: true })
    const work = path.join(repositories, 'work')
    await runGit(work, 'init', '-q', '-b', 'main')
    writeFileSync(path.join(work, 'README'), 'from git\n')
    await runGit(work, 'add', '.')
    await runGit(work, 'commit', '-q', '-m', 'first')
    await runGit(repositories, 'clone', '-q', '--bare', work, 'bare.git')
    await runGit(path.join(repositories, 'bare.git'), 'update-server-info')
    web = createServer((request, response) => {
      const file = path.join(repositories, new URL(request.url!, 'http://h').pathname)
      if (existsSync(file) && statSync(file).isFile()) response.end(readFileSync(file))
      else response.writeHead(404).end()
    }).listen(0, '127.0.0.1')
    await new Promise((resolve) => web.once('listening', resolve))
    webUrl = `http://127.0.0.1:${(web.address() as AddressInfo).port}/bare.git`
    const port = await freePort()
    daemon = spawn(
      'git',
      [
        'daemon',
        '--export-all',
        `--base-path=${repositories}`,
        '--listen=127.0.0.1',
        `--port=${port}`,
        '--reuseaddr',
        '--informative-errors',
      ],
      { stdio: 'ignore' },
    )
    daemonUrl = `git://127.0.0.1:${port}/bare.git`
    await waitFor('git daemon', () => canConnect(port))
  })
  afterAll(() => {
    web.close()
    daemon.kill()
  })

  it.each(levels)('is cloned inside the sandbox, at level %s', async (level) => {
    for (const url of [webUrl, daemonUrl]) {
      const { workspace } = await workspacesOf({}, level).prepare(newAgent(), { kind: 'git', url }, never)
      expect(readFileSync(path.join(workspace, 'README'), 'utf8')).toBe('from git\n')
      expect((await runGit(workspace, 'log', '--format=%s')).trim()).toBe('first')
    }
  })

  it.each([
    'file:///etc',
    '/etc',
    '.',
    '../x',
    'ext::sh -c id',
    '--upload-pack=id',
    'ftp://h/x',
    'fd::17',
    'http://',
    'a b',
    '',
  ])('at %j is refused before git is asked', async (url) => {
    expect(await refusalOf({ kind: 'git', url })).toMatchObject({
      code: 'WORKSPACE_FAILED',
      message: expect.stringContaining('not a git URL') as string,
    })
  })

  it('that is not there is refused with the words of git, and without the password of its address', async () => {
    const url = webUrl.replace('http://', 'http://me:hunter2@').replace('bare', 'none')
    const error = (await refusalOf({ kind: 'git', url })) as Error
    expect(error).toMatchObject({
      code: 'WORKSPACE_FAILED',
      message: expect.stringMatching(/not found|none\.git/) as string,
    })
    expect(error.message).not.toContain('hunter2')
  })

  it('that does not answer is given up, and nothing of it goes on', async () => {
    const silent = createTcpServer(() => {}).listen(0, '127.0.0.1')
    await new Promise((resolve) => silent.once('listening', resolve))
    const url = `git://127.0.0.1:${(silent.address() as AddressInfo).port}/x`
    const error = await refusalOf({ kind: 'git', url }, { gitCloneTimeoutMs: 1_000 })
    expect(error).toMatchObject({
      code: 'WORKSPACE_FAILED',
      message: expect.stringContaining('more than 1000 ms') as string,
    })
    expect(processesWith(`GODEL_NODE=${rig.nodeMark}`)).toEqual([])
    silent.close()
  })

  it('that is too large is not kept', async () => {
    expect(await refusalOf({ kind: 'git', url: webUrl }, { workspaceBytesMax: 100 })).toMatchObject({
      code: 'TOO_LARGE',
    })
  })
})

const freePort = async (): Promise<number> => {
  const server = createTcpServer().listen(0, '127.0.0.1')
  await new Promise((resolve) => server.once('listening', resolve))
  const { port } = server.address() as AddressInfo
  await new Promise((resolve) => server.close(resolve))
  return port
}

const canConnect = (port: number): Promise<boolean> =>
  new Promise((resolve) => {
    const socket = connect(port, '127.0.0.1', () => {
      socket.destroy()
      resolve(true)
    }).on('error', () => resolve(false))
  })
