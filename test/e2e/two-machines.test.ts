/** The main job of the program on three real processes: join by token, spawn where it fits, watch it as if it were local. */
import { once } from 'node:events'
import { mkdir, writeFile } from 'node:fs/promises'
import { join } from 'node:path'
import { createInterface } from 'node:readline'
import { afterAll, beforeAll, describe, expect, test } from 'vitest'
import { sandboxWorks } from '../support/isolation.ts'
import { createTestBed, openCli, type TestNode } from '../support/nodes.ts'
import { runGit } from '../support/git.ts'
import { waitFor } from '../support/wait.ts'

const bed = createTestBed()
let plain: TestNode
let other: TestNode
let gpu: TestNode

beforeAll(async () => {
  const specs = [
    { name: 'plain', args: ['--capacity', '4'] },
    { name: 'other', args: ['--capacity', '4', '--region', 'eu-west'] },
    { name: 'gpu-box', args: ['--capacity', '4', '--gpu', '1', '--gpu-types', 'nvidia-a100'] },
  ]
  // Admins act on the agents of all.
  ;[plain, other, gpu] = (await bed.realm(specs, 'admin')) as [TestNode, TestNode, TestNode]
  await waitFor('every node sees three', async () => {
    for (const node of [plain, other, gpu]) {
      const { peers } = await node.json(['peers'])
      if (peers.filter((peer: { state: string }) => peer.state === 'alive').length !== 3) return false
    }
    return true
  })
}, 60_000)
afterAll(bed.dispose, 30_000)

const spawned = async (node: TestNode, args: string[] = []) => node.json(['agent', 'spawn', ...args])

