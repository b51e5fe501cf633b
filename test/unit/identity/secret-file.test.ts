import { execFileSync } from 'node:child_process'
import { chmodSync, mkdtempSync, readFileSync, rmSync, statSync, writeFileSync } from 'node:fs'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { afterEach, beforeEach, expect, test } from 'vitest'
import { loadOrCreateSecret } from '../../../src/identity/secret-file.ts'

let dir: string
let path: string
beforeEach(() => {
  dir = mkdtempSync(join(tmpdir(), 'godel-secret-'))
  path = join(dir, 'api.key')
})
afterEach(() => rmSync(dir, { recursive: true }))

test('a secret is 32 random bytes in a private file, and stays the same', async () => {
  const secret = await loadOrCreateSecret(path)
  expect(Buffer.from(secret, 'base64url').byteLength).toBe(32)
  expect(statSync(path).mode & 0o777).toBe(0o600)
  expect(readFileSync(path, 'utf8')).toBe(`${secret}\n`)
  expect(await loadOrCreateSecret(path)).toBe(secret)
  expect(await loadOrCreateSecret(join(dir, 'other.key'))).not.toBe(secret)
})

test('a secret that others can read is refused', async () => {
  await loadOrCreateSecret(path)
  chmodSync(path, 0o640)
  await expect(loadOrCreateSecret(path)).rejects.toMatchObject({ detail: { code: 'KEY_FILE_INSECURE', mode: '0640' } })
})

test('the mode is 0600 under any umask', async () => {
  const before = process.umask(0o777)
  try {
    await loadOrCreateSecret(path)
  } finally {
    process.umask(before)
  }
  expect(statSync(path).mode & 0o777).toBe(0o600)
})

test.each([
  '',
  'short',
  'A'.repeat(42),
  'A'.repeat(44),
  `${'A'.repeat(42)}B`,
  `${'A'.repeat(42)}=`,
  `${'é'.repeat(22)}`,
])('a file with %j is refused', async (text) => {
  writeFileSync(path, text, { mode: 0o600 })
  await expect(loadOrCreateSecret(path)).rejects.toMatchObject({ code: 'KEY_FILE_INVALID' })
})

test('a named pipe is refused instead of waited for', async () => {
  execFileSync('mkfifo', ['-m', '600', path])
  await expect(loadOrCreateSecret(path)).rejects.toMatchObject({ code: 'KEY_FILE_INVALID' })
})
