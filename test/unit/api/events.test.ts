/** Decisions as server-sent events: live, and taken up again where a reader was cut off. */
import { request, type IncomingMessage } from 'node:http'
import { once } from 'node:events'
import { afterEach, beforeEach, expect, test } from 'vitest'
import { createFakeClock, type FakeClock } from '../../fakes/clock.ts'
import { apiKey, startTestApi, type TestApi } from '../../fakes/api-server.ts'
import { waitFor } from '../../support/wait.ts'

let server: TestApi
let clock: FakeClock
beforeEach(async () => {
  clock = createFakeClock()
  server = await startTestApi({ clock, limits: { apiHeartbeatMs: 1_000 } })
})
afterEach(() => server.api.close())

const follow = async (lastEventId?: string) => {
  const headers = {
    authorization: `Bearer ${apiKey}`,
    ...(lastEventId !== undefined && { 'last-event-id': lastEventId }),
  }
  const outgoing = request({ host: '127.0.0.1', port: server.port, path: '/v1/routes/events', headers, agent: false })
  outgoing.end()
  const [response] = (await once(outgoing, 'response')) as [IncomingMessage]
  const state = { response, text: '' }
  response.on('data', (part: Buffer) => (state.text += part.toString()))
  response.on('error', () => {})
  return state
}
const ids = (text: string) => [...text.matchAll(/^id: (.*)$/gm)].map((match) => match[1])

test('a reader gets the decisions from now on, each with its id and all of it', async () => {
  server.node.decide('rq_old')
  const reader = await follow()
  expect(reader.response.headers['content-type']).toBe('text/event-stream')
  await waitFor('it follows', () => server.node.followers() === 1)
  const decision = server.node.decide('rq_new')
  await waitFor('it has it', () => ids(reader.text).length === 1)
  expect(reader.text).toBe(`id: rq_new\nevent: decision\ndata: ${JSON.stringify(decision)}\n\n`)
})

test('with Last-Event-ID it gets what it missed, in order and once', async () => {
  for (const id of ['rq_1', 'rq_2', 'rq_3']) server.node.decide(id)
  const reader = await follow('rq_1')
  await waitFor('it has caught up', () => ids(reader.text).length === 2)
  server.node.decide('rq_4')
  await waitFor('it has the next one', () => ids(reader.text).includes('rq_4'))
  expect(ids(reader.text)).toEqual(['rq_2', 'rq_3', 'rq_4'])
  expect(reader.text).not.toContain('event: gap')
})

test('a reader that has all of it gets nothing twice', async () => {
  server.node.decide('rq_1')
  const reader = await follow('rq_1')
  await waitFor('it follows', () => server.node.followers() === 1)
  server.node.decide('rq_2')
  await waitFor('it has it', () => ids(reader.text).length > 0)
  expect(ids(reader.text)).toEqual(['rq_2'])
})

test('what is not kept any more is announced as a gap', async () => {
  server.node.decide('rq_8')
  const reader = await follow('rq_1')
  await waitFor('it has caught up', () => ids(reader.text).length === 1)
  expect(reader.text).toMatch(/^event: gap\ndata: \{"after":"rq_1"\}\n\nid: rq_8\n/)
})

test('a quiet stream says now and then that it is there', async () => {
  const reader = await follow()
  await waitFor('it follows', () => server.node.followers() === 1)
  await clock.advance(2_500)
  await waitFor('two comments', () => reader.text === ': still here\n\n: still here\n\n')
})

test('a reader that goes away is let go', async () => {
  const reader = await follow()
  await waitFor('it follows', () => server.node.followers() === 1)
  reader.response.destroy()
  await waitFor('nobody follows', () => server.node.followers() === 0 && server.api.streams() === 0)
})
