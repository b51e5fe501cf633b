/** Commands over HTTP: lines as they are said, input as it is wanted, an end whichever side ends it. */
import { request, type IncomingMessage } from 'node:http'
import { once } from 'node:events'
import { afterAll, beforeAll, describe, expect, test } from 'vitest'
import { mintId } from '../../../src/base/ids.ts'
import { createFakeClock } from '../../fakes/clock.ts'
import { apiKey, send, startTestApi, type TestApi } from '../../fakes/api-server.ts'
import { waitFor } from '../../support/wait.ts'

let server: TestApi
let agent: string
beforeAll(async () => {
  server = await startTestApi()
  agent = server.node.addAgent().id
})
afterAll(() => server.api.close())

const exec = (spec: Record<string, unknown>) => send(server.port, 'POST', `/v1/agents/${agent}/exec`, { json: spec })
const linesOf = (text: string): any[] =>
  text
    .split('\n')
    .filter((line) => line !== '')
    .map((line) => JSON.parse(line))
const lastExec = () => server.node.execs.at(-1)!

/** An exec whose answer is read by the test, or not. */
const open = async (spec: Record<string, unknown>, at: TestApi = server): Promise<IncomingMessage> => {
  const outgoing = request({
    host: '127.0.0.1',
    port: at.port,
    method: 'POST',
    path: `/v1/agents/${[...at.node.agentsById.keys()][0]}/exec`,
    headers: { authorization: `Bearer ${apiKey}`, 'content-type': 'application/json' },
    agent: false,
  })
  outgoing.end(JSON.stringify(spec))
  const [response] = (await once(outgoing, 'response')) as [IncomingMessage]
  return response
}

const readLine = async (response: IncomingMessage): Promise<any> => {
  let text = ''
  while (!text.includes('\n')) {
    const part = response.read() as Buffer | null
    if (part === null) await once(response, 'readable')
    else text += part.toString()
  }
  return JSON.parse(text.split('\n')[0]!)
}

const feed = (execId: string, raw: string | Buffer, at = agent) =>
  send(server.port, 'POST', `/v1/agents/${at}/execs/${execId}/stdin`, {
    raw,
    headers: { 'content-type': 'application/octet-stream' },
  })

describe('output', () => {
  test('comes as lines, bytes in base64, and ends with the exit', async () => {
    const answer = await exec({ command: 'both', args: ['3'] })
    expect(answer.status).toBe(200)
    expect(answer.headers['content-type']).toBe('application/x-ndjson')
    expect(linesOf(answer.text)).toEqual([
      { type: 'started', execId: expect.stringMatching(/^ex_/), epoch: 1 },
      { type: 'output', stream: 'stdout', seq: 0, data: Buffer.from('out\n').toString('base64') },
      { type: 'output', stream: 'stderr', seq: 1, data: Buffer.from('err\n').toString('base64') },
      { type: 'exit', seq: 2, code: 3, signal: null },
    ])
  })

  test('keeps every byte', async () => {
    const [, output] = linesOf((await exec({ command: 'bytes' })).text)
    expect([...Buffer.from(output.data, 'base64')]).toEqual(Array.from({ length: 256 }, (_, index) => index))
  })

  test('a refusal before the first line has its own status', async () => {
    const path = `/v1/agents/${mintId('ag', 1)}/exec`
    const missing = await send(server.port, 'POST', path, { json: { command: 'echo' } })
    expect(missing).toMatchObject({ status: 404, body: { code: 'AGENT_NOT_FOUND' } })
  })

  test('a failure after the first line is the last line', async () => {
    const lines = linesOf((await exec({ command: 'break' })).text)
    expect(lines.map((line) => line.type)).toEqual(['started', 'output', 'error'])
    expect(lines[2].problem).toMatchObject({ code: 'STREAM_LOST', status: 502, reason: 'the cable was cut' })
  })

  test('a reader that stops reading stops the command, and one that goes on gets all of it', async () => {
    const chunks = 1_000
    const response = await open({ command: 'flood', args: [String(chunks)] })
    const record = lastExec()
    response.pause()
    // As much as the sockets hold is sent; then nothing more for as long as nobody reads.
    let seen = -1
    const standsStill = () => {
      const still = record.chunks === seen
      seen = record.chunks
      return still && seen > 0
    }
    await waitFor('the command stands still', standsStill, { everyMs: 100 })
    expect(record.chunks).toBeLessThan(chunks / 2)
    expect(record.ended).toBe(false)
    let text = 0
    for await (const part of response) text += (part as Buffer).byteLength
    expect(record.chunks).toBe(chunks)
    expect(text).toBeGreaterThan(chunks * 64 * 1024)
  })

  test('a reader that goes away ends the command, also while it is silent', async () => {
    const response = await open({ command: 'hang' })
    await readLine(response)
    const record = lastExec()
    expect(record.cancelled).toBe(false)
    response.destroy()
    await waitFor('the command has ended', () => record.cancelled && record.ended)
    await waitFor('its place is free', () => server.api.streams() === 0)
  })

  test('a reader that goes away in the midst of a flood ends it too', async () => {
    const response = await open({ command: 'flood', args: ['100000'] })
    const record = lastExec()
    await readLine(response)
    response.destroy()
    await waitFor('the command has ended', () => record.cancelled && record.ended)
  })
})

