/** The commands of operators: the real program against the real API over a fake node. */
import { mkdtempSync, rmSync, writeFileSync } from 'node:fs'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { once } from 'node:events'
import { afterAll, beforeAll, beforeEach, describe, expect, test } from 'vitest'
import { mintId } from '../../../src/base/ids.ts'
import { apiKey, startTestApi, type TestApi } from '../../fakes/api-server.ts'
import { openCli, runCli, type CliOptions } from '../../fakes/cli.ts'
import { fakePeer, otherPeer } from '../../fakes/node-services.ts'
import { waitFor } from '../../support/wait.ts'

let server: TestApi
const scratch = mkdtempSync(join(tmpdir(), 'godel-operators-'))
const env = () => ({ GODEL_URL: server.api.url, GODEL_API_KEY: apiKey })
beforeAll(async () => {
  server = await startTestApi()
})
afterAll(async () => {
  await server.api.close()
  rmSync(scratch, { recursive: true })
})
beforeEach(() => {
  server.node.changes.splice(0)
  server.node.audited.splice(0)
  server.node.drained = { draining: false, empty: true, running: [], staying: [], reserved: 0 }
})

const run = async (args: string[], options: CliOptions = {}) => {
  const output = await runCli(args, { ...options, env: { ...env(), ...options.env } })
  return { ...output, stdout: output.stdout.toString() }
}
const CONTROL = /[\u0000-\u0009\u000b-\u001f\u007f-\u009f]/

describe('the realm', () => {
  test('gets issuers by the name of a node, and loses them', async () => {
    const promoted = await run(['realm', 'promote', 'two', '--role', 'admin', '--role', 'member'])
    expect(promoted).toMatchObject({ code: 0, stderr: expect.stringContaining('two may invite now') })
    expect((await run(['realm', 'demote', otherPeer, '--json'])).code).toBe(0)
    expect(server.node.changes).toEqual([`promote ${otherPeer} admin,member`, `demote ${otherPeer}`])
  })

  test('puts a node out and takes it back, and lists who is out by name', async () => {
    const out = await run(['realm', 'revoke', 'two', '--yes'])
    expect(out).toMatchObject({ code: 0, stderr: expect.stringMatching(/two is out.*realm lift/) })
    const listed = await run(['realm', 'revocations'])
    expect(listed.stdout).toContain(otherPeer)
    expect(listed.stdout).not.toMatch(CONTROL)
    expect((await run(['realm', 'lift', 'two'])).code).toBe(0)
    expect((await run(['realm', 'revocations'])).stderr).toBe('Nobody is out.\n')
    expect((await run(['realm', 'lift', 'two'])).code).toBe(1)
  })

  test('names another by its card from a file or stdin, and says what comes next on either side', async () => {
    writeFileSync(join(scratch, 'plant.card'), 'GDR1.plant\n')
    const fromFile = await run(['realm', 'trust', `@${join(scratch, 'plant.card')}`, '--out'])
    expect(fromFile.code).toBe(0)
    expect(fromFile.stderr).toMatch(/godel-node realm trust @FILE\n.*godel-node realm share lab --scope exec/)
    expect((await run(['realm', 'trust', '-'], { input: 'GDR1.plant' })).code).toBe(0)
    expect(server.node.changes).toEqual(['trust GDR1.plant true', 'trust GDR1.plant false'])
    const id = 'cd'.repeat(32)
    const shared = await run(['realm', 'share', id, '--scope', 'exec', '--scope', 'exec', '--quota', '2', '--json'])
    expect(JSON.parse(shared.stdout)).toMatchObject({ scopes: ['exec'], agentsPerNode: 2 })
    const listed = await run(['realm', 'realms'])
    expect(listed.stdout).toContain('exec, 2 agents a node')
    expect(listed.stdout).not.toMatch(CONTROL)
    expect((await run(['realm', 'withdraw', id, '--yes'])).code).toBe(0)
    expect((await run(['realm', 'realms'])).stderr).toMatch(/No other realm is named/)
  })

  test('shows its card alone on stdout, and the new roots after a rotation', async () => {
    expect(await run(['realm', 'card'])).toMatchObject({ stdout: 'GDR1.card\n', stderr: '' })
    expect(await run(['realm', 'rotate-root', '--yes'])).toMatchObject({ stdout: 'new-root\n' })
  })

  test('is shown with its issuers by name', async () => {
    expect((await run(['realm', 'show'])).stdout).toMatch(new RegExp(`issuer +.*${fakePeer}.*, for admin`))
  })
})

