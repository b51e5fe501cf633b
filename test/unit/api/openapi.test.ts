/** The OpenAPI document: of version 3.1, complete, and without loose ends. */
import { afterAll, beforeAll, expect, test } from 'vitest'
import { send, startTestApi, type TestApi } from '../../fakes/api-server.ts'

let server: TestApi
let document: any
beforeAll(async () => {
  server = await startTestApi()
  document = (await send(server.port, 'GET', '/v1/openapi.json')).body
})
afterAll(() => server.api.close())

const operations = (): [string, any][] =>
  Object.entries<object>(document.paths).flatMap(([path, methods]) =>
    Object.entries(methods).map(([method, operation]): [string, any] => [`${method.toUpperCase()} ${path}`, operation]),
  )

test('it is OpenAPI 3.1 and names every route', () => {
  expect(document.openapi).toBe('3.1.0')
  expect(document.info).toMatchObject({ title: 'godel-node', version: '0.1.0' })
  expect(
    operations()
      .map(([name]) => name)
      .toSorted(),
  ).toEqual([
    'DELETE /v1/agents/{id}',
    'DELETE /v1/federation/peers/{peer}',
    'DELETE /v1/node/drain',
    'DELETE /v1/realm/issuers/{node}',
    'DELETE /v1/realm/realms/{realm}',
    'DELETE /v1/realm/revocations/{node}',
    'GET /metrics',
    'GET /v1/agents',
    'GET /v1/agents/{id}',
    'GET /v1/audit',
    'GET /v1/federation/peers',
    'GET /v1/health',
    'GET /v1/identity',
    'GET /v1/node',
    'GET /v1/node/drain',
    'GET /v1/openapi.json',
    'GET /v1/peers',
    'GET /v1/realm',
    'GET /v1/realm/card',
    'GET /v1/realm/issuers',
    'GET /v1/realm/realms',
    'GET /v1/realm/revocations',
    'GET /v1/routes',
    'GET /v1/routes/events',
    'GET /v1/settings/failover',
    'POST /v1/agents',
    'POST /v1/agents/{id}/exec',
    'POST /v1/agents/{id}/execs/{execId}/stdin',
    'POST /v1/federation/peers',
    'POST /v1/node/drain',
    'POST /v1/realm/invitations',
    'POST /v1/realm/issuers',
    'POST /v1/realm/realms',
    'POST /v1/realm/revocations',
    'POST /v1/realm/root/rotation',
    'POST /v1/routes/explain',
    'POST /v1/uploads',
    'PUT /v1/realm/realms/{realm}/grant',
    'PUT /v1/settings/failover',
  ])
})

test('every operation says what it is for, and that it may answer with a problem', () => {
  for (const [name, operation] of operations()) {
    expect(operation.summary, name).toMatch(/\w/)
    expect(operation.responses.default, name).toEqual({ $ref: '#/components/responses/Problem' })
  }
})

test('every reference leads somewhere, and every parameter of a path is described', () => {
  const references = [...JSON.stringify(document).matchAll(/"\$ref":"#\/([^"]+)"/g)].map((match) => match[1]!)
  expect(references.length).toBeGreaterThan(20)
  for (const reference of references)
    expect(
      reference.split('/').reduce((value: any, part) => value?.[part], document),
      reference,
    ).toBeDefined()
  for (const [name, operation] of operations()) {
    const described = (operation.parameters ?? [])
      .filter((each: any) => each.in === 'path')
      .map((each: any) => each.name)
    expect(described, name).toEqual([...name.matchAll(/\{(\w+)\}/g)].map((match) => match[1]))
  }
})

test('the shapes have their names', () => {
  const named = [
    'Agent',
    'AgentList',
    'Decision',
    'ExecLine',
    'ExecSpec',
    'Invitation',
    'NodeStatusReport',
    'Problem',
    'SpawnRequest',
  ]
  expect(Object.keys(document.components.schemas)).toEqual(expect.arrayContaining(named))
  const spawn = document.paths['/v1/agents'].post
  expect(spawn.requestBody.content['application/json'].schema).toEqual({ $ref: '#/components/schemas/SpawnRequest' })
  expect(spawn.responses[201].content['application/json'].schema).toEqual({ $ref: '#/components/schemas/Agent' })
  expect(document.components.schemas.SpawnRequest.properties.timeoutSeconds).toMatchObject({
    type: 'integer',
    minimum: 1,
  })
})

test('streams and bytes are described by their type', () => {
  const exec = document.paths['/v1/agents/{id}/exec'].post
  expect(exec.responses[200].content).toEqual({
    'application/x-ndjson': { schema: { $ref: '#/components/schemas/ExecLine' } },
  })
  expect(Object.keys(document.paths['/v1/uploads'].post.requestBody.content)).toEqual(['application/x-tar'])
  const stdin = document.paths['/v1/agents/{id}/execs/{execId}/stdin'].post
  expect(Object.keys(stdin.requestBody.content)).toEqual(['application/octet-stream'])
  expect(document.components.securitySchemes.apiKey).toMatchObject({ type: 'http', scheme: 'bearer' })
  expect(document.paths['/v1/health'].get.security).toEqual([])
})
