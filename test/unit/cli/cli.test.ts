/** The real program against the real API over a fake node. */
import { once } from 'node:events'
import { existsSync, mkdtempSync, rmSync, symlinkSync, writeFileSync } from 'node:fs'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { fileURLToPath } from 'node:url'
import { afterAll, beforeAll, describe, expect, test } from 'vitest'
import { mintId } from '../../../src/base/ids.ts'
import { apiKey, startTestApi, type TestApi } from '../../fakes/api-server.ts'
import { endOf, openCli, runCli, type CliOptions } from '../../fakes/cli.ts'
import { waitFor } from '../../support/wait.ts'

let server: TestApi
let agent: string
const scratch = mkdtempSync(join(tmpdir(), 'godel-cli-'))
const nowhere = { GODEL_DATA_DIR: join(scratch, 'nothing') }
const env = () => ({ GODEL_URL: server.api.url, GODEL_API_KEY: apiKey })
beforeAll(async () => {
  server = await startTestApi()
  agent = server.node.addAgent({ labels: { note: 'a\u001b]0;title\u0007b\u009b31m' } }).id
})
afterAll(async () => {
  await server.api.close()
  rmSync(scratch, { recursive: true })
})

const run = (args: string[], options: CliOptions = {}) =>
  runCli(args, { ...options, env: { ...env(), ...options.env } })
const exec = (args: string[], options: CliOptions = {}) => run(['agent', 'exec', agent, '--', ...args], options)
const lastExec = () => server.node.execs.at(-1)!

describe('agent exec stands in a pipeline', () => {
  test('output, errors and exit code come through', async () => {
    const output = await exec(['both', '7'])
    expect(output).toMatchObject({ code: 7, stderr: 'err\n' })
    expect(output.stdout.toString()).toBe('out\n')
  })

  test('bytes are not touched', async () => {
    expect([...(await exec(['bytes'])).stdout]).toEqual(Array.from({ length: 256 }, (_, index) => index))
  })

  test('input goes through, all of it, and its end', async () => {
    const input = Buffer.from(Array.from({ length: 1_000_000 }, (_, index) => index % 253))
    const output = await exec(['cat'], { input })
    expect(output).toMatchObject({ code: 0, stderr: '' })
    expect(output.stdout.equals(input)).toBe(true)
  })

  test('it ends when the command does, though its input has not', async () => {
    const child = openCli(['agent', 'exec', agent, '--', 'echo', 'done'], { env: env() })
    expect(await endOf(child)).toMatchObject({ code: 0, stderr: '' })
  })

  test.each([
    ['SIGTERM', 143],
    ['SIGKILL', 137],
    ['SIGSEGV', 139],
  ])('a command that %s ended is %d', async (signal, code) => {
    expect((await exec(['signal', signal])).code).toBe(code)
  })

  test('a command that ran into its timeout says so', async () => {
    const output = await run(['agent', 'exec', agent, '--timeout', '5', '--', 'timeout'])
    expect(output).toMatchObject({ code: 143, stderr: expect.stringMatching(/timeout of 5 s/) })
  })

  test('options of the command stay its own, and those before it are passed on', async () => {
    await run([
      'agent',
      'exec',
      agent,
      '--cwd',
      'src',
      '--env',
      'A=b=c',
      '--env',
      'D=',
      '--',
      'echo',
      '--json',
      '-h',
      '--',
      '--cwd',
    ])
    expect(lastExec().spec).toMatchObject({
      command: 'echo',
      args: ['--json', '-h', '--', '--cwd'],
      cwd: 'src',
      env: { A: 'b=c', D: '' },
      stdin: true,
    })
  })

  test('what it says comes before it ends, and Ctrl-C ends it there', async () => {
    const child = openCli(['agent', 'exec', agent, '--', 'hang'], { env: env() })
    const [first] = (await once(child.stdout!, 'data')) as [Buffer]
    expect(first.toString()).toBe('up\n')
    const ended = endOf(child)
    child.kill('SIGINT')
    expect(await ended).toMatchObject({ code: 130, stderr: '' })
    await waitFor('the command has ended', () => lastExec().cancelled && lastExec().ended)
  })

  test('a reader that has had enough ends the command quietly', async () => {
    const child = openCli(['agent', 'exec', agent, '--', 'flood', '100000'], { env: env() })
    await once(child.stdout!, 'data')
    child.stdout!.destroy()
    const [code] = (await once(child, 'exit')) as [number]
    expect(code).toBe(141)
    await waitFor('the command has ended', () => lastExec().cancelled && lastExec().ended)
  })

  test('a reader that is slow slows the command', async () => {
    const child = openCli(['agent', 'exec', agent, '--', 'flood', '2000'], { env: env() })
    const record = await waitFor('it runs', () => lastExec().chunks > 0 && lastExec())
    let seen = -1
    const standsStill = () => {
      const still = record.chunks === seen
      seen = record.chunks
      return still
    }
    await waitFor('the command stands still', standsStill, { everyMs: 200 })
    expect(record.chunks).toBeLessThan(1_000)
    let bytes = 0
    for await (const part of child.stdout!) bytes += (part as Buffer).byteLength
    expect(bytes).toBe(2_000 * 64 * 1024)
  })

  test('a failure after output is an error after output', async () => {
    const output = await exec(['break'])
    expect(output.stdout.toString()).toBe('some\n')
    expect(output).toMatchObject({ code: 1, stderr: expect.stringMatching(/^error: .*the cable was cut/) })
  })
})