test('nodes are pinned by PeerId or address, and let go by name', async () => {
  const address = `/ip4/192.0.2.7/tcp/4001/p2p/${otherPeer}`
  const pinned = await run(['federation', 'register', address, '--scope', 'exec', '--name', 'desk'])
  expect(pinned).toMatchObject({ code: 0, stderr: expect.stringMatching(/desk is pinned.*\n.*federation register/) })
  const [pin] = JSON.parse((await run(['federation', 'list', '--json'])).stdout).peers
  expect(pin).toMatchObject({ peer: otherPeer, addresses: ['/ip4/192.0.2.7/tcp/4001'], scopes: ['exec'], name: 'desk' })
  expect((await run(['federation', 'list'])).stdout).toMatch(/^NAME.*\ndesk +away +exec, 4 agents a node/)
  expect((await run(['federation', 'unregister', 'desk', '--yes'])).code).toBe(0)
  expect(server.node.changes).toEqual([`register ${otherPeer}`, `unregister ${otherPeer}`])
})

test.each([
  [['realm', 'revoke', 'two']],
  [['realm', 'rotate-root']],
  [['realm', 'withdraw', 'plant']],
  [['federation', 'unregister', otherPeer]],
])('%j asks first, and changes nothing where nobody can be asked', async (args) => {
  const output = await run(args)
  expect(output).toMatchObject({ code: 2, stderr: expect.stringMatching(/^error: --yes is needed/) })
  expect(server.node.changes).toEqual([])
})

test('--yes is taken by the changes of a realm that ask nothing, too', async () => {
  for (const args of [
    ['realm', 'promote', 'two'],
    ['realm', 'trust', 'GDR1.plant'],
    ['realm', 'share', 'cd'.repeat(32), '--scope', 'exec'],
  ])
    expect(await run([...args, '--yes'])).toMatchObject({ code: 0 })
  expect(server.node.changes.length).toBeGreaterThan(1)
})

test.each([
  [['realm', 'promote'], 2, /missing required argument 'node'/],
  [['realm', 'promote', 'nobody'], 1, /there is no node nobody\. /],
  [['realm', 'promote', 'two', '--role', 'king'], 2, /--role must be one of admin, member, observer, not "king"/],
  [['realm', 'revoke', 'one', '--yes'], 1, /conflicts: it is this node/],
  [['realm', 'revoke', 'two', '--yes', '--since', 'yesterday'], 2, /--since must be a time such as 2026/],
  [['realm', 'revoke', 'two', '--yes', '--since', '2999-01-01'], 2, /--since lies in the future/],
  [['realm', 'trust', '@/nothing/here'], 2, /CARD cannot be read/],
  [['realm', 'trust', '-'], 2, /CARD is empty: nothing came from stdin/],
  [['realm', 'trust', 'GDL1.token'], 2, /the card does not begin with GDR1/],
  [['realm', 'share', 'plant'], 2, /--scope is missing: say what it may do, of capacity, exec, migrate/],
  [['realm', 'share', 'plant', '--scope', 'all'], 2, /--scope must be one of capacity, exec, migrate/],
  [['realm', 'share', 'nothing', '--scope', 'exec'], 1, /there is no realm nothing/],
  [['realm', 'share', 'plant', '--scope', 'exec', '--quota', '-1'], 2, /--quota/],
  [['federation', 'register', 'desk'], 2, /the node must be a peer id .* or a multiaddr/],
  [['federation', 'register', '/ip4/192.0.2.7/tcp/4001'], 2, /ends in \/p2p\/PEER/],
  [['federation', 'unregister', 'desk', '--yes'], 2, /the node must be a peer id/],
  [['drain', '--timeout', 'soon'], 2, /--timeout must be a time such as 90s/],
  [['audit', '--limit', '0'], 2, /--limit must be a whole number from 1 to/],
])('%j is refused with %d and says what to do', async (args, code, message) => {
  const output = await run(args, { input: '' })
  expect(output.stderr).toMatch(message)
  expect(output.code).toBe(code)
  expect(server.node.changes).toEqual([])
})

test.each(
  [
    'realm promote|demote|revoke|lift|revocations|rotate-root|card|trust|share|withdraw|realms',
    'federation register|unregister|list',
    '|drain|undrain|audit',
  ].flatMap((line) => {
    const [group, names] = line.startsWith('|') ? ['', line.slice(1)] : (line.split(' ') as [string, string])
    return names.split('|').map((name) => [`${group} ${name}`.trim()])
  }),
)('%s has help with examples', async (command) => {
  const output = await run([...command.split(' '), '--help'])
  expect(output.code).toBe(0)
  expect(output.stdout).toContain(`\nExamples:\n  $ godel-node ${command}`)
  expect(output.stdout).toContain('--json')
})

