/** From the command line to what a node is started with. */
import { mkdtempSync, rmSync, writeFileSync } from 'node:fs'
import { tmpdir } from 'node:os'
import { join, resolve } from 'node:path'
import { afterAll, beforeAll, describe, expect, test } from 'vitest'
import { Command } from 'commander'
import { limits } from '../../../src/base/limits.ts'
import { define } from '../../../src/cli/start.ts'
import { nodeOptionsOf, type StartFlags } from '../../../src/cli/start-options.ts'

/** What `start` makes of these words. */
const parse = async (words: string[], stdin = '') => {
  let flags: StartFlags = {}
  const command = new Command('start').exitOverride()
  define(command)
  command.action((given: StartFlags) => void (flags = given))
  await command.parseAsync(words, { from: 'user' })
  async function* bytes() {
    yield Buffer.from(stdin)
  }
  return nodeOptionsOf(flags, bytes())
}

describe('without options', () => {
  test('the defaults stand', async () => {
    expect(await parse(['--data-dir', '/d'])).toEqual({
      dataDir: '/d',
      apiPort: limits.apiPort,
      listen: [],
      bootstrap: [],
      labels: {},
      capabilities: [],
      gpu: { count: 0, types: [] },
      shareable: false,
      acceptPeers: [],
      announce: [],
      relay: true,
      mdns: false,
      acceptUnsandboxed: false,
    })
  })
})

test('every option is passed on', async () => {
  const words =
    '--realm lab --name one --data-dir d --api-port 0 --listen /ip4/1.2.3.4/tcp/1 --listen /ip4/1.2.3.4/tcp/2 --join GDL1.x ' +
    '--bootstrap /ip4/5.6.7.8/tcp/1/p2p/X --capacity 3 --region eu --label a=b --label c=d=e --capability make --capability docker ' +
    '--gpu 4 --gpu-types a100,h100 --cost-per-hour 1.5 --shareable --share-fraction 0.5 --accept-peer P --accept-peer /ip4/1.2.3.4/tcp/1/p2p/P --announce /dns4/a.example.org/tcp/1 --accept-unsandboxed ' +
    '--mdns --no-relay --websocket 7400'
  expect(await parse(words.split(' '))).toEqual({
    realm: 'lab',
    name: 'one',
    dataDir: resolve('d'),
    apiPort: 0,
    listen: ['/ip4/1.2.3.4/tcp/1', '/ip4/1.2.3.4/tcp/2'],
    join: 'GDL1.x',
    bootstrap: ['/ip4/5.6.7.8/tcp/1/p2p/X'],
    capacity: 3,
    region: 'eu',
    labels: { a: 'b', c: 'd=e' },
    capabilities: ['make', 'docker'],
    gpu: { count: 4, types: ['a100', 'h100'] },
    costPerHour: 1.5,
    shareable: true,
    shareFraction: 0.5,
    acceptPeers: ['P', '/ip4/1.2.3.4/tcp/1/p2p/P'],
    announce: ['/dns4/a.example.org/tcp/1'],
    relay: false,
    mdns: true,
    websocket: 7_400,
    acceptUnsandboxed: true,
  })
})

test('types of GPUs without a number are one of each', async () => {
  expect((await parse(['--gpu-types', 'a100,h100'])).gpu).toEqual({ count: 2, types: ['a100', 'h100'] })
})

describe('the join token', () => {
  const directory = mkdtempSync(join(tmpdir(), 'godel-join-'))
  const file = join(directory, 'token')
  beforeAll(() => writeFileSync(file, 'GDL1.from-a-file\n'))
  afterAll(() => rmSync(directory, { recursive: true }))

  test('is read from a file or from standard input, without the white space around it', async () => {
    expect((await parse(['--join', `@${file}`])).join).toBe('GDL1.from-a-file')
    expect((await parse(['--join', '-'], ' GDL1.from-stdin\n\n')).join).toBe('GDL1.from-stdin')
  })

  test('is found in the line that an invitation is', async () => {
    const line = 'godel-node start --realm lab --join GDL1.a.b-_c\nFor one host as member, until 12:00:00.\n'
    expect((await parse(['--join', '-'], line)).join).toBe('GDL1.a.b-_c')
    expect((await parse(['--join', line])).join).toBe('GDL1.a.b-_c')
    expect((await parse(['--join', 'something else'])).join).toBe('something else')
  })

  test.each([
    ['from a file that is not there', '@/nowhere', '', 'INVALID_ARGUMENT'],
    ['from nothing', '-', '\n', 'INVALID_ARGUMENT'],
    ['that goes on and on', '-', 'x'.repeat(limits.tokenBytesMax + 1), 'TOO_LARGE'],
  ])('%s is refused', async (_what, text, stdin, code) => {
    await expect(parse(['--join', text], stdin)).rejects.toMatchObject({ code })
  })
})

test.each([
  ['--api-port', '70000'],
  ['--capacity', '-1'],
  ['--gpu', 'two'],
  ['--label', 'x'],
  ['--cost-per-hour', 'free'],
])('%s %s is refused by name', async (option, value) => {
  await expect(parse([option, value])).rejects.toMatchObject({ code: 'INVALID_ARGUMENT', detail: { field: option } })
})