describe('input', () => {
  test('reaches the command, and its end with it', async () => {
    const bytes = Buffer.from(Array.from({ length: 500_000 }, (_, index) => index % 256))
    const execId = mintId('ex', Date.now())
    const response = await open({ command: 'cat', execId, stdin: true })
    expect(await readLine(response)).toMatchObject({ type: 'started', execId })
    const fed = feed(execId, bytes)
    let text = ''
    for await (const part of response) text += String(part)
    const output = linesOf(text).filter((line) => line.type === 'output')
    expect(Buffer.concat(output.map((line) => Buffer.from(line.data, 'base64'))).equals(bytes)).toBe(true)
    expect(await fed).toMatchObject({ status: 200, body: { bytes: bytes.byteLength } })
  })

  test('that the command does not want is not waited for', async () => {
    const execId = mintId('ex', Date.now())
    const response = await open({ command: 'take-one', execId, stdin: true })
    await readLine(response)
    const fed = feed(execId, Buffer.alloc(4 * 1024 * 1024))
    for await (const _ of response);
    const answer = await fed
    expect(answer.status).toBe(200)
    expect(answer.body.bytes).toBeLessThan(4 * 1024 * 1024)
  })

  test('is refused for an exec that is not there, of another agent, or that has its input', async () => {
    expect(await feed(mintId('ex', 1), 'x')).toMatchObject({ status: 404, body: { code: 'EXEC_NOT_FOUND' } })
    const execId = mintId('ex', Date.now())
    const response = await open({ command: 'length', execId, stdin: true })
    await readLine(response)
    expect((await feed(execId, 'x', mintId('ag', 1))).status).toBe(404)
    expect((await feed(execId, 'abc')).status).toBe(200)
    for await (const _ of response);
    expect((await feed(execId, 'x')).status).toBe(404)
  })

  test('of two senders the second is refused, as is a second exec of one id', async () => {
    const execId = mintId('ex', Date.now())
    const response = await open({ command: 'length', execId, stdin: true })
    await readLine(response)
    const slow = request({
      host: '127.0.0.1',
      port: server.port,
      method: 'POST',
      path: `/v1/agents/${agent}/execs/${execId}/stdin`,
      headers: { authorization: `Bearer ${apiKey}`, 'content-type': 'application/octet-stream' },
    })
    slow.on('error', () => {})
    slow.write('half')
    await waitFor('the second sender is refused', async () => (await feed(execId, 'x')).status === 409)
    expect(await exec({ command: 'length', execId, stdin: true })).toMatchObject({
      status: 409,
      body: { code: 'CONFLICT' },
    })
    // Half an input does not pass for a whole one.
    const record = lastExec()
    slow.destroy()
    let text = ''
    for await (const part of response) text += String(part)
    expect(linesOf(text).at(-1)).toMatchObject({ type: 'error', problem: { code: 'STREAM_LOST' } })
    expect(record.cancelled).toBe(true)
  })
})