describe('agents', () => {
  test('are started with what the options say', async () => {
    const words =
      '--role builder --model m --label a=b --label c=d --gpu-type h100 --region eu --node two --timeout 2h --isolation bwrap'
    const output = await run(['agent', 'spawn', ...words.split(' '), '--json'])
    expect(JSON.parse(output.stdout.toString())).toMatchObject({ role: 'builder', labels: { a: 'b', c: 'd' } })
    expect(server.node.spawned.at(-1)).toEqual({
      id: expect.stringMatching(/^ag_/),
      role: 'builder',
      model: 'm',
      labels: { a: 'b', c: 'd' },
      timeoutSeconds: 7_200,
      requirements: { gpu: true, gpuType: 'h100', region: 'eu', node: 'two', isolation: 'bwrap' },
    })
  })

  test('take the files of a directory or of a repository', async () => {
    writeFileSync(join(scratch, 'file'), 'content')
    await run(['agent', 'spawn', '--workspace', scratch])
    expect(server.node.spawned.at(-1)!.workspace).toEqual({ upload: expect.stringMatching(/^up_/) })
    expect(server.node.uploads.at(-1)!.byteLength).toBeGreaterThan(512)
    await run(['agent', 'spawn', '--workspace', 'git@example.org:team/repository.git'])
    expect(server.node.spawned.at(-1)!.workspace).toEqual({ git: 'git@example.org:team/repository.git' })
    const refused = await run(['agent', 'spawn', '--workspace', './nothing'])
    expect(refused).toMatchObject({
      code: 2,
      stderr: expect.stringContaining('--workspace ./nothing is neither a directory nor a git URL'),
    })
  })

  test('print their id alone on stdout, for scripts', async () => {
    const output = await run(['agent', 'spawn'])
    expect(output.stdout.toString()).toMatch(/^ag_[0-9a-f-]+\n$/)
    const killed = await run(['agent', 'kill', output.stdout.toString().trim(), '--purge'])
    expect(killed).toMatchObject({ code: 0, stderr: expect.stringContaining('its workspace is removed') })
    expect(server.node.changes.at(-1)).toBe('purge')
    const ended = server.node.addAgent({ status: 'stopped' }).id
    expect((await run(['agent', 'kill', ended])).stderr).toBe('It had ended already.\n')
  })

  test('are listed and shown, with the nodes that did not answer', async () => {
    const list = await run(['agent', 'list', '--status', 'idle'])
    expect(list.stdout.toString()).toMatch(/^ID +ROLE +STATUS/)
    expect(list.stdout.toString()).toContain(agent)
    expect(list.stderr).toMatch(/^warning: two did not answer \(silent\)/)
    const json = JSON.parse((await run(['agent', 'list', '--label', 'no=such', '--json'])).stdout.toString())
    expect(json).toEqual({ agents: [], unanswered: [expect.objectContaining({ node: 'two' })] })
    const none = await run(['agent', 'list', '--node', 'nobody'])
    expect(none).toMatchObject({ code: 0, stderr: expect.stringMatching(/^No agents\.\nwarning: .* no node nobody/) })
    expect(JSON.parse((await run(['agent', 'show', agent, '--json'])).stdout.toString())).toMatchObject({ id: agent })
  })
})

