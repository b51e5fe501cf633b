/** Commands whose host, caller or agent ends while they run: whoever reads hears of it, and nothing runs on unread. */
import { createHash } from 'node:crypto'
import { afterAll, beforeAll, expect, test } from 'vitest'
import { callApi, openApi, spawnOver } from '../support/api.ts'
import { createTestBed, openCli, residentMiB, type TestNode } from '../support/nodes.ts'
import { processesWith } from '../support/processes.ts'
import { waitFor } from '../support/wait.ts'

const bed = createTestBed()
let caller: TestNode
let host: TestNode
beforeAll(async () => {
  ;[caller, host] = (await bed.realm([{ name: 'caller' }, { name: 'host' }])) as [TestNode, TestNode]
}, 60_000)
afterAll(bed.dispose, 30_000)

const spawned = async (): Promise<string> =>
  (await spawnOver(caller, { requirements: { node: 'host' } })).body.id as string

/** Starts a command that says `up` and goes on; `lines` grows with what its reader is told. */
const running = async (agent: string, mark: string, execId?: string) => {
  const lines: any[] = []
  const script = `echo up; while :; do sleep 1; done # ${mark}`
  const body = { command: 'sh', args: ['-c', script], ...(execId && { execId }) }
  const answer = await openApi(caller, 'POST', `/v1/agents/${agent}/exec`, body)
  let rest = ''
  answer.setEncoding('utf8')
  const ended = new Promise<'ended' | 'broken'>((resolve) => {
    answer.once('end', () => resolve('ended'))
    answer.once('error', () => resolve('broken'))
  })
  answer.on('data', (part: string) => {
    const parts = (rest + part).split('\n')
    rest = parts.pop()!
    for (const line of parts) if (line !== '') lines.push(JSON.parse(line))
  })
  await waitFor('the command runs', () => lines.length >= 2 && processesWith(mark).length > 0)
  return { lines, ended }
}
const gone = (mark: string) => waitFor('nothing of it is left', () => processesWith(mark).length === 0)
const markOf = (name: string) => `godel-exec-${process.pid}-${name}`

test('an agent that is killed ends its command, and the reader is told the cause', async () => {
  const agent = await spawned()
  const { lines, ended } = await running(agent, markOf('agent'))
  expect((await callApi(caller, 'DELETE', `/v1/agents/${agent}`)).body).toMatchObject({ status: 'stopped' })
  await ended
  expect(lines.at(-1)).toMatchObject({ type: 'exit', cause: 'killed' })
  await gone(markOf('agent'))
})

test('of two commands with one id the second is refused, and the first goes on', async () => {
  const agent = await spawned()
  const execId = 'ex_0192f0c1-2345-7abc-8def-0123456789ab'
  const { lines } = await running(agent, markOf('same'), execId)
  const body = { command: 'true', args: [], execId }
  expect(await callApi(caller, 'POST', `/v1/agents/${agent}/exec`, body)).toMatchObject({
    status: 409,
    body: { code: 'CONFLICT' },
  })
  expect(processesWith(markOf('same')).length).toBeGreaterThan(0)
  expect(lines.at(-1)).toMatchObject({ type: 'output' })
  await callApi(caller, 'DELETE', `/v1/agents/${agent}`)
})

test('fifty commands at once in one agent each give their own output and code', async () => {
  const agent = await spawned()
  const run = async (index: number) => {
    const body = { command: 'sh', args: ['-c', `echo ${index}; exit ${index}`] }
    const answer = await openApi(caller, 'POST', `/v1/agents/${agent}/exec`, body)
    const lines = (await answer.setEncoding('utf8').toArray())
      .join('')
      .split('\n')
      .filter(Boolean)
      .map((line) => JSON.parse(line))
    const output = lines
      .filter((line) => line.type === 'output')
      .map((line) => Buffer.from(line.data, 'base64').toString())
    return { output: output.join(''), code: lines.at(-1).code }
  }
  const results = await Promise.all(Array.from({ length: 50 }, (_, index) => run(index)))
  expect(results).toEqual(Array.from({ length: 50 }, (_, index) => ({ output: `${index}\n`, code: index })))
})

test('200 MB of input pass through both nodes untouched and leave their memory flat', async () => {
  const agent = await spawned()
  const part = Buffer.alloc(1024 * 1024, 'input')
  const send = async (count: number): Promise<string> => {
    const exec = openCli(['agent', 'exec', agent, '--data-dir', caller.dataDir, '--', 'sha256sum'])
    const said = exec.stdout!.setEncoding('utf8').toArray()
    for (let sent = 0; sent < count; sent++) {
      if (!exec.stdin!.write(part)) await new Promise((resolve) => exec.stdin!.once('drain', resolve))
      if (sent % 10 === 0)
        for (const [at, node] of [caller, host].entries()) peak[at] = Math.max(peak[at]!, await residentMiB(node.pid))
    }
    exec.stdin!.end()
    return (await said).join('').split(' ')[0]!
  }
  const peak = [0, 0]
  // A first run brings every buffer and compiled function into being, so that growth is growth.
  await send(20)
  const before = await Promise.all([caller, host].map((node) => residentMiB(node.pid)))
  const hash = createHash('sha256')
  for (let sent = 0; sent < 200; sent++) hash.update(part)
  expect(await send(200)).toBe(hash.digest('hex'))
  for (const [at, mib] of before.entries()) expect(peak[at]! - mib, 'growth in MiB').toBeLessThan(80)
}, 90_000)

test('a host that is killed breaks off the command with a typed error, and takes commands again when it is back', async () => {
  const agent = await spawned()
  const { lines, ended } = await running(agent, markOf('host'))
  await host.end('SIGKILL')
  await ended
  expect(lines.at(-1)).toMatchObject({ type: 'error', problem: { code: 'STREAM_LOST' } })
  await gone(markOf('host'))
  host = await host.restart()
  // The caller remembers where the agent was, over a connection that is gone.
  await waitFor('a command runs in the agent', async () => {
    const ran = await caller.cli(['agent', 'exec', agent, '--', 'echo', 'back'])
    return ran.code === 0 && ran.stdout === 'back\n'
  })
}, 60_000)

test('a caller that is killed leaves no command behind at the host', async () => {
  const agent = await spawned()
  const { ended } = await running(agent, markOf('caller'))
  await caller.end('SIGKILL')
  expect(await ended).toBe('broken')
  await gone(markOf('caller'))
  expect((await callApi(host, 'GET', `/v1/agents/${agent}`)).body).toMatchObject({ status: 'idle' })
}, 60_000)
