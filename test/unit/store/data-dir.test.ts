import { existsSync, mkdtempSync, readFileSync, rmSync, statSync, writeFileSync } from 'node:fs'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { afterEach, beforeEach, expect, test } from 'vitest'
import { lockDataDir } from '../../../src/store/data-dir.ts'
import { startFixture } from './child.ts'

let base: string
let dir: string
beforeEach(() => {
  base = mkdtempSync(join(tmpdir(), 'godel-dir-'))
  dir = join(base, 'deep', 'data')
})
afterEach(() => rmSync(base, { recursive: true }))

test('a data directory is made private, with the process id of its holder', async () => {
  const lock = await lockDataDir(dir)
  expect(statSync(dir).mode & 0o777).toBe(0o700)
  expect(readFileSync(join(dir, 'node.pid'), 'utf8')).toBe(`${process.pid}\n`)
  await lock.release()
  await lock.release()
  expect(existsSync(join(dir, 'node.pid'))).toBe(false)
})

test('a data directory has one holder within a process', async () => {
  const lock = await lockDataDir(dir)
  await expect(lockDataDir(dir)).rejects.toMatchObject({ detail: { code: 'DATA_DIR_LOCKED', pid: process.pid } })
  await lock.release()
  await (await lockDataDir(dir)).release()
})

test('of many that want a free directory at once exactly one gets it', async () => {
  const results = await Promise.allSettled(Array.from({ length: 10 }, () => lockDataDir(dir)))
  const locks = results.filter((result) => result.status === 'fulfilled')
  expect(locks).toHaveLength(1)
  await locks[0]!.value.release()
})

test('a data directory has one holder among processes, and names its process id', async () => {
  const holder = startFixture('dir-holder.ts', [dir])
  try {
    await holder.until((lines) => lines.length > 0)
    expect(holder.lines).toEqual(['held'])
    await expect(lockDataDir(dir)).rejects.toMatchObject({
      detail: { code: 'DATA_DIR_LOCKED', path: dir, pid: holder.child.pid },
    })
    holder.child.kill('SIGSTOP')
    await expect(lockDataDir(dir)).rejects.toMatchObject({ code: 'DATA_DIR_LOCKED' })
  } finally {
    await holder.kill()
  }
})

test('a holder that was killed leaves the directory free at once, its process id notwithstanding', async () => {
  for (let round = 0; round < 3; round++) {
    const holder = startFixture('dir-holder.ts', [dir])
    await holder.until((lines) => lines.length > 0)
    await holder.kill()
    expect(holder.lines).toEqual(['held'])
    expect(readFileSync(join(dir, 'node.pid'), 'utf8')).toBe(`${holder.child.pid}\n`)
  }
  // The process id on file may by now be somebody else's, who lives: it means nothing.
  writeFileSync(join(dir, 'node.pid'), `${process.ppid}\n`)
  const lock = await lockDataDir(dir)
  expect(readFileSync(join(dir, 'node.pid'), 'utf8')).toBe(`${process.pid}\n`)
  await lock.release()
})

test('a holder whose process id cannot be read is still respected', async () => {
  const lock = await lockDataDir(dir)
  writeFileSync(join(dir, 'node.pid'), 'nonsense')
  await expect(lockDataDir(dir)).rejects.toMatchObject({ detail: { code: 'DATA_DIR_LOCKED', pid: 0 } })
  await lock.release()
})

test('a path that cannot be a directory is refused', async () => {
  writeFileSync(join(base, 'file'), '')
  await expect(lockDataDir(join(base, 'file', 'data'))).rejects.toMatchObject({ code: 'STORE_FAILED' })
  await expect(lockDataDir(join(base, 'file'))).rejects.toMatchObject({ code: 'STORE_FAILED' })
})