describe('bounds', () => {
  test('so many streams and no more', async () => {
    const bounded = await startTestApi({ limits: { apiStreamsMax: 2 } })
    bounded.node.addAgent()
    const held = [await open({ command: 'hang' }, bounded), await open({ command: 'hang' }, bounded)]
    const path = `/v1/agents/${[...bounded.node.agentsById.keys()][0]}/exec`
    expect(await send(bounded.port, 'POST', path, { json: { command: 'echo' } })).toMatchObject({
      status: 429,
      body: { code: 'QUEUE_FULL', limit: 2 },
    })
    expect((await send(bounded.port, 'GET', '/v1/routes/events')).status).toBe(429)
    expect((await send(bounded.port, 'GET', '/v1/node')).status).toBe(200)
    held[0]!.destroy()
    await waitFor(
      'a place is free',
      async () => (await send(bounded.port, 'POST', path, { json: { command: 'echo' } })).status === 200,
    )
    held[1]!.destroy()
    await bounded.api.close()
  })

  test('a silent command is kept open by empty lines', async () => {
    const clock = createFakeClock()
    const quiet = await startTestApi({ clock, limits: { apiHeartbeatMs: 1_000 } })
    quiet.node.addAgent()
    const response = await open({ command: 'hang' }, quiet)
    let text = ''
    response.on('data', (part: Buffer) => (text += part.toString()))
    response.on('error', () => {})
    await waitFor('the first output', () => text.includes('"output"'))
    const said = text
    await clock.advance(3_500)
    await waitFor('three empty lines', () => text === `${said}\n\n\n`)
    response.destroy()
    await quiet.api.close()
  })

  test('a body that does not come is not waited for, and an upload may pause only so long', async () => {
    const clock = createFakeClock()
    const impatient = await startTestApi({ clock, limits: { apiBodyTimeoutMs: 5_000, apiIdleTimeoutMs: 60_000 } })
    const stalled = (path: string, type: string) => {
      const headers = { authorization: `Bearer ${apiKey}`, 'content-type': type, 'content-length': '10' }
      const outgoing = request({ host: '127.0.0.1', port: impatient.port, method: 'POST', path, headers, agent: false })
      const outcome = new Promise<string>((resolve) => {
        outgoing.on('error', (error) => resolve(error.message))
        outgoing.on('response', (response) => resolve(String(response.statusCode)))
      })
      outgoing.write('half')
      return outcome
    }
    const json = stalled('/v1/agents', 'application/json')
    const tar = stalled('/v1/uploads', 'application/x-tar')
    await waitFor('both have come', () => impatient.node.changes.includes('upload') && clock.pending() >= 2)
    await clock.advance(6_000)
    expect(await json).toMatch(/hang up|ECONNRESET/)
    await clock.advance(60_000)
    expect(await tar).toBe('504')
    expect(impatient.node.changes).toEqual(['upload'])
    await clock.advance(6_000)
    await impatient.api.close()
  })
})

describe('the end of the API', () => {
  test('ends open streams with a reason, and lets nobody wait', async () => {
    const ending = await startTestApi()
    ending.node.addAgent()
    const response = await open({ command: 'hang' }, ending)
    await readLine(response)
    const closed = ending.api.close()
    let text = ''
    for await (const part of response) text += String(part)
    expect(linesOf(text).at(-1)).toMatchObject({ type: 'error', problem: { code: 'NODE_STOPPING' } })
    await closed
    await expect(send(ending.port, 'GET', '/v1/health')).rejects.toThrow(/ECONNREFUSED/)
  })

  test('a port that is taken is named, with what to do', async () => {
    const { startApi } = await import('../../../src/api/api.ts')
    const { limits } = await import('../../../src/base/limits.ts')
    const { silentLog } = await import('../../../src/base/log.ts')
    const { silentMeter } = await import('../../../src/base/meter.ts')
    const deps = { services: server.node, clock: createFakeClock(), log: silentLog, meter: silentMeter, limits }
    await expect(startApi(deps, { host: '127.0.0.1', port: server.port, apiKey })).rejects.toThrow(
      `port ${server.port} is in use by another program. Stop that program, or choose another port with --api-port`,
    )
  })
})
