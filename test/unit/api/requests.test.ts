/** What is taken and what is refused: each refusal is a problem document that names the field. */
import { connect } from 'node:net'
import { afterAll, beforeAll, beforeEach, describe, expect, test } from 'vitest'
import { limits } from '../../../src/base/limits.ts'
import { mintId } from '../../../src/base/ids.ts'
import { silentLog, type Log } from '../../../src/base/log.ts'
import { apiKey, send, startTestApi, type TestApi } from '../../fakes/api-server.ts'
import { waitFor } from '../../support/wait.ts'

let server: TestApi
let agent: string
beforeAll(async () => {
  server = await startTestApi()
  agent = server.node.addAgent({ labels: { task: 'a=b', tier: 'x' } }).id
})
afterAll(() => server.api.close())

const call = (method: string, path: string, json?: unknown) =>
  send(server.port, method, path.replace('AGENT', agent), json === undefined ? {} : { json })

describe('bodies', () => {
  beforeEach(() => void server.node.changes.splice(0))

  test.each([
    ['/v1/agents', { extra: 1 }, 'extra'],
    ['/v1/agents', { timeoutSeconds: '5' }, 'timeoutSeconds'],
    ['/v1/agents', { timeoutSeconds: 0 }, 'timeoutSeconds'],
    ['/v1/agents', { timeoutSeconds: 2 ** 53 }, 'timeoutSeconds'],
    ['/v1/agents', { id: 'ag_1' }, 'id'],
    ['/v1/agents', { role: '-rf' }, 'role'],
    ['/v1/agents', { role: 'a\nb' }, 'role'],
    ['/v1/agents', { labels: { task: 1 } }, 'labels.task'],
    ['/v1/agents', { labels: { 'no spaces': 'x' } }, 'labels.no spaces'],
    [
      '/v1/agents',
      { labels: Object.fromEntries(Array.from({ length: 33 }, (_, index) => [`k${index}`, ''])) },
      'labels',
    ],
    ['/v1/agents', { requirements: { gpu: 'yes' } }, 'requirements.gpu'],
    ['/v1/agents', { requirements: { isolation: 'vm' } }, 'requirements.isolation'],
    ['/v1/agents', { requirements: { capabilities: ['a', 1] } }, 'requirements.capabilities.1'],
    ['/v1/agents', { workspace: { dir: '/etc' } }, 'workspace'],
    ['/v1/agents', { workspace: { git: 'a', upload: 'b' } }, 'workspace'],
    ['/v1/agents', [], 'body'],
    ['/v1/agents', 'text', 'body'],
    ['/v1/agents', null, 'body'],
    ['/v1/agents/AGENT/exec', {}, 'command'],
    ['/v1/agents/AGENT/exec', { command: '' }, 'command'],
    ['/v1/agents/AGENT/exec', { command: 'a', args: 'b' }, 'args'],
    ['/v1/agents/AGENT/exec', { command: 'a', env: { '1A': 'x' } }, 'env.1A'],
    ['/v1/agents/AGENT/exec', { command: 'a', execId: '../../x' }, 'execId'],
    ['/v1/realm/invitations', { uses: 0 }, 'uses'],
    ['/v1/realm/invitations', { role: 'root' }, 'role'],
    ['/v1/realm/invitations', { ttlSeconds: 1.5 }, 'ttlSeconds'],
    ['/v1/routes/explain', { requirements: 1 }, 'requirements'],
  ])('%s refuses %j and names %s', async (path, json, field) => {
    const answer = await call('POST', path, json)
    expect(answer.status).toBe(400)
    expect(answer.body).toMatchObject({
      type: 'urn:godel:error:INVALID_ARGUMENT',
      code: 'INVALID_ARGUMENT',
      status: 400,
      field,
    })
    expect(answer.body.detail).toContain(field)
    expect(answer.body.next).not.toBe('')
    expect(server.node.changes).toEqual([])
  })

  test.each([
    ['that is no JSON', '{"role":', 400, 'INVALID_ARGUMENT'],
    ['that would set a prototype', '{"__proto__":{"role":"x"}}', 400, 'INVALID_ARGUMENT'],
    ['that is empty', '', 400, 'INVALID_ARGUMENT'],
    ['that is too large', JSON.stringify({ role: 'x'.repeat(limits.apiBodyBytesMax) }), 413, 'TOO_LARGE'],
  ])('one %s is refused', async (_what, raw, status, code) => {
    const answer = await send(server.port, 'POST', '/v1/agents', {
      raw,
      headers: { 'content-type': 'application/json' },
    })
    expect(answer).toMatchObject({ status, body: { code, status } })
    expect(server.node.changes).toEqual([])
  })

  test('one that is too large is refused as well when its size was not announced', async () => {
    const body = new Blob([JSON.stringify({ role: 'x'.repeat(limits.apiBodyBytesMax) })]).stream()
    const headers = { authorization: 'Bearer test-key-0123456789abcdef', 'content-type': 'application/json' }
    const answer = await fetch(`${server.api.url}/v1/agents`, { method: 'POST', headers, body, duplex: 'half' })
    expect(answer.status).toBe(413)
    expect(((await answer.json()) as { code: string }).code).toBe('TOO_LARGE')
  })

  test('one of another type is refused with the type that is taken', async () => {
    const types = { '/v1/agents': 'application/json', '/v1/uploads': 'application/x-tar' }
    for (const [path, accepted] of Object.entries(types)) {
      const answer = await send(server.port, 'POST', path, { raw: 'x', headers: { 'content-type': 'application/xml' } })
      expect(answer).toMatchObject({ status: 415, body: { code: 'MEDIA_TYPE_REFUSED', accepted } })
    }
    for (const type of ['application/octet-stream', 'application/x-tar'])
      expect(
        (await send(server.port, 'POST', '/v1/agents', { raw: '{}', headers: { 'content-type': type } })).status,
      ).toBe(415)
    expect((await send(server.port, 'POST', '/v1/uploads', { json: {} })).status).toBe(415)
  })
})

