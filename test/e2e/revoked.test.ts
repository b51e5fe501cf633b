/** A node that is put out in the middle of its work, in real processes: what it runs, what runs on it, and its way back. */
import { once } from 'node:events'
import { afterAll, beforeAll, expect, test } from 'vitest'
import { callApi } from '../support/api.ts'
import { createTestBed, openCli, type TestNode } from '../support/nodes.ts'
import { processesWith } from '../support/processes.ts'
import { waitFor } from '../support/wait.ts'

const bed = createTestBed()
afterAll(bed.dispose, 30_000)

let founder: TestNode
let second: TestNode
let third: TestNode
beforeAll(async () => {
  const specs = ['one', 'two', 'three'].map((name) => ({ name }))
  ;[founder, second, third] = (await bed.realm(specs)) as [TestNode, TestNode, TestNode]
  for (const node of [founder, second, third])
    await waitFor('all are connected', async () => (await connectedTo(node)).length === 2)
})

const connectedTo = async (node: TestNode): Promise<string[]> => {
  const { peers } = (await callApi(node, 'GET', '/v1/peers')).body as { peers: any[] }
  return peers.filter((peer) => !peer.self && peer.connected).map((peer) => peer.name)
}
const notesOf = async (node: TestNode): Promise<string> => {
  const { notes } = (await callApi(node, 'GET', '/v1/node')).body as { notes: string[] }
  return notes.join(' ')
}

/** A command that says something ten times a second for ever, once it does. */
const streaming = async (caller: TestNode, agent: string, mark: string) => {
  const script = `while :; do echo tick; sleep 0.1; done # ${mark}`
  const cli = openCli(['agent', 'exec', agent, '--data-dir', caller.dataDir, '--', 'sh', '-c', script])
  let [said, errors] = ['', '']
  cli.stdout!.setEncoding('utf8').on('data', (part: string) => (said += part))
  cli.stderr!.setEncoding('utf8').on('data', (part: string) => (errors += part))
  const ended = once(cli, 'close').then(([code]) => ({ code: code as number | null, errors, atMs: performance.now() }))
  await waitFor('it streams', () => said.split('tick').length > 5 && processesWith(mark).length > 0)
  return { mark, ended }
}

let ofThird: string

test('what a revoked node runs elsewhere, and what runs on it, ends at both ends within two seconds', async () => {
  const mark = (what: string) => `godel-revoked-${process.pid}-${what}`
  ofThird = (await third.json(['agent', 'spawn', '--node', 'two'])).id as string
  const onThird = (await founder.json(['agent', 'spawn', '--node', 'three'])).id as string
  const asCaller = await streaming(third, ofThird, mark('caller'))
  const asHost = await streaming(founder, onThird, mark('host'))

  await founder.json(['realm', 'revoke', 'three', '--yes'])
  const saidMs = performance.now()
  await waitFor('no process is left', () => [asCaller, asHost].every((each) => processesWith(each.mark).length === 0), {
    withinMs: 2_000,
  })
  for (const { ended } of [asCaller, asHost]) {
    const { code, errors, atMs } = await ended
    expect(code).not.toBe(0)
    expect(errors).toMatch(/connection to .* was lost/)
    expect(atMs - saidMs).toBeLessThan(2_000)
  }
}, 60_000)

test('its agents on other nodes are stopped, with the reason, and their files stay', async () => {
  const { body } = await waitFor('its agent is stopped', async () => {
    const shown = await callApi(second, 'GET', `/v1/agents/${ofThird}`)
    return shown.body.status === 'stopped' && shown
  })
  expect(body).toMatchObject({ reason: `its owner ${third.ready.peerId} has been revoked` })
  expect((await second.cli(['agent', 'exec', ofThird, '--', 'true'])).code).not.toBe(0)
})

test('it is refused when it comes back, is told why, and says so to its own operator, after a restart too', async () => {
  const why = /does not hold: the peer has been revoked \(by 12D3KooW\w+\)/
  await waitFor('it knows', async () => why.test(await notesOf(third)))
  await third.end()
  third = await third.restart()
  expect(await notesOf(third)).toMatch(why)
  const { entries } = await founder.json(['audit'])
  expect(entries).toContainEqual(
    expect.objectContaining({ by: third.ready.peerId, outcome: 'refused', reason: expect.stringMatching(/revoked/) }),
  )
  expect(await connectedTo(third)).toEqual([])
})

test('a new token does not let it in, and the refusal says what does', async () => {
  const { token } = await founder.json(['realm', 'invite'])
  await third.end()
  const refused = await third.restart(['--join', token]).catch(String)
  expect(refused).toMatch(/CERTIFICATE_INVALID/)
  expect(refused).toContain(`godel-node realm lift ${third.ready.peerId}`)
})

test('once it is lifted it comes back by itself, though it was stopped and knows of nothing but its revocation', async () => {
  await founder.json(['realm', 'lift', third.ready.peerId])
  third = await third.restart()
  for (const name of ['one', 'two'])
    await waitFor(`it is connected to ${name}`, async () => (await connectedTo(third)).includes(name), {
      withinMs: 60_000,
    })
  await waitFor('it knows that it is in', async () => (await notesOf(third)) === '')
  const agent = await third.json(['agent', 'spawn', '--node', 'two'])
  expect((await third.cli(['agent', 'exec', agent.id, '--', 'echo', 'back'])).stdout).toBe('back\n')
}, 120_000)