describe('terminals', () => {
  test('are not moved by text from elsewhere', async () => {
    const shown = [
      ['agent', 'list'],
      ['agent', 'show', agent],
      ['agent', 'show', agent, '--json'],
      ['peers'],
      ['peers', '--json'],
    ]
    for (const words of shown) {
      const { stdout } = await run(words)
      expect(stdout.toString().replaceAll('\n', ''), words.join(' ')).not.toMatch(/[\u0000-\u001f\u007f-\u009f]/)
    }
    expect((await run(['agent', 'show', agent])).stdout.toString()).toContain('note=a\\x1b]0;title\\x07b\\x9b31m')
    const json = JSON.parse((await run(['agent', 'show', agent, '--json'])).stdout.toString())
    expect(json.labels.note).toBe('a\u001b]0;title\u0007b\u009b31m')
  })

  test('may be closed on a list without a word', async () => {
    const child = openCli(['peers'], { env: env() })
    child.stdout!.destroy()
    let stderr = ''
    child.stderr!.on('data', (part: Buffer) => (stderr += part.toString()))
    const [code] = (await once(child, 'close')) as [number]
    expect({ code, stderr }).toEqual({ code: 0, stderr: '' })
  })
})

describe('the node and its realm', () => {
  test('are shown', async () => {
    expect((await run(['status'])).stdout.toString()).toMatch(/^node +one \(12D3/)
    expect(JSON.parse((await run(['status', '--json'])).stdout.toString())).toMatchObject({ name: 'one' })
    expect(JSON.parse((await run(['peers', '--json'])).stdout.toString()).peers).toHaveLength(1)
    expect((await run(['realm', 'show'])).stdout.toString()).toMatch(/^realm +lab\n/)
  })

  test('an invitation is the token alone where no terminal is, so that a file of it can be joined with', async () => {
    const output = await run(['realm', 'invite', '--uses', '3', '--ttl', '2d', '--role', 'admin'])
    expect(output.stdout.toString()).toBe('GDL1.token\n')
    expect(output.stderr).toMatch(/^For 3 hosts as admin, until /)
    const json = JSON.parse((await run(['realm', 'invite', '--ttl', '30m', '--json'])).stdout.toString())
    expect(json).toEqual({ token: 'GDL1.token', role: 'member', uses: 1, expiresAtMs: 1_800_001_800_000 })
  })

  test('decisions are listed and followed', async () => {
    server.node.decide('rq_1')
    expect(JSON.parse((await run(['routes', '--json'])).stdout.toString()).decisions[0]).toMatchObject({
      requestId: 'rq_1',
    })
    expect((await run(['routes'])).stdout.toString()).toMatch(/rq_1 +process +two +realm +strategy +1 of 2/)
    const child = openCli(['routes', '--follow', '--json'], { env: env() })
    await waitFor('it follows', () => server.node.followers() === 1)
    server.node.decide('rq_2')
    const [line] = (await once(child.stdout!, 'data')) as [Buffer]
    expect(JSON.parse(line.toString())).toMatchObject({ requestId: 'rq_2' })
    child.kill('SIGINT')
    await once(child, 'close')
  })

  test('why-not tells the reason', async () => {
    expect((await run(['why-not', 'one', '--gpu'])).stdout.toString()).toMatch(/^one cannot take it:\n  no GPU\n/)
    expect((await run(['why-not', 'two'])).stdout.toString()).toMatch(/^two would be chosen:\n/)
    expect(JSON.parse((await run(['why-not', 'one', '--json'])).stdout.toString())).toMatchObject({
      eligible: false,
      reasons: ['no GPU'],
    })
    expect(await run(['why-not', 'nobody', '--json'])).toMatchObject({
      code: 1,
      stderr: expect.stringContaining('"NOT_FOUND"'),
    })
  })
})

describe('errors', () => {
  test('say what to do, for people and for programs', async () => {
    const missing = mintId('ag', 1)
    expect(await run(['agent', 'show', missing])).toMatchObject({
      code: 1,
      stderr: `error: there is no agent ${missing} in the realm. "godel-node agent list" shows those that there are.\n`,
    })
    const json = await run(['agent', 'exec', missing, '--json', '--', 'true'])
    expect(json.code).toBe(1)
    expect(json.stderr.split('\n')).toHaveLength(2)
    expect(JSON.parse(json.stderr)).toMatchObject({ code: 'AGENT_NOT_FOUND', status: 404, agent: missing })
    const none = await run(['agent', 'spawn', '--gpu-type', 'none-such', '--json'])
    expect(JSON.parse(none.stderr)).toMatchObject({
      code: 'NO_CANDIDATE',
      considered: [{ node: 'one', reasons: ['no GPU'] }],
    })
  })

  test('no node is no mystery', async () => {
    const output = await runCli(['status'], { env: nowhere })
    expect(output).toMatchObject({
      code: 1,
      stderr: expect.stringContaining('Start one with "godel-node start --realm NAME"'),
    })
  })

  test.each([
    [['bogus'], /unknown command 'bogus'/],
    [['agent', 'bogus'], /unknown command 'bogus'/],
    [['status', '--bogus'], /unknown option '--bogus'/],
    [['status', 'extra'], /too many arguments/],
    [['agent', 'exec'], /missing required argument 'id'/],
    [['agent', 'exec', 'x', '--timeout', 'soon', '--', 'y'], /--timeout must be a time/],
    [['realm', 'invite', '--uses', '0'], /--uses must be a whole number from 1 to 10000/],
    [['agent', 'list', '--status', 'alive'], /--status must be one of starting/],
    [['agent', 'spawn', '--workspace', ''], /--workspace is empty/],
    [['agent', 'show', 'ag_1'], /id is not an agent id such as ag_0192/],
  ])('%j is wrong usage', async (words, message) => {
    const output = await run(words)
    expect(output).toMatchObject({ code: 2, stderr: expect.stringMatching(message) })
    expect(output.stdout.toString()).toBe('')
    const json = await run([...words.slice(0, 2), '--json', ...words.slice(2)])
    expect(JSON.parse(json.stderr)).toMatchObject({ code: 'INVALID_ARGUMENT' })
  })
})

describe('help', () => {
  test('is there for every command, with examples', async () => {
    const words = [
      'start',
      'status',
      'peers',
      'doctor',
      'realm invite',
      'realm show',
      'agent spawn',
      'agent list',
      'agent show',
    ]
    for (const command of [...words, 'agent kill', 'agent exec', 'routes', 'why-not']) {
      const output = await runCli([...command.split(' '), '--help'], { env: nowhere })
      expect(output.code, command).toBe(0)
      const help = output.stdout.toString()
      expect(help, command).toContain(`Usage: godel-node ${command} `)
      expect(help, command).toContain('--json')
      expect(help, command).toContain('--data-dir')
      expect(help, command).toContain(`Examples:\n  $ godel-node ${command}`)
    }
    expect((await runCli(['help', 'start'])).stdout.toString()).toContain('--realm <name>')
    expect((await runCli(['help', 'agent', 'exec'])).stdout.toString()).toContain('<id> -- <command> [args...]')
  })

  test('names the exit codes, and is what one gets for nothing', async () => {
    const asked = await runCli(['--help'])
    expect(asked).toMatchObject({ code: 0, stderr: '' })
    expect(asked.stdout.toString()).toMatch(/Exit codes:\n  0  done/)
    for (const group of [[], ['agent'], ['realm']])
      expect((await runCli([...group, '--help'])).stdout.toString()).toContain('Examples:\n  $ godel-node ')
    expect((await runCli([])).code).toBe(2)
    expect((await runCli(['agent'])).code).toBe(2)
  })

  test.each([
    ['--listen', 'nonsense', /--listen nonsense is no address such as/],
    ['--listen', '/ip4/127.0.0.1/tcp/99999', /--listen .* is no address/],
    ['--listen', '/ip4/300.0.0.1/tcp/0', /--listen .* is no address/],
    ['--listen', '/ip4/127.0.0.1/udp/7374', /--listen .* is no address/],
    ['--announce', 'gpu-box:7374', /--announce gpu-box:7374 is no multiaddr/],
    ['--websocket', '99999', /--websocket must be a whole number from 0 to 65535/],
    ['--accept-peer', 'nonsense', /--accept-peer nonsense is neither a PeerId nor/],
    ['--accept-peer', `/ip4/nowhere/tcp/1/p2p/12D3KooW${'A'.repeat(44)}`, /--accept-peer .* is neither/],
    ['--bootstrap', '/ip4/127.0.0.1/tcp/1', /--bootstrap .* that ends in \/p2p\/PEER/],
    ['--label', `x=${'y'.repeat(300)}`, /--label/],
  ])('%s %s is wrong usage, said before anything is made', async (option, value, said) => {
    const dataDir = join(scratch, 'never-made')
    const output = await runCli(['start', '--data-dir', dataDir, option, value])
    expect(output.code).toBe(2)
    expect(output.stderr).toMatch(said)
    expect(existsSync(dataDir)).toBe(false)
  })

  test('uses the name that the program was called by', async () => {
    for (const name of ['godel', 'swarmctl']) {
      const script = join(scratch, name)
      // A link keeps the name; the real file is found through it.
      symlinkSync(fileURLToPath(new URL('../../../src/cli/main.ts', import.meta.url)), script)
      const output = await runCli(['realm', 'invite', '--help'], { script })
      expect(output.stdout.toString()).toContain(`  $ ${name} realm invite`)
    }
  })

  test('the version is that of the package', async () => {
    const { default: manifest } = await import('../../../package.json', { with: { type: 'json' } })
    for (const flag of ['--version', '-V'])
      expect((await runCli([flag])).stdout.toString()).toBe(`${manifest.version}\n`)
  })
})

test('doctor works without a node, and says of each check how it is', async () => {
  const output = await runCli(['doctor', '--json', '--data-dir', join(scratch, 'fresh')])
  const { ok, checks } = JSON.parse(output.stdout.toString())
  expect(output.code).toBe(ok ? 0 : 1)
  const names = checks.map((check: { name: string }) => check.name)
  expect(names).toEqual(['Node.js', 'sandbox', 'data directory', 'keys', 'disk', 'git', 'clock', 'node'])
  expect(checks.at(-1)).toMatchObject({ level: 'warn', reason: expect.stringContaining('no node answers') })
  for (const check of checks) if (check.level !== 'ok') expect(check.next, check.name).toMatch(/\w/)
  expect((await run(['doctor'])).stdout.toString()).toMatch(/^ok +node +one answers at http/m)
})
