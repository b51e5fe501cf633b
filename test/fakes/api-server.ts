/** The real API over a fake node, on a free port of loopback. */
import { request, type IncomingHttpHeaders } from 'node:http'
import { startApi, type Api } from '../../src/api/api.ts'
import type { Clock } from '../../src/base/clock.ts'
import { limits, type Limits } from '../../src/base/limits.ts'
import { silentLog, type Log } from '../../src/base/log.ts'
import { silentMeter } from '../../src/base/meter.ts'
import { createRealClock } from '../../src/node/real-clock.ts'
import { createFakeNode, type FakeNode } from './node-services.ts'

export const apiKey = 'test-key-0123456789abcdef'

export interface TestApi {
  api: Api
  node: FakeNode
  port: number
}

export interface TestApiOptions {
  clock?: Clock
  limits?: Partial<Limits>
  log?: Log
  socketPath?: string
}

export const startTestApi = async (options: TestApiOptions = {}): Promise<TestApi> => {
  const node = createFakeNode()
  const api = await startApi(
    {
      services: node,
      clock: options.clock ?? createRealClock(),
      log: options.log ?? silentLog,
      meter: silentMeter,
      limits: { ...limits, ...options.limits },
    },
    { host: '127.0.0.1', port: 0, apiKey, ...(options.socketPath !== undefined && { socketPath: options.socketPath }) },
  )
  return { api, node, port: Number(new URL(api.url).port) }
}

export interface Answer {
  status: number
  headers: IncomingHttpHeaders
  text: string
  body: any
}

export interface SendOptions {
  key?: string | null
  headers?: Record<string, string>
  /** Sent as it is. */
  raw?: string | Buffer
  json?: unknown
  socketPath?: string
}

/** One request with exactly these headers; the key is sent unless told otherwise. */
export const send = (port: number, method: string, path: string, options: SendOptions = {}): Promise<Answer> =>
  new Promise((resolve, reject) => {
    const { key = apiKey, json, raw = json === undefined ? undefined : JSON.stringify(json) } = options
    const headers = {
      host: `127.0.0.1:${port}`,
      ...(key !== null && { authorization: `Bearer ${key}` }),
      ...(json !== undefined && { 'content-type': 'application/json' }),
      ...(raw !== undefined && { 'content-length': String(Buffer.byteLength(raw)) }),
      ...options.headers,
    }
    const where = options.socketPath === undefined ? { host: '127.0.0.1', port } : { socketPath: options.socketPath }
    const outgoing = request({ ...where, method, path, headers, agent: false, setHost: false }, (response) => {
      let text = ''
      response.setEncoding('utf8')
      response.on('data', (part: string) => (text += part))
      response.on('error', reject)
      response.on('end', () => {
        const isJson = text !== '' && /[/+]json/.test(response.headers['content-type'] ?? '')
        resolve({
          status: response.statusCode!,
          headers: response.headers,
          text,
          body: isJson ? JSON.parse(text) : undefined,
        })
      })
    })
    outgoing.on('error', reject)
    outgoing.end(raw)
  })