describe('an agent anywhere in the realm', () => {
  test('a spawn with --gpu from the plain node lands on the GPU node', async () => {
    const agent = await spawned(plain, ['--gpu', '--label', 'task=train'])
    expect(agent).toMatchObject({ hostName: 'gpu-box', status: 'idle', labels: { task: 'train' }, epoch: 1 })
    expect(agent.owner).toBe(plain.ready.peerId)
    const { decisions } = await plain.json(['routes'])
    expect(decisions[0]).toMatchObject({ pick: gpu.ready.peerId, level: 'realm' })
    const reasons = decisions[0].considered.find((entry: { node: string }) => entry.node === 'other').rejected
    expect(reasons.join()).toMatch(/GPU/)
  })

  test('it is listed, shown, run in and killed from any node, and forgotten by all of them then', async () => {
    const agent = await spawned(plain, ['--node', 'other', '--role', 'builder'])
    for (const node of [plain, other, gpu]) {
      const { agents } = await node.json(['agent', 'list', '--node', 'other'])
      expect(agents.map((entry: { id: string }) => entry.id)).toContain(agent.id)
      expect(await node.json(['agent', 'show', agent.id])).toMatchObject({
        id: agent.id,
        hostName: 'other',
        role: 'builder',
      })
      const ran = await node.cli(['agent', 'exec', agent.id, '--', 'sh', '-c', 'echo out; echo err >&2; exit 7'])
      expect(ran).toMatchObject({ code: 7, stdout: 'out\n', stderr: 'err\n' })
    }
    await gpu.json(['agent', 'kill', agent.id])
    const after = await plain.cli(['agent', 'exec', agent.id, '--json', '--', 'true'])
    expect(after.code).not.toBe(0)
    expect(after.stderr).toContain('AGENT_NOT_FOUND')
    const { agents } = await other.json(['agent', 'list'])
    expect(agents.map((entry: { id: string }) => entry.id)).not.toContain(agent.id)
  })

  test('a real build streams line by line to the other node, with its exit code', async () => {
    const repository = await sampleRepository(await bed.directory('repository'))
    const agent = await spawned(plain, ['--gpu', '--workspace', repository])
    const clone = await plain.cli([
      'agent',
      'exec',
      agent.id,
      '--',
      'git',
      'clone',
      '-q',
      '/workspace/origin.git',
      'work',
    ])
    expect(clone.stderr + clone.stdout).toBe('')
    expect(clone.code).toBe(0)

    const exec = openCli(['agent', 'exec', agent.id, '--data-dir', plain.dataDir, '--cwd', 'work', '--', 'make'])
    const closed = once(exec, 'close')
    const lines: string[] = []
    const reader = createInterface({ input: exec.stdout! })
    reader.on('line', (line) => lines.push(line))
    await waitFor('the first line, before the command has ended', () => lines.includes('step one'))
    expect(exec.exitCode).toBeNull()
    // The build goes on only when it is told to, from the same workspace.
    const go = await gpu.cli(['agent', 'exec', agent.id, '--cwd', 'work', '--', 'touch', 'go'])
    expect(go.code).toBe(0)
    const [code] = await closed
    expect(lines.filter((line) => line.startsWith('step'))).toEqual(['step one', 'step two'])
    expect(code).toBe(2) // make's own code for a failed recipe
  })

  test('input goes through to the command and bytes come back untouched', async () => {
    const agent = await spawned(other, ['--gpu'])
    const bytes = Buffer.from(Array.from({ length: 300_000 }, (_, index) => index % 251))
    const echoed = await other.cli(['agent', 'exec', agent.id, '--', 'sha256sum'], { input: bytes })
    const { createHash } = await import('node:crypto')
    expect(echoed.stdout).toContain(createHash('sha256').update(bytes).digest('hex'))
  })

  test('a signal that ended the command is 128 and its number', async () => {
    const agent = await spawned(plain)
    const ran = await plain.cli(['agent', 'exec', agent.id, '--', 'sh', '-c', 'kill -TERM $$'])
    expect(ran.code).toBe(143)
  })

  test('environment, directory and timeout of a command are honoured', async () => {
    const agent = await spawned(plain, ['--node', 'other'])
    const ran = await plain.cli([
      'agent',
      'exec',
      agent.id,
      '--env',
      'GREETING=hello',
      '--',
      'sh',
      '-c',
      'echo $GREETING; pwd',
    ])
    expect(ran.stdout).toMatch(sandboxWorks ? /^hello\n\/workspace\n$/ : /^hello\n\/.*workspace\n$/)
    const late = await plain.cli(['agent', 'exec', agent.id, '--timeout', '1', '--', 'sleep', '60'])
    expect(late.code).toBe(143)
    expect(late.stderr).toMatch(/timeout/i)
  })
})

describe('refusals', () => {
  test('a GPU of a type that nobody has is refused, with what each candidate lacked', async () => {
    const refused = await plain.cli(['agent', 'spawn', '--gpu-type', 'nvidia-h100', '--json'])
    expect(refused.code).not.toBe(0)
    const problem = JSON.parse(refused.stderr)
    expect(problem.code).toBe('NO_CANDIDATE')
    expect(problem.considered.map((entry: { node: string }) => entry.node).toSorted()).toEqual([
      'gpu-box',
      'other',
      'plain',
    ])
    for (const entry of problem.considered) expect(entry.reasons.join()).toMatch(/GPU/)
  })

  test('why-not names the reason', async () => {
    const why = await plain.cli(['why-not', 'other', '--gpu'])
    expect(why.stdout).toMatch(/other/)
    expect(why.stdout).toMatch(/GPU/)
  })
})

const sampleRepository = async (directory: string): Promise<string> => {
  const source = join(directory, 'source')
  await mkdir(source)
  const recipe = 'all:\n\t@echo step one\n\t@while ! test -e go; do sleep 0.05; done\n\t@echo step two\n\t@exit 3\n'
  await writeFile(join(source, 'Makefile'), recipe)
  await runGit(source, 'init', '-q')
  await runGit(source, 'add', '.')
  await runGit(source, 'commit', '-q', '-m', 'a build')
  const upload = join(directory, 'upload')
  await mkdir(upload)
  await runGit(directory, 'clone', '-q', '--bare', source, join(upload, 'origin.git'))
  return upload
}
