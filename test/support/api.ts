/** The HTTP API of a test node, spoken to directly, over its Unix socket: that reaches a node on a machine of its own too. */
import { readFile } from 'node:fs/promises'
import { request as httpRequest, type IncomingMessage } from 'node:http'
import { join } from 'node:path'
import { text } from 'node:stream/consumers'
import type { TestNode } from './nodes.ts'

export interface Answer {
  status: number
  body: any
}

/** The answer as it begins; its body is still to be read. */
export const openApi = async (
  { dataDir }: Pick<TestNode, 'dataDir'>,
  method: string,
  path: string,
  body?: unknown,
): Promise<IncomingMessage> => {
  const key = (await readFile(join(dataDir, 'api.key'), 'utf8')).trim()
  const headers = { authorization: `Bearer ${key}`, ...(body !== undefined && { 'content-type': 'application/json' }) }
  return new Promise((resolve, reject) => {
    const socketPath = join(dataDir, 'api.sock')
    const sent = httpRequest({ socketPath, method, path, headers, agent: false }, resolve)
    sent.once('error', reject)
    sent.end(body === undefined ? undefined : JSON.stringify(body))
  })
}

export const callApi = async (
  node: Pick<TestNode, 'dataDir'>,
  method: string,
  path: string,
  body?: unknown,
): Promise<Answer> => {
  const answer = await openApi(node, method, path, body)
  return { status: answer.statusCode!, body: JSON.parse(await text(answer)) }
}

export const spawnOver = (node: Pick<TestNode, 'dataDir'>, request: Record<string, unknown> = {}): Promise<Answer> =>
  callApi(node, 'POST', '/v1/agents', request)
