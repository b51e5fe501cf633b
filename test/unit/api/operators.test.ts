/** What operators ask of a node over HTTP: governing its realm, pins, draining, and the audit log of all of it. */
import { afterAll, beforeAll, beforeEach, describe, expect, test } from 'vitest'
import { apiKey, send, startTestApi, type Answer, type TestApi } from '../../fakes/api-server.ts'
import { fakePeer, otherPeer } from '../../fakes/node-services.ts'

let server: TestApi
beforeAll(async () => {
  server = await startTestApi()
})
afterAll(() => server.api.close())
beforeEach(() => {
  server.node.audited.splice(0)
  server.node.changes.splice(0)
})

const call = (method: string, path: string, json?: unknown): Promise<Answer> =>
  send(server.port, method, path, json === undefined ? {} : { json })

describe('the audit log', () => {
  test('has every refused key, host and page, and never the key itself', async () => {
    await send(server.port, 'GET', '/v1/node', { key: 'wrong-key-123' })
    await send(server.port, 'GET', '/v1/node', { key: null })
    await send(server.port, 'POST', '/v1/agents', { headers: { host: 'evil.example' } })
    await send(server.port, 'GET', '/v1/agents', { headers: { origin: 'http://evil.example' } })
    await send(server.port, 'GET', '/nothing', { key: null })
    expect(server.node.audited.map(({ action, outcome, reason }) => [action, outcome, reason!.split(':')[0]])).toEqual([
      ['GET /v1/node', 'refused', 'UNAUTHENTICATED'],
      ['GET /v1/node', 'refused', 'UNAUTHENTICATED'],
      ['POST /v1/agents', 'refused', 'HOST_REFUSED'],
      ['GET /v1/agents', 'refused', 'HOST_REFUSED'],
      ['GET of an unknown route', 'refused', 'UNAUTHENTICATED'],
    ])
    const text = JSON.stringify(server.node.audited)
    expect(text).not.toContain('wrong-key-123')
    expect(text).not.toContain(apiKey)
  })

  test('has every privileged act, and whom it concerned', async () => {
    const agent = server.node.addAgent({ owner: otherPeer }).id
    for (const [method, path, json] of [
      ['POST', '/v1/realm/invitations', { uses: 3, role: 'admin' }],
      ['POST', '/v1/realm/issuers', { node: 'two' }],
      ['DELETE', '/v1/realm/issuers/two', undefined],
      ['POST', '/v1/realm/revocations', { node: otherPeer }],
      ['DELETE', `/v1/realm/revocations/two`, undefined],
      ['POST', '/v1/realm/root/rotation', {}],
      ['POST', '/v1/realm/realms', { card: ' GDR1.secretless\n', out: true }],
      ['PUT', `/v1/realm/realms/${'cd'.repeat(32)}/grant`, { scopes: ['exec'], agentsPerNode: 2 }],
      ['DELETE', `/v1/realm/realms/${'cd'.repeat(32)}`, undefined],
      ['POST', '/v1/federation/peers', { peer: otherPeer, scopes: ['capacity'] }],
      ['DELETE', `/v1/federation/peers/${otherPeer}`, undefined],
      ['POST', '/v1/node/drain', {}],
      ['DELETE', '/v1/node/drain', undefined],
      ['DELETE', `/v1/agents/${agent}`, undefined],
    ] as const)
      expect((await call(method, path, json)).status, `${method} ${path}`).toBeLessThan(300)
    expect(server.node.audited.map(({ action, subject, outcome }) => [action, subject, outcome])).toEqual([
      ['invite 3 as admin', undefined, 'done'],
      ['promote for member, observer', otherPeer, 'done'],
      ['demote', otherPeer, 'done'],
      ['revoke', otherPeer, 'done'],
      ['lift', otherPeer, 'done'],
      ['rotate-root', undefined, 'done'],
      ['trust with out', undefined, 'done'],
      ['share exec, 2 agents a node', 'cd'.repeat(32), 'done'],
      ['withdraw', 'cd'.repeat(32), 'done'],
      ['register with capacity', otherPeer, 'done'],
      ['unregister', otherPeer, 'done'],
      ['drain', undefined, 'done'],
      ['undrain', undefined, 'done'],
      ['kill an agent of another owner', agent, 'done'],
    ])
  })

  test('has what was refused of them, with the code', async () => {
    expect((await call('POST', '/v1/realm/revocations', { node: 'one' })).body.code).toBe('CONFLICT')
    expect(server.node.audited).toMatchObject([
      {
        action: 'revoke',
        by: 'api',
        subject: fakePeer,
        outcome: 'refused',
        reason: expect.stringMatching(/^CONFLICT: /),
      },
    ])
  })

  test('leaves the end of an own agent out, and a look at things', async () => {
    await call('DELETE', `/v1/agents/${server.node.addAgent({ owner: fakePeer }).id}`)
    for (const path of ['/v1/audit', '/v1/realm/revocations', '/v1/realm/card', '/v1/node/drain'])
      await call('GET', path)
    expect(server.node.audited).toEqual([])
  })

  test('is read from a time on and to a number, both within bounds', async () => {
    for (let n = 0; n < 5; n++) await call('POST', '/v1/node/drain', {})
    const seqs = async (query: string) =>
      (await call('GET', `/v1/audit${query}`)).body.entries.map(({ seq }: { seq: number }) => seq)
    expect(await seqs('?limit=2')).toEqual([4, 5])
    expect(await seqs(`?since=${server.node.audited[3]!.atMs}`)).toEqual([4, 5])
    for (const query of ['?limit=0', '?limit=100000', '?since=-1', '?since=x', '?other=1'])
      expect((await call('GET', `/v1/audit${query}`)).body.code, query).toBe('INVALID_ARGUMENT')
  })
})

