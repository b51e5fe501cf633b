/** Durability as a process feels it: a writer is killed or its disk fails, and the store is opened again. */
import { spawnSync } from 'node:child_process'
import { mkdirSync, mkdtempSync, readdirSync, rmSync, writeFileSync } from 'node:fs'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { afterEach, beforeEach, expect, test } from 'vitest'
import type { GodelError } from '../../../src/base/errors.ts'
import { silentLog } from '../../../src/base/log.ts'
import { openSqliteStore } from '../../../src/store/sqlite.ts'
import { countPairs, pairOf } from '../../fixtures/store-pairs.ts'
import { waitFor } from '../../support/wait.ts'
import { startFixture } from './child.ts'

let dir: string
beforeEach(() => {
  dir = mkdtempSync(join(tmpdir(), 'godel-crash-'))
})
afterEach(() => {
  spawnSync('umount', ['-l', join(dir, 'disk')]) // where a test has mounted one
  rmSync(dir, { recursive: true, force: true })
})

const open = (path: string, onFailed: (error: GodelError) => void = () => {}) =>
  openSqliteStore({ log: silentLog, onFailed }, { path })
const acknowledged = (lines: string[]) => lines.filter((line) => /^\d+$/.test(line)).map(Number)

/** Said aloud, because a test that did not run is not one that passed. */
const notRun = (skip: (reason: string) => void, reason: string) => {
  process.stderr.write(`NOT RUN: ${expect.getState().currentTestName}: ${reason}\n`)
  skip(reason)
}

test('what was acknowledged is there after kill -9, and no commit is there in part', async () => {
  const path = join(dir, 'store.db')
  let kept = 0
  for (let kill = 0; kill < 10; kill++) {
    const writer = startFixture('store-writer.ts', [path, String(kept)])
    const enough = 1 + Math.floor(Math.random() * 400)
    await writer.until((lines) => acknowledged(lines).length >= enough)
    await writer.kill()
    const last = Math.max(-1, ...acknowledged(writer.lines))
    expect(last).toBeGreaterThanOrEqual(kept)
    const store = await open(path)
    const before = kept
    kept = countPairs(store)
    await store.close()
    expect(kept, `kill ${kill}: ${last + 1} acknowledged, ${before} before`).toBeGreaterThan(last)
  }
}, 60_000)

test('a writer that is killed while it makes the store leaves none, or a whole one', async () => {
  for (let kill = 0; kill < 5; kill++) {
    const path = join(dir, `${kill}.db`)
    const writer = startFixture('store-writer.ts', [path, '0'])
    await waitFor('a file', () => readdirSync(dir).some((name) => name.startsWith(`${kill}.db`)), { everyMs: 1 })
    await writer.kill()
    const store = await open(path)
    expect(countPairs(store)).toBeGreaterThan(Math.max(-1, ...acknowledged(writer.lines)))
    await store.close()
  }
}, 60_000)

test('a disk that fails to sync is told as STORE_FAILED, once, and nothing is acknowledged after', async ({ skip }) => {
  const inject = ['-e', 'trace=fsync,fdatasync', '-e', 'inject=fsync,fdatasync:error=EIO:when=30+']
  if (spawnSync('strace', ['-o', '/dev/null', 'true']).status !== 0) return notRun(skip, 'strace does not work here')
  const path = join(dir, 'store.db')
  const writer = startFixture('store-writer.ts', [path, '0'], ['strace', '-f', '-o', '/dev/null', ...inject])
  await writer.ended
  const ends = writer.lines.slice(-2)
  expect(ends).toEqual(['onFailed STORE_FAILED', 'failed STORE_FAILED'])
  const kept = acknowledged(writer.lines)
  expect(kept.length).toBeGreaterThan(10)
  const store = await open(path)
  expect(countPairs(store)).toBeGreaterThan(Math.max(...kept))
  await store.close()
}, 60_000)

test('a full disk is told as STORE_FAILED, and what was acknowledged is there when it has space again', async ({
  skip,
}) => {
  const disk = join(dir, 'disk')
  mkdirSync(disk)
  if (spawnSync('mount', ['-t', 'tmpfs', '-o', 'size=2m', 'tmpfs', disk]).status !== 0)
    return notRun(skip, 'mounting a tmpfs needs root')
  writeFileSync(join(disk, 'filler'), Buffer.alloc(1024 * 1024))
  const path = join(disk, 'store.db')
  const failures: GodelError[] = []
  const store = await open(path, (error) => failures.push(error))
  let told = 0
  const writing = async () => {
    for (;;) {
      await store.commit(pairOf(told))
      told++
    }
  }
  await expect(writing()).rejects.toMatchObject({ detail: { code: 'STORE_FAILED', path } })
  expect(failures).toHaveLength(1)
  expect(told).toBeGreaterThan(100)
  expect(() => store.get('left', 'x')).toThrow(expect.objectContaining({ code: 'STORE_FAILED' }))
  await expect(store.commit(pairOf(told))).rejects.toMatchObject({ code: 'STORE_FAILED' })
  await store.close()

  rmSync(join(disk, 'filler'))
  const again = await open(path)
  expect(countPairs(again)).toBeGreaterThanOrEqual(told)
  await again.commit(pairOf(countPairs(again)))
  await again.close()
}, 60_000)

test('all commits of a turn of the event loop fail together', async ({ skip }) => {
  const disk = join(dir, 'disk')
  mkdirSync(disk)
  if (spawnSync('mount', ['-t', 'tmpfs', '-o', 'size=1m', 'tmpfs', disk]).status !== 0)
    return notRun(skip, 'mounting a tmpfs needs root')
  const store = await open(join(disk, 'store.db'))
  const value = new Uint8Array(2 * 1024 * 1024)
  const results = await Promise.allSettled([
    store.commit([{ space: 'a', key: 'small', value: new Uint8Array(1) }]),
    store.commit([{ space: 'a', key: 'large', value }]),
    store.commit([{ space: 'a', key: 'after', value: new Uint8Array(1) }]),
  ])
  expect(results.map((result) => result.status)).toEqual(['rejected', 'rejected', 'rejected'])
  await store.close()
  const again = await open(join(disk, 'store.db'))
  expect(again.scan('a')).toEqual([])
  await again.close()
})