describe('paths and queries', () => {
  test.each([
    ['GET', '/v1/agents/ag_1', 'id'],
    ['GET', '/v1/agents/..%2f..%2fetc', 'id'],
    ['GET', '/v1/agents?status=alive', 'status'],
    ['GET', '/v1/agents?label=task', 'label.0'],
    ['GET', '/v1/agents?lable=a=b', 'lable'],
    ['GET', '/v1/routes?limit=0', 'limit'],
    ['GET', '/v1/routes?limit=1e3', 'limit'],
    ['GET', '/v1/routes?limit=', 'limit'],
    ['GET', '/v1/routes?limit=1&limit=2', 'limit'],
    ['GET', '/v1/node?x=1', 'x'],
    ['DELETE', '/v1/agents/AGENT?purge=1', 'purge'],
  ])('%s %s is refused and names %s', async (method, path, field) => {
    const answer = await call(method, path)
    expect(answer).toMatchObject({ status: 400, body: { code: 'INVALID_ARGUMENT', field } })
  })

  test.each([
    ['GET', '/v1/nodes'],
    ['GET', '/'],
    ['PUT', '/v1/agents'],
    ['DELETE', '/v1/agents'],
    ['HEAD', '/v1/routes/events'],
  ])('%s %s is not there', async (method, path) => {
    const answer = await call(method, path)
    expect(answer.status).toBe(404)
    if (method !== 'HEAD')
      expect(answer.body).toMatchObject({ code: 'NOT_FOUND', what: 'route', id: `${method} ${path}` })
  })

  test('numbers and flags of a query are read, labels may be many', async () => {
    server.node.decide('rq_1')
    server.node.decide('rq_2')
    expect((await call('GET', '/v1/routes?limit=1')).body.decisions).toMatchObject([{ requestId: 'rq_2' }])
    expect((await call('GET', '/v1/routes')).body.decisions).toHaveLength(2)
    const ids = async (query: string) =>
      (await call('GET', `/v1/agents?${query}`)).body.agents.map((each: { id: string }) => each.id)
    expect(await ids('label=task=a%3Db&label=tier=x')).toEqual([agent])
    expect(await ids('label=task=a%3Db&label=tier=y')).toEqual([])
    expect(await ids('label=tier=x&node=one&status=idle')).toEqual([agent])
  })
})