test.each([
  ['POST', '/v1/realm/issuers', { node: 'nobody' }, 'NOT_FOUND'],
  ['POST', '/v1/realm/issuers', { node: 'two', roles: [] }, 'INVALID_ARGUMENT'],
  ['POST', '/v1/realm/issuers', { node: 'two', roles: ['king'] }, 'INVALID_ARGUMENT'],
  ['POST', '/v1/realm/issuers', { node: 'two', role: 'admin' }, 'INVALID_ARGUMENT'],
  ['DELETE', '/v1/realm/issuers/nobody', undefined, 'NOT_FOUND'],
  ['POST', '/v1/realm/revocations', {}, 'INVALID_ARGUMENT'],
  ['POST', '/v1/realm/revocations', { node: 'two', sinceMs: -1 }, 'INVALID_ARGUMENT'],
  ['DELETE', `/v1/realm/revocations/${fakePeer}`, undefined, 'NOT_FOUND'],
  ['POST', '/v1/realm/root/rotation', { now: true }, 'INVALID_ARGUMENT'],
  ['POST', '/v1/realm/realms', { card: 'GDL1.token' }, 'INVALID_ARGUMENT'],
  ['POST', '/v1/realm/realms', { card: 'x'.repeat(300_000) }, 'INVALID_ARGUMENT'],
  ['PUT', '/v1/realm/realms/nothing/grant', { scopes: [], agentsPerNode: 1 }, 'NOT_FOUND'],
  ['PUT', '/v1/realm/realms/nothing/grant', { scopes: ['all'], agentsPerNode: 1 }, 'INVALID_ARGUMENT'],
  ['PUT', '/v1/realm/realms/nothing/grant', { scopes: ['exec'], agentsPerNode: -1 }, 'INVALID_ARGUMENT'],
  ['DELETE', '/v1/realm/realms/nothing', undefined, 'NOT_FOUND'],
  ['POST', '/v1/federation/peers', { peer: 'someone' }, 'INVALID_ARGUMENT'],
  ['POST', '/v1/federation/peers', { peer: otherPeer, addresses: Array(9).fill('/x') }, 'INVALID_ARGUMENT'],
  ['DELETE', '/v1/federation/peers/someone', undefined, 'INVALID_ARGUMENT'],
])('%s %s with %j is refused with %4$s', async (method, path, json, code) => {
  const answer = await call(method, path, json)
  expect(answer.body.code).toBe(code)
  expect(answer.body.next).toMatch(/\w/)
  expect(server.node.changes).toEqual([])
})

test('no page can drain a node or rotate its root with a simple request', async () => {
  for (const path of ['/v1/node/drain', '/v1/realm/root/rotation'])
    for (const type of ['text/plain', 'application/x-www-form-urlencoded', 'multipart/form-data; boundary=x'])
      expect((await send(server.port, 'POST', path, { raw: '{}', headers: { 'content-type': type } })).status).toBe(415)
  for (const path of ['/v1/node/drain', '/v1/realm/root/rotation'])
    expect((await send(server.port, 'POST', path)).status).toBe(400)
  expect(server.node.changes).toEqual([])
})
