/** A store whose files were damaged is refused with a code, or holds nothing but what was written: it never lies or crashes. */
import fc from 'fast-check'
import { existsSync, mkdtempSync, readFileSync, rmSync, statSync, truncateSync, writeFileSync } from 'node:fs'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { DatabaseSync } from 'node:sqlite'
import { afterAll, beforeAll, beforeEach, describe, expect, test } from 'vitest'
import { silentLog } from '../../../src/base/log.ts'
import { openSqliteStore } from '../../../src/store/sqlite.ts'
import { countPairs, pairOf } from '../../fixtures/store-pairs.ts'
import { startFixture } from './child.ts'

let dir: string
let path: string
let closed: { db: Buffer; rows: number }
let killed: { db: Buffer; wal: Buffer; rows: number }

const open = (at = path) => openSqliteStore({ log: silentLog, onFailed: () => {} }, { path: at })

/** What a damaged store turns out to be: refused by a code, or the number of commits that it holds. */
const outcome = async (): Promise<number | string> => {
  let store
  try {
    store = await open()
  } catch (error) {
    return (error as { code: string }).code
  }
  try {
    return countPairs(store)
  } finally {
    await store.close()
  }
}

const place = (files: { db?: Uint8Array; wal?: Uint8Array }) => {
  for (const suffix of ['', '-wal', '-shm', '-journal', '.new']) rmSync(path + suffix, { force: true })
  if (files.db !== undefined) writeFileSync(path, files.db)
  if (files.wal !== undefined) writeFileSync(`${path}-wal`, files.wal)
}

const flipBit = (bytes: Uint8Array, bit: number): Uint8Array => {
  const copy = Uint8Array.from(bytes)
  copy[Math.floor(bit / 8) % copy.byteLength]! ^= 1 << (bit % 8)
  return copy
}

beforeAll(async () => {
  dir = mkdtempSync(join(tmpdir(), 'godel-damage-'))
  path = join(dir, 'store.db')
  const store = await open()
  for (let n = 0; n < 300; n++) await store.commit(pairOf(n))
  await store.close()
  closed = { db: readFileSync(path), rows: 300 }

  const source = join(dir, 'source.db')
  const writer = startFixture('store-writer.ts', [source, '0'])
  await writer.until((lines) => lines.length > 100)
  await writer.kill()
  killed = { db: readFileSync(source), wal: readFileSync(`${source}-wal`), rows: 0 }
  place(killed)
  killed.rows = (await outcome()) as number
}, 30_000)
afterAll(() => rmSync(dir, { recursive: true }))
beforeEach(() => place({}))

test('the undamaged copies are whole', async () => {
  place(closed)
  expect(await outcome()).toBe(300)
  expect(killed.rows).toBeGreaterThan(90)
  expect(killed.wal.byteLength).toBeGreaterThan(10_000)
})

describe('a store', () => {
  test('with a flipped bit in its file is refused, or the bit did not matter', async () => {
    let refused = 0
    await fc.assert(
      fc.asyncProperty(fc.nat({ max: closed.db.byteLength * 8 - 1 }), async (bit) => {
        place({ db: flipBit(closed.db, bit) })
        const result = await outcome()
        if (result === closed.rows) return
        expect(['STORE_CORRUPT', 'STORE_TOO_NEW', 'STORE_FAILED']).toContain(result)
        refused++
      }),
      { numRuns: 250 },
    )
    expect(refused).toBeGreaterThan(50)
  }, 60_000)

  test('with a flipped bit in its header is refused, or the bit did not matter', async () => {
    for (let bit = 0; bit < 100 * 8; bit += 3) {
      place({ db: flipBit(closed.db, bit) })
      const result = await outcome()
      if (result !== closed.rows)
        expect(['STORE_CORRUPT', 'STORE_TOO_NEW', 'STORE_FAILED'], `bit ${bit}`).toContain(result)
    }
  }, 60_000)

  test('with a flipped bit in a value or a key is refused', async () => {
    const value = Buffer.from(pairOf(7)[0]!.value!)
    for (const needle of [value, Buffer.from('left00000007')]) {
      const at = closed.db.indexOf(needle)
      expect(at).toBeGreaterThan(0)
      place({ db: flipBit(closed.db, (at + 11) * 8) })
      expect(await outcome()).toBe('STORE_CORRUPT')
    }
  })

  test('that was cut off is refused', async () => {
    await fc.assert(
      fc.asyncProperty(fc.integer({ min: 1, max: closed.db.byteLength - 1 }), async (size) => {
        place({ db: closed.db.subarray(0, size) })
        expect(await outcome()).toBe('STORE_CORRUPT')
      }),
      { numRuns: 60 },
    )
  })

  test('that was cut off to nothing is refused, and its log is left as it is', async () => {
    place({ db: new Uint8Array(0), wal: killed.wal })
    expect(await outcome()).toBe('STORE_CORRUPT')
    expect(statSync(`${path}-wal`).size).toBe(killed.wal.byteLength)
  })

  test('whose file is gone while its log is there is refused', async () => {
    place({ wal: killed.wal })
    expect(await outcome()).toBe('STORE_CORRUPT')
    expect(existsSync(path)).toBe(false)
  })

  test('with a page of zeroes is refused', async () => {
    for (let page = 1; page < closed.db.byteLength / 4096; page++) {
      const db = Buffer.from(closed.db)
      db.fill(0, page * 4096, (page + 1) * 4096)
      place({ db })
      expect(await outcome(), `page ${page}`).toBe('STORE_CORRUPT')
    }
  })

  test('with a torn or flipped log holds the commits up to the damage, whole', async () => {
    const counts = new Set<number>()
    await fc.assert(
      fc.asyncProperty(
        fc.nat({ max: killed.wal.byteLength - 1 }),
        fc.boolean(),
        fc.nat({ max: 7 }),
        async (at, cut, bit) => {
          place({ db: killed.db, wal: cut ? killed.wal.subarray(0, at) : flipBit(killed.wal, at * 8 + bit) })
          const count = await outcome()
          expect(count).toBeTypeOf('number')
          expect(count).toBeLessThanOrEqual(killed.rows)
          counts.add(count as number)
        },
      ),
      { numRuns: 150 },
    )
    expect(counts.size).toBeGreaterThan(10)
  }, 60_000)

  test('with a tail of garbage after its log is whole', async () => {
    place({ db: killed.db, wal: Buffer.concat([killed.wal, Buffer.alloc(10_000, 0xa5)]) })
    expect(await outcome()).toBe(killed.rows)
  })
})