describe('answers', () => {
  test('health needs no key, and is 503 until the node is ready', async () => {
    expect(await send(server.port, 'GET', '/v1/health', { key: null })).toMatchObject({
      status: 200,
      body: { live: true, ready: true, status: 'ok' },
    })
    server.node.ready = false
    const starting = await send(server.port, 'GET', '/v1/health', { key: null })
    server.node.ready = true
    expect(starting).toMatchObject({ status: 503, body: { live: true, ready: false, status: 'starting' } })
  })

  test('a spawn is 201, with the id of the caller or one of its own', async () => {
    const id = mintId('ag', Date.now())
    expect(await call('POST', '/v1/agents', { id, labels: { a: 'b' } })).toMatchObject({
      status: 201,
      body: { id, labels: { a: 'b' } },
    })
    expect((await call('POST', '/v1/agents', {})).body.id).toMatch(/^ag_/)
  })

  test('an agent is shown, ended, and purged when asked to', async () => {
    const { id } = server.node.addAgent()
    expect((await call('GET', `/v1/agents/${id}`)).body).toMatchObject({ id, status: 'idle' })
    expect((await call('DELETE', `/v1/agents/${id}`)).body).toMatchObject({ id, status: 'stopped' })
    expect(server.node.changes.at(-1)).toBe('kill')
    await call('DELETE', `/v1/agents/${id}?purge=true`)
    expect(server.node.changes.at(-1)).toBe('purge')
  })

  test('a refusal of the node keeps its code, its status and its fields', async () => {
    const none = await call('POST', '/v1/agents', { requirements: { gpu: true, gpuType: 'none-such' } })
    expect(none).toMatchObject({
      status: 409,
      body: { code: 'NO_CANDIDATE', considered: [{ node: 'one', reasons: ['no GPU'] }] },
    })
    const missing = mintId('ag', 1)
    expect(await call('GET', `/v1/agents/${missing}`)).toMatchObject({
      status: 404,
      body: { code: 'AGENT_NOT_FOUND', agent: missing },
    })
  })

  test('an invitation has its defaults filled in', async () => {
    expect((await call('POST', '/v1/realm/invitations', {})).body).toMatchObject({
      token: 'GDL1.token',
      uses: 1,
      role: 'member',
    })
    const given = await call('POST', '/v1/realm/invitations', { uses: 5, ttlSeconds: 60, role: 'admin' })
    expect(given).toMatchObject({ status: 201, body: { uses: 5, role: 'admin', expiresAtMs: 1_800_000_060_000 } })
  })

  test('a node without a realm says so', async () => {
    expect((await call('GET', '/v1/realm')).body).toMatchObject({ name: 'lab', version: 1 })
    server.node.inRealm = false
    const none = await call('GET', '/v1/realm')
    server.node.inRealm = true
    expect(none).toMatchObject({ status: 409, body: { code: 'REALM_REQUIRED' } })
  })

  test('the rest is there', async () => {
    expect((await call('GET', '/v1/identity')).body).toMatchObject({ name: 'one', realm: { name: 'lab' } })
    expect((await call('GET', '/v1/node')).body).toMatchObject({ capacity: { running: 2 } })
    expect((await call('GET', '/v1/peers')).body.peers).toHaveLength(1)
    expect((await call('POST', '/v1/routes/explain', {})).body).toMatchObject({ rule: 'strategy' })
    const metrics = await call('GET', '/metrics')
    expect(metrics.text).toBe('up 1\n')
    expect(metrics.headers['content-type']).toMatch(/^text\/plain; version=0.0.4/)
    expect(metrics.headers['cache-control']).toBe('no-store')
  })

  test('an upload arrives byte by byte as it was sent', async () => {
    const bytes = Buffer.from(Array.from({ length: 300_000 }, (_, index) => index % 251))
    const answer = await send(server.port, 'POST', '/v1/uploads', {
      raw: bytes,
      headers: { 'content-type': 'application/x-tar' },
    })
    expect(answer).toMatchObject({
      status: 201,
      body: { bytes: bytes.byteLength, upload: expect.stringMatching(/^up_/) },
    })
    expect(bytes.equals(server.node.uploads.at(-1)!)).toBe(true)
  })
})

describe('a caller that hangs up', () => {
  test('in the middle of an upload is no failure of ours', async () => {
    const said: { level: string; fields: unknown }[] = []
    const at = (level: string) => (_message: string, fields?: unknown) => void said.push({ level, fields })
    const log: Log = { ...silentLog, debug: at('debug'), warn: at('warn'), error: at('error') }
    const own = await startTestApi({ log })
    const socket = connect(own.port, '127.0.0.1')
    socket.write(
      `POST /v1/uploads HTTP/1.1\r\nhost: 127.0.0.1:${own.port}\r\nauthorization: Bearer ${apiKey}\r\n` +
        'content-type: application/x-tar\r\ncontent-length: 100000\r\n\r\nsome',
    )
    await waitFor('the upload begins', () => own.node.changes.includes('upload'))
    socket.destroy()
    await waitFor('it is told', () => said.length > 0)
    expect(said).toEqual([{ level: 'debug', fields: expect.objectContaining({ code: 'CANCELLED' }) }])
    await own.api.close()
  })
})
