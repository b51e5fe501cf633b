/** Who may speak to the API: checked on every route that the document names, and on those that there are not. */
import { mkdtempSync, rmSync, statSync } from 'node:fs'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { connect } from 'node:net'
import { afterAll, beforeAll, describe, expect, test } from 'vitest'
import { mintId } from '../../../src/base/ids.ts'
import { apiKey, send, startTestApi, type TestApi } from '../../fakes/api-server.ts'

let server: TestApi
let routes: { method: string; path: string; open: boolean }[]
const directory = mkdtempSync(join(tmpdir(), 'godel-api-'))
const socketPath = join(directory, 'api.sock')
const logged: unknown[] = []

beforeAll(async () => {
  const record = (message: string, fields?: unknown) => void logged.push(message, fields)
  const log = { debug: record, info: record, warn: record, error: record, child: () => log }
  server = await startTestApi({ socketPath, log })
  const { body } = await send(server.port, 'GET', '/v1/openapi.json')
  const ids = { '{id}': mintId('ag', 0), '{execId}': mintId('ex', 0) }
  routes = Object.entries<Record<string, { security?: unknown[] }>>(body.paths).flatMap(([path, operations]) =>
    Object.entries(operations).map(([method, operation]) => ({
      method: method.toUpperCase(),
      path: Object.entries(ids).reduce((text, [name, id]) => text.replace(name, id), path),
      open: operation.security?.length === 0,
    })),
  )
  routes.push(
    { method: 'GET', path: '/nothing/here', open: false },
    { method: 'POST', path: '/v1/health', open: false },
  )
})
afterAll(async () => {
  await server.api.close()
  rmSync(directory, { recursive: true })
})

const each = async (check: (route: (typeof routes)[number]) => Promise<void>) => {
  expect(routes.length).toBeGreaterThan(16)
  for (const route of routes) await check(route)
}
const name = (route: (typeof routes)[number]) => `${route.method} ${route.path}`

describe('every route', () => {
  test('wants the key, but for health and identity', async () => {
    await each(async (route) => {
      const answer = await send(server.port, route.method, route.path, { key: null })
      if (route.open) expect(answer.status, name(route)).toBe(200)
      else {
        expect(answer.status, name(route)).toBe(401)
        expect(answer.body.code).toBe('UNAUTHENTICATED')
        expect(answer.headers['content-type']).toBe('application/problem+json')
        expect(answer.headers['www-authenticate']).toBe('Bearer')
      }
    })
    expect(routes.filter((route) => route.open).map(name)).toEqual(['GET /v1/health', 'GET /v1/identity'])
  })

  test.each(['wrong', `${apiKey}x`, apiKey.slice(1), apiKey.toUpperCase()])('refuses the key %s', async (key) => {
    await each(async (route) => {
      if (!route.open)
        expect((await send(server.port, route.method, route.path, { key })).status, name(route)).toBe(401)
    })
  })

  const foreignHosts = () => [
    'evil.example',
    `evil.example:${server.port}`,
    '127.0.0.1',
    `127.0.0.1:${server.port + 1}`,
    `127.0.0.1.evil.example:${server.port}`,
    `0.0.0.0:${server.port}`,
    `127.0.0.1:${server.port}@evil.example`,
    '',
  ]
  test('answers to its own host and port alone', async () => {
    await each(async (route) => {
      for (const host of foreignHosts()) {
        const answer = await send(server.port, route.method, route.path, { headers: { host } })
        expect(answer.status, `${name(route)} for ${host}`).toBe(403)
        expect(answer.body.code).toBe('HOST_REFUSED')
      }
    })
    for (const host of [`localhost:${server.port}`, `LOCALHOST:${server.port}`, `[::1]:${server.port}`])
      expect((await send(server.port, 'GET', '/v1/node', { headers: { host } })).status).toBe(200)
  })

  test('answers to no page but its own', async () => {
    await each(async (route) => {
      for (const origin of [
        'http://evil.example',
        'null',
        `https://127.0.0.1:${server.port}`,
        `http://127.0.0.1:${server.port + 1}`,
      ]) {
        const answer = await send(server.port, route.method, route.path, { headers: { origin } })
        expect(answer.status, `${name(route)} from ${origin}`).toBe(403)
      }
    })
    const own = await send(server.port, 'GET', '/v1/node', { headers: { origin: `http://127.0.0.1:${server.port}` } })
    expect(own.status).toBe(200)
  })
})

test('a page cannot do anything with a simple POST, key or no key', async () => {
  const before = [...server.node.changes]
  for (const path of ['/v1/agents', '/v1/realm/invitations', '/v1/routes/explain', '/v1/uploads'])
    for (const key of [null, apiKey])
      for (const type of ['text/plain', 'application/x-www-form-urlencoded', 'multipart/form-data; boundary=x'])
        expect(
          (await send(server.port, 'POST', path, { key, raw: '{}', headers: { 'content-type': type } })).status,
        ).toBe(key ? 415 : 401)
  expect(server.node.changes).toEqual(before)
})

describe('over the Unix socket', () => {
  test('the key is wanted, and any host will do', async () => {
    expect((await send(server.port, 'GET', '/v1/node', { socketPath, key: null })).status).toBe(401)
    expect((await send(server.port, 'GET', '/v1/node', { socketPath, headers: { host: 'godel' } })).status).toBe(200)
    expect(
      (await send(server.port, 'GET', '/v1/node', { socketPath, headers: { origin: 'http://evil.example' } })).status,
    ).toBe(403)
  })

  test('the socket is for its owner alone', () => {
    expect(statSync(socketPath).mode & 0o777).toBe(0o600)
  })
})

/** What the server answers to these very bytes. */
const raw = (bytes: string): Promise<string> =>
  new Promise((resolve, reject) => {
    const socket = connect(server.port, '127.0.0.1', () => socket.end(bytes))
    let text = ''
    socket.on('data', (part) => (text += part.toString()))
    socket.on('error', reject)
    socket.on('close', () => resolve(text))
  })

test.each([
  ['that is no HTTP', 'hello\r\n\r\n', 400],
  ['without a host', 'GET /v1/node HTTP/1.0\r\n\r\n', 403],
  ['with a broken URL and no key', 'GET /%zz HTTP/1.1\r\nhost: HOST\r\n\r\n', 401],
  ['with a broken URL for another host', 'GET /%zz HTTP/1.1\r\nhost: evil.example\r\n\r\n', 403],
  ['with headers without end', `GET / HTTP/1.1\r\nhost: HOST\r\nx: ${'y'.repeat(20_000)}\r\n\r\n`, 431],
])('a request %s is answered with a problem', async (_what, bytes, status) => {
  const text = await raw(bytes.replace('HOST', `127.0.0.1:${server.port}`))
  expect(text).toMatch(new RegExp(`^HTTP/1.1 ${status} `))
  expect(JSON.parse(text.slice(text.indexOf('\r\n\r\n') + 4))).toMatchObject({ status, code: expect.any(String) })
})

test('no key appears in any log or problem', async () => {
  const answer = await send(server.port, 'GET', `/v1/agents/${mintId('ag', 0)}`)
  expect(answer.text).not.toContain(apiKey)
  expect(JSON.stringify(logged)).not.toContain(apiKey)
})
