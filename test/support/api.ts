/** The HTTP API of a test node, spoken to directly. */
import { readFile } from 'node:fs/promises'
import { join } from 'node:path'
import type { TestNode } from './nodes.ts'

export interface Answer {
  status: number
  body: any
}

export const callApi = async (node: TestNode, method: string, path: string, body?: unknown): Promise<Answer> => {
  const key = (await readFile(join(node.dataDir, 'api.key'), 'utf8')).trim()
  const response = await fetch(`${node.ready.api}${path}`, {
    method,
    headers: { authorization: `Bearer ${key}`, ...(body !== undefined && { 'content-type': 'application/json' }) },
    ...(body !== undefined && { body: JSON.stringify(body) }),
  })
  return { status: response.status, body: await response.json() }
}

export const spawnOver = (node: TestNode, request: Record<string, unknown> = {}): Promise<Answer> =>
  callApi(node, 'POST', '/v1/agents', request)