describe('a file', () => {
  test.each([
    ['text', Buffer.from('hello, this is not a database\n'.repeat(300))],
    ['one byte', Buffer.from('x')],
    ['zeroes', Buffer.alloc(8192)],
    ['noise', Buffer.from(Array.from({ length: 8192 }, (_, i) => (i * 193 + 7) % 256))],
  ])('that is %s is refused and left as it is', async (_name, db) => {
    place({ db })
    expect(await outcome()).toBe('STORE_CORRUPT')
    expect(readFileSync(path).equals(db)).toBe(true)
  })

  test('that is a database of another program is refused and left as it is', async () => {
    const other = new DatabaseSync(path)
    other.exec('CREATE TABLE t (x); INSERT INTO t VALUES (1)')
    other.close()
    const before = readFileSync(path)
    expect(await outcome()).toBe('STORE_CORRUPT')
    expect(readFileSync(path).equals(before)).toBe(true)
  })

  test('that is a directory is refused', async () => {
    await expect(open(dir)).rejects.toMatchObject({ code: expect.stringMatching(/^STORE_/) })
  })

  test('whose directory is missing is refused', async () => {
    await expect(open(join(dir, 'no', 'store.db'))).rejects.toMatchObject({ code: 'STORE_FAILED' })
  })
})

test('a store of a newer program is refused and left as it is', async () => {
  place(closed)
  const newer = new DatabaseSync(path)
  newer.exec('PRAGMA user_version = 99')
  newer.close()
  await expect(open()).rejects.toMatchObject({ detail: { code: 'STORE_TOO_NEW', path, version: 99, supported: 1 } })
  const look = new DatabaseSync(path, { readOnly: true })
  expect(look.prepare('SELECT count(*) AS n FROM kv').get()).toEqual({ n: 600 })
  look.close()
})

test('a store that is damaged while it is in use refuses the read, and everything after', async () => {
  const value = new Uint8Array(64 * 1024) // in all more than SQLite keeps in memory
  const writing = await open()
  for (let n = 0; n < 100; n++) await writing.commit([{ space: 'large', key: String(n), value }])
  await writing.close()
  const failures: unknown[] = []
  const store = await openSqliteStore({ log: silentLog, onFailed: (error) => failures.push(error) }, { path })
  truncateSync(path, 8192)
  const refusal = expect.objectContaining({ code: 'STORE_CORRUPT' })
  expect(() => {
    for (let n = 0; n < 100; n++) store.get('large', String(n))
  }).toThrow(refusal)
  expect(failures).toEqual([refusal])
  expect(() => store.get('large', '0')).toThrow(refusal)
  await expect(store.commit(pairOf(0))).rejects.toEqual(refusal)
  await store.close()
})

test('the store file is private, and a left-over of an interrupted making is replaced', async () => {
  writeFileSync(`${path}.new`, 'half')
  const store = await open()
  expect(statSync(path).mode & 0o777).toBe(0o600)
  await store.commit(pairOf(0))
  expect(statSync(`${path}-wal`).mode & 0o077).toBe(0)
  expect(existsSync(`${path}.new`)).toBe(false)
  await store.close()
  expect(await outcome()).toBe(1)
})
