/** The OpenAPI 3.1 document, made from the schemas that validate. Titled schemas become components under their title. */
import swagger from '@fastify/swagger'
import { Problem } from './schemas.ts'
import type { App } from './routes.ts'

type Json = null | boolean | number | string | Json[] | { [key: string]: Json }
type JsonObject = { [key: string]: Json }

const isObject = (value: Json | undefined): value is JsonObject =>
  typeof value === 'object' && value !== null && !Array.isArray(value)

/** To be registered before the routes that it describes. */
export const addOpenApi = async (app: App, version: string): Promise<void> => {
  let document: JsonObject | undefined
  await app.register(swagger, {
    openapi: {
      openapi: '3.1.0',
      info: {
        title: 'godel-node',
        version,
        description:
          'One node of a mesh that runs agents. Every error is a problem document (RFC 9457) with a stable code.',
        license: { name: 'Apache-2.0', identifier: 'Apache-2.0' },
      },
      servers: [{ url: '/' }],
      components: {
        securitySchemes: {
          apiKey: { type: 'http', scheme: 'bearer', description: 'The content of api.key in the data directory' },
        },
      },
      security: [{ apiKey: [] }],
    },
  })
  app.get('/v1/openapi.json', { schema: { summary: 'This document' } }, (_request, reply) => {
    document ??= finish(JSON.parse(JSON.stringify(app.swagger())) as JsonObject)
    return reply.send(document)
  })
}

const finish = (document: JsonObject): JsonObject => {
  const schemas: JsonObject = {}
  hoist(JSON.parse(JSON.stringify(Problem)) as Json, schemas)
  const paths = document['paths'] as JsonObject
  for (const operation of operationsOf(paths)) {
    const responses = (operation['responses'] ??= {}) as JsonObject
    responses['default'] = { $ref: '#/components/responses/Problem' }
    // Streams of bytes: nothing validates them, so that nothing has described them yet.
    const consumes = operation['x-consumes']
    if (typeof consumes === 'string') operation['requestBody'] = { required: true, content: { [consumes]: {} } }
    delete operation['x-consumes']
  }
  document['paths'] = hoist(paths, schemas)
  const problem = { 'application/problem+json': { schema: { $ref: '#/components/schemas/Problem' } } }
  const components = (document['components'] ?? {}) as JsonObject
  document['components'] = {
    ...components,
    schemas,
    responses: { Problem: { description: 'What went wrong and what to do', content: problem } },
  }
  return document
}

const operationsOf = (paths: JsonObject): JsonObject[] =>
  Object.values(paths)
    .flatMap((path) => Object.values(path as JsonObject))
    .filter(isObject)

/** The same value with every titled schema moved to `schemas` and referred to. */
const hoist = (value: Json, schemas: JsonObject): Json => {
  if (Array.isArray(value)) return value.map((entry) => hoist(entry, schemas))
  if (!isObject(value)) return value
  const walked = Object.fromEntries(Object.entries(value).map(([key, entry]) => [key, hoist(entry, schemas)]))
  const { title } = walked
  if (typeof title !== 'string' || !('type' in walked || 'anyOf' in walked)) return walked
  schemas[title] = walked
  return { $ref: `#/components/schemas/${title}` }
}
