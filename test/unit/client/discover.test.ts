/** Where the client looks for its node, and in which order. */
import { mkdtempSync, mkdirSync, rmSync, writeFileSync } from 'node:fs'
import { homedir, tmpdir } from 'node:os'
import { join } from 'node:path'
import { afterAll, beforeAll, describe, expect, test } from 'vitest'
import { defaultDataDir, discover } from '../../../src/client/discover.ts'

const root = mkdtempSync(join(tmpdir(), 'godel-discover-'))
const directory = (name: string, files: Record<string, string>): string => {
  const path = join(root, name)
  mkdirSync(path)
  for (const [file, text] of Object.entries(files)) writeFileSync(join(path, file), text)
  return path
}
let named: string
let fallback: string
beforeAll(() => {
  named = directory('named', {
    'api.json': '{"url":"http://127.0.0.1:1111","socket":"x","pid":1}',
    'api.key': 'named-key\n',
  })
  fallback = directory('fallback', { 'api.json': '{"url":"http://127.0.0.1:2222"}', 'api.key': 'fallback-key' })
})
afterAll(() => rmSync(root, { recursive: true }))

const fromEnv = { GODEL_URL: 'http://127.0.0.1:3333/', GODEL_API_KEY: 'env-key' }

describe('the node is', () => {
  test('the one at the address that was given', async () => {
    const found = await discover({ url: 'http://127.0.0.1:4444', apiKey: 'k', dataDir: named }, fromEnv)
    expect(found).toEqual({ url: 'http://127.0.0.1:4444', apiKey: 'k' })
  })
  test('else that of the directory that was given, whatever the environment says', async () => {
    expect(await discover({ dataDir: named }, fromEnv)).toEqual({ url: 'http://127.0.0.1:1111', apiKey: 'named-key' })
  })
  test('else the one of the environment', async () => {
    expect(await discover({}, { ...fromEnv, GODEL_DATA_DIR: fallback })).toEqual({
      url: 'http://127.0.0.1:3333',
      apiKey: 'env-key',
    })
  })
  test('else that of the default directory', async () => {
    expect(await discover({}, { GODEL_DATA_DIR: fallback })).toEqual({
      url: 'http://127.0.0.1:2222',
      apiKey: 'fallback-key',
    })
    const elsewhere = join(root, 'xdg')
    mkdirSync(elsewhere)
    mkdirSync(join(elsewhere, 'godel-node'))
    writeFileSync(join(elsewhere, 'godel-node', 'api.json'), '{"url":"http://127.0.0.1:5555"}')
    expect(await discover({}, { XDG_DATA_HOME: elsewhere })).toEqual({ url: 'http://127.0.0.1:5555' })
  })
})

test('the key of a directory never goes to an address from elsewhere', async () => {
  expect(await discover({ url: 'http://example.org', dataDir: named }, {})).toEqual({ url: 'http://example.org' })
  expect(await discover({}, { GODEL_URL: 'http://example.org', GODEL_DATA_DIR: named })).toEqual({
    url: 'http://example.org',
  })
})

test.each([
  [
    'no node has run there',
    { dataDir: join(root, 'nothing') },
    {},
    'NODE_UNREACHABLE',
    /no node runs on this data directory/,
  ],
  ['it is a file', { dataDir: '/etc/hostname' }, {}, 'NODE_UNREACHABLE', /no node runs/],
  ['the address is no URL', { url: 'localhost:7373' }, {}, 'INVALID_ARGUMENT', /url must be a URL/],
  [
    'the address is of another kind',
    {},
    { GODEL_URL: 'file:///etc/passwd' },
    'INVALID_ARGUMENT',
    /GODEL_URL must be a URL/,
  ],
])('where %s, that is said', async (_what, hints, env, code, message) => {
  const failure = discover(hints, env)
  await expect(failure).rejects.toMatchObject({ code })
  await expect(failure).rejects.toThrow(message)
})

test('a damaged address file is named', async () => {
  const damaged = directory('damaged', { 'api.json': '{"url":' })
  await expect(discover({ dataDir: damaged }, {})).rejects.toThrow(/api\.json must be a URL/)
})

test('the default directory follows the XDG specification', () => {
  expect(defaultDataDir({ GODEL_DATA_DIR: '/d', XDG_DATA_HOME: '/x' })).toBe('/d')
  expect(defaultDataDir({ XDG_DATA_HOME: '/x' })).toBe('/x/godel-node')
  expect(defaultDataDir({ XDG_DATA_HOME: 'relative' })).toBe(join(homedir(), '.local/share/godel-node'))
  expect(defaultDataDir({})).toBe(join(homedir(), '.local/share/godel-node'))
})