test('peers tells who says what of a peer that is not well, how it is reached, and where guests are from', async () => {
  const [two] = server.node.known
  const verdict = {
    reason: 'accused',
    accusers: [fakePeer, otherPeer],
    evidence: { [fakePeer]: 'no-answer' },
    sinceMs: 7_000,
  }
  server.node.known = [
    { ...two!, state: 'suspect', verdict: verdict as never },
    { ...two!, peer: fakePeer, name: 'one', self: true },
    { ...two!, name: 'gone', state: 'down', verdict: { ...verdict, reason: 'expired' } as never },
    { ...two!, name: 'guest', level: 'cross-realm', realmName: 'plant\u001b[2J', connection: 'relayed through X' },
  ]
  const output = await run(['peers'])
  server.node.known = [two!]
  expect(output.stdout).toMatch(/^NAME +REALM +STATE/)
  expect(output.stdout).toMatch(/guest +plant\\x1b\[2J +alive.* relayed /)
  expect(output.stderr).toMatch(/two.* is suspect for 7s, say one \(no-answer\), /)
  expect(output.stderr).toContain('gone is down: nothing has been heard of it for 7s.')
  expect(output.stdout + output.stderr).not.toMatch(CONTROL)
})

describe('drain', () => {
  const agent = (status: 'running' | 'idle') => ({ id: mintId('ag', 0), role: 'worker', status })

  test('waits until nothing runs, and names what stays', async () => {
    const [busy, idle] = [agent('running'), agent('idle')]
    server.node.drained = { draining: false, empty: false, running: [busy], staying: [idle], reserved: 1 }
    const child = openCli(['drain'], { env: env() })
    let stderr = ''
    child.stderr!.on('data', (part: Buffer) => (stderr += part.toString()))
    await waitFor('it says what it waits for', () => stderr.includes(busy.id) && stderr.includes('1 promised slot'))
    expect(child.exitCode).toBeNull()
    server.node.drained = { draining: true, empty: true, running: [], staying: [idle], reserved: 0 }
    const [code] = (await once(child, 'close')) as [number]
    expect(code).toBe(0)
    expect(stderr).toContain(`Idle agents stay: ${idle.id}`)
    expect(server.node.changes).toEqual(['drain'])
  })

  test('ends with an error that names what still runs at the timeout, and the node drains on', async () => {
    const busy = agent('running')
    server.node.drained = { draining: false, empty: false, running: [busy], staying: [], reserved: 0 }
    const output = await run(['drain', '--timeout', '1s', '--json'])
    expect(output.code).toBe(1)
    expect(JSON.parse(output.stderr)).toMatchObject({
      code: 'DEADLINE_EXCEEDED',
      afterMs: 1_000,
      detail: expect.stringContaining(busy.id),
    })
    expect(server.node.drained.draining).toBe(true)
  })

  test('does not wait where it is told not to, and ends idle agents only where it is told to', async () => {
    const busy = agent('running')
    server.node.drained = { draining: false, empty: false, running: [busy], staying: [], reserved: 0 }
    expect(JSON.parse((await run(['drain', '--no-wait', '--json'])).stdout)).toMatchObject({ empty: false })
    const idle = server.node.addAgent()
    server.node.drained = { draining: false, empty: true, running: [], staying: [idle], reserved: 0 }
    const output = await run(['drain', '--stop-idle', '--json'])
    expect(JSON.parse(output.stdout)).toMatchObject({ ended: [idle.id], staying: [] })
    expect(server.node.changes).toEqual(['drain', 'drain', 'kill'])
    expect((await run(['undrain'])).stderr).toBe('The node takes agents again.\n')
  })

  test('ends when somebody else takes it back meanwhile', async () => {
    server.node.drained = { draining: false, empty: false, running: [agent('running')], staying: [], reserved: 0 }
    const child = openCli(['drain'], { env: env() })
    await waitFor('it drains', () => server.node.drained.draining)
    await run(['undrain'])
    const [code] = (await once(child, 'close')) as [number]
    expect(code).toBe(1)
  })
})

describe('audit', () => {
  const refuse = (by: string) =>
    server.node.audit.record({ action: 'call agent.kill', by, outcome: 'refused', reason: 'FORBIDDEN: \u001b[31mred' })

  test('shows who by name, and moves no terminal', async () => {
    refuse(fakePeer)
    server.node.audit.record({ action: 'revoke', by: 'api', subject: otherPeer, outcome: 'done' })
    const { stdout } = await run(['audit'])
    expect(stdout).toMatch(/^TIME +OUTCOME +ACTION/)
    expect(stdout).toContain('a client of the API')
    expect(stdout).not.toMatch(CONTROL)
    expect(JSON.parse((await run(['audit', '--limit', '1', '--json'])).stdout).entries).toHaveLength(1)
  })

  test('goes on with those that come, each once', async () => {
    refuse('before')
    const child = openCli(['audit', '--follow', '--json'], { env: env() })
    let text = ''
    child.stdout!.on('data', (part: Buffer) => (text += part.toString()))
    await waitFor('what was there is shown', () => text.includes('before'))
    refuse('after')
    await waitFor('what comes is shown', () => text.includes('after'))
    child.kill('SIGINT')
    await once(child, 'close')
    const entries = text
      .trim()
      .split('\n')
      .map((line) => JSON.parse(line).by)
    expect(entries).toEqual(['before', 'after'])
  })
})
