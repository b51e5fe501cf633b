import { mkdtemp, rm, stat } from 'node:fs/promises'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { afterAll, expect, test } from 'vitest'
import { loadOrCreateKey } from '../../../src/identity/node-key.ts'
import { rootName } from '../../../src/identity/realm-document.ts'
import { createRootKeys } from '../../../src/identity/root-keys.ts'

const directories: string[] = []
afterAll(async () => {
  for (const made of directories) await rm(made, { recursive: true, force: true })
})
const fresh = async () => {
  const directory = await mkdtemp(join(tmpdir(), 'godel-roots-'))
  directories.push(directory)
  return join(directory, 'root.key')
}

test('where there is no root key none is made by asking for it', async () => {
  const path = await fresh()
  expect(await createRootKeys(path).held(['x'])).toBeUndefined()
  await expect(stat(path)).rejects.toMatchObject({ code: 'ENOENT' })
})

test('at every step of an exchange the key that the document names is found, also after a crash', async () => {
  const path = await fresh()
  const old = await loadOrCreateKey(path)
  const next = await createRootKeys(path).prepare()
  // After the crash between the new key and the document: the old one counts, and the new one is taken up again.
  expect((await createRootKeys(path).held([rootName(old)]))?.peer).toBe(old.peer)
  expect((await createRootKeys(path).prepare()).peer).toBe(next.peer)
  expect((await stat(`${path}.next`)).mode & 0o777).toBe(0o600)
  // After the crash between the document and the exchange of files: the new one counts and takes its place.
  expect((await createRootKeys(path).held([rootName(next)]))?.peer).toBe(next.peer)
  expect((await loadOrCreateKey(path)).peer).toBe(next.peer)
  await expect(stat(`${path}.next`)).rejects.toMatchObject({ code: 'ENOENT' })
})
