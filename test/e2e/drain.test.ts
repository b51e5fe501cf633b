/** Draining, in real processes: told to the realm, kept over a crash, and waiting for what runs. */
import { readFile, stat } from 'node:fs/promises'
import { join } from 'node:path'
import { once } from 'node:events'
import { afterAll, beforeAll, expect, test } from 'vitest'
import { createTestBed, openCli, type TestNode } from '../support/nodes.ts'
import { waitFor } from '../support/wait.ts'

const bed = createTestBed()
afterAll(() => bed.dispose())

let a: TestNode
let b: TestNode
beforeAll(async () => {
  ;[a, b] = (await bed.realm([{ name: 'one' }, { name: 'two' }])) as [TestNode, TestNode]
  await sees(a, 'two', 'available')
  await sees(b, 'one', 'available')
})

const sees = (node: TestNode, name: string, status: string) =>
  waitFor(`${node.name} sees ${name} ${status}`, async () => {
    const { peers } = await node.json(['peers'])
    return peers.some((peer: any) => peer.name === name && peer.status === status && peer.state === 'alive')
  })

test('a draining node says so to the realm, is chosen by nobody, and waits for its commands', async () => {
  const agent = await a.json(['agent', 'spawn', '--node', 'two'])
  const idle = await a.json(['agent', 'spawn', '--node', 'two'])
  const command = openCli(['agent', 'exec', agent.id, '--data-dir', a.dataDir, '--', 'sh', '-c', 'echo up; read line'])
  await once(command.stdout!, 'data')

  // It waits for the command, and not for the idle agent.
  const inTime = await b.cli(['drain', '--timeout', '1s', '--json'])
  expect(inTime.code).toBe(1)
  expect(JSON.parse(inTime.stderr)).toMatchObject({
    code: 'DEADLINE_EXCEEDED',
    detail: expect.stringContaining(agent.id),
  })
  expect(inTime.stderr).not.toContain(idle.id)

  await sees(a, 'two', 'draining')
  expect((await b.json(['status'])).draining).toBe(true)
  for (let n = 0; n < 3; n++) expect((await a.json(['agent', 'spawn'])).hostName).toBe('one')
  // Not even by itself, and not where it is asked for by name.
  expect((await b.json(['agent', 'spawn'])).hostName).toBe('one')
  const named = await a.cli(['agent', 'spawn', '--node', 'two', '--json'])
  expect(named.code).toBe(1)
  expect(JSON.parse(named.stderr)).toMatchObject({ code: 'NO_CANDIDATE', detail: expect.stringMatching(/drain/) })

  // Commands in agents that are there are still taken.
  expect((await a.cli(['agent', 'exec', idle.id, '--', 'echo', 'still here'])).stdout).toBe('still here\n')

  const waiting = openCli(['drain', '--json', '--data-dir', b.dataDir])
  let said = ''
  waiting.stdout!.on('data', (part: Buffer) => (said += part.toString()))
  const ended = once(waiting, 'close')
  expect(waiting.exitCode).toBeNull()
  command.stdin!.end('\n')
  expect((await ended)[0]).toBe(0)
  const report = JSON.parse(said)
  expect(report).toMatchObject({ draining: true, empty: true, running: [], reserved: 0 })
  expect(report.staying.map((each: any) => each.id).toSorted()).toEqual([agent.id, idle.id].toSorted())
})

test('a node that drained when it was killed drains when it is back, and undrain makes it chosen again', async () => {
  await b.end('SIGKILL')
  b = await b.restart()
  expect((await b.json(['status'])).draining).toBe(true)
  await sees(a, 'two', 'draining')
  expect((await a.cli(['agent', 'spawn', '--node', 'two'])).code).toBe(1)

  await b.json(['undrain'])
  await sees(a, 'two', 'available')
  expect((await a.json(['agent', 'spawn', '--node', 'two'])).hostName).toBe('two')
  expect((await b.json(['status'])).draining).toBe(false)
})

test('idle agents are ended where that is asked for', async () => {
  const report = await b.json(['drain', '--stop-idle'])
  expect(report.ended.length).toBeGreaterThan(0)
  expect(report).toMatchObject({ empty: true, staying: [] })
  expect((await b.json(['status'])).capacity.running).toBe(0)
})

test('all of it is in the audit log, which its owner alone can read', async () => {
  const { entries } = await b.json(['audit'])
  const acts = entries.map(({ action, outcome }: any) => `${action} ${outcome}`)
  expect(acts.filter((act: string) => /drain/.test(act))).toEqual([
    'drain done',
    'drain done',
    'undrain done',
    'drain done',
  ])
  const path = join(b.dataDir, 'audit.log')
  expect((await stat(path)).mode & 0o777).toBe(0o600)
  const lines = (await readFile(path, 'utf8')).trim().split('\n')
  const seqs = lines.map((line) => JSON.parse(line).seq)
  expect(seqs).toEqual([...new Set(seqs)].toSorted((one, other) => one - other))
})
