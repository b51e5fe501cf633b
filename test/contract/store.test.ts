import fc from 'fast-check'
import { mkdtempSync, rmSync } from 'node:fs'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { afterAll, afterEach, beforeAll, beforeEach, describe, expect, test } from 'vitest'
import { limits } from '../../src/base/limits.ts'
import { silentLog } from '../../src/base/log.ts'
import { openMemoryStore } from '../../src/store/memory.ts'
import { openSqliteStore } from '../../src/store/sqlite.ts'
import type { Store, Write } from '../../src/store/store.ts'

const text = (value: Uint8Array | undefined) => (value === undefined ? undefined : Buffer.from(value).toString())
const bytes = (value: string) => new Uint8Array(Buffer.from(value))
const put = (key: string, value = key, space = 'a'): Write => ({ space, key, value: bytes(value) })
const del = (key: string, space = 'a'): Write => ({ space, key, value: null })

let dir: string
let files = 0
beforeAll(() => {
  dir = mkdtempSync(join(tmpdir(), 'godel-store-'))
})
afterAll(() => rmSync(dir, { recursive: true }))

const engines: [name: string, open: () => Promise<Store>][] = [
  ['memory', async () => openMemoryStore()],
  ['sqlite', () => openSqliteStore({ log: silentLog, onFailed: () => {} }, { path: join(dir, `${files++}.db`) })],
]

describe.each(engines)('a store (%s)', (_name, open) => {
  let store: Store
  beforeEach(async () => {
    store = await open()
  })
  afterEach(() => store.close())

  test('gives back what was committed, and nothing else', async () => {
    await store.commit([put('k', 'v')])
    expect(text(store.get('a', 'k'))).toBe('v')
    expect(store.get('a', 'other')).toBeUndefined()
    expect(store.get('b', 'k')).toBeUndefined()
    expect(store.scan('b')).toEqual([])
  })

  test('reads what was handed to commit before it is durable', async () => {
    const committed = store.commit([put('k', 'v')])
    expect(text(store.get('a', 'k'))).toBe('v')
    expect(store.scan('a')).toHaveLength(1)
    await committed
  })

  test('applies the writes of one commit in their order', async () => {
    await store.commit([put('k', '1'), del('k'), put('k', '2'), put('gone'), del('gone'), del('never was')])
    expect(store.scan('a').map(([key, value]) => [key, text(value)])).toEqual([['k', '2']])
  })

  test('resolves commits in the order in which they were handed in', async () => {
    const order: number[] = []
    await Promise.all(Array.from({ length: 50 }, (_, i) => store.commit([put(`k${i}`)]).then(() => order.push(i))))
    expect(order).toEqual(Array.from({ length: 50 }, (_, i) => i))
  })

  test('keeps empty values apart from missing ones', async () => {
    await store.commit([put('k', '')])
    expect(store.get('a', 'k')).toEqual(new Uint8Array(0))
  })

  test('keeps a copy of its own and hands out copies', async () => {
    const value = bytes('abc')
    await store.commit([{ space: 'a', key: 'k', value }])
    value[0] = 0
    store.get('a', 'k')![1] = 0
    store.scan('a')[0]![1][2] = 0
    expect(text(store.get('a', 'k'))).toBe('abc')
  })

  test('keeps a view into a larger buffer without the rest of it', async () => {
    await store.commit([{ space: 'a', key: 'k', value: Buffer.from('xxabcxx').subarray(2, 5) }])
    expect(text(store.get('a', 'k'))).toBe('abc')
  })

  test('scans by prefix, from a key on, up to a limit', async () => {
    await store.commit(['a/1', 'a/2', 'a/3', 'b/1', 'a'].map((key) => put(key)))
    const keys = (options: Parameters<Store['scan']>[1]) => store.scan('a', options).map(([key]) => key)
    expect(keys({ prefix: 'a/' })).toEqual(['a/1', 'a/2', 'a/3'])
    expect(keys({ prefix: 'a/', from: 'a/2' })).toEqual(['a/2', 'a/3'])
    expect(keys({ prefix: 'a/', from: 'a/2\u0000' })).toEqual(['a/3'])
    expect(keys({ prefix: 'a/', from: 'A' })).toEqual(['a/1', 'a/2', 'a/3'])
    expect(keys({ prefix: 'a/', from: 'c' })).toEqual([])
    expect(keys({ limit: 2 })).toEqual(['a', 'a/1'])
    expect(keys({ limit: 0 })).toEqual([])
    expect(keys({ prefix: 'b/', limit: 5 })).toEqual(['b/1'])
  })

  test('orders keys by their bytes', async () => {
    const keys = ['', '\u0000', 'Z', 'a', 'a\u0000', 'aa', 'é', '\uff00', '\u{1f600}']
    await store.commit(keys.toReversed().map((key) => put(key)))
    expect(store.scan('a').map(([key]) => key)).toEqual(keys)
  })

  test('writes nothing of a commit with a key or value out of bounds, and goes on', async () => {
    const tooLong = 'x'.repeat(limits.storeKeyBytesMax + 1)
    const wide = 'é'.repeat(limits.storeKeyBytesMax / 2 + 1)
    for (const key of [tooLong, wide, '\ud800', 'a\udc00'])
      await expect(store.commit([put('k'), put(key)])).rejects.toMatchObject({ code: 'INVALID_ARGUMENT' })
    await expect(store.commit([put('k'), put('x', 'x', tooLong)])).rejects.toMatchObject({ code: 'INVALID_ARGUMENT' })
    const huge = { space: 'a', key: 'x', value: new Uint8Array(limits.storeValueBytesMax + 1) }
    await expect(store.commit([put('k'), huge])).rejects.toMatchObject({ code: 'TOO_LARGE' })
    expect(store.scan('a')).toEqual([])
    await store.commit([put('k')])
  })

  test('takes a commit of nothing', async () => {
    const before = store.commit([put('k')])
    await store.commit([])
    await before
    await store.commit([])
  })

  test('refuses everything once it is closed, and closes twice', async () => {
    await store.commit([put('k')])
    await store.close()
    await store.close()
    expect(() => store.get('a', 'k')).toThrow(expect.objectContaining({ code: 'STORE_FAILED' }))
    expect(() => store.scan('a')).toThrow(expect.objectContaining({ code: 'STORE_FAILED' }))
    await expect(store.commit([put('k')])).rejects.toMatchObject({ code: 'STORE_FAILED' })
  })

  test('that is closed settles what was handed in before', async () => {
    const committed = store.commit([put('k')])
    await store.close()
    await committed
  })

  test('behaves like a plain map under any sequence of commits and reads', async () => {
    const key = fc.oneof(
      fc.constantFrom('', 'a', 'a/', 'a/1', 'a\u0000', '\uff00', '\u{1f600}'),
      fc.string({ unit: 'binary', maxLength: 3 }).filter((candidate) => candidate.isWellFormed()),
    )
    const value = fc.option(fc.uint8Array({ maxLength: 8 }))
    const step = fc.oneof(
      fc.record({ type: fc.constant('commit' as const), writes: fc.array(fc.tuple(key, value), { maxLength: 4 }) }),
      fc.record({ type: fc.constant('get' as const), key }),
      fc.record({ type: fc.constant('scan' as const), prefix: key, from: key, limit: fc.nat({ max: 5 }) }),
      fc.constant({ type: 'settle' as const }),
    )
    let run = 0
    await fc.assert(
      fc.asyncProperty(fc.array(step, { maxLength: 25 }), async (steps) => {
        const space = `run ${run++}`
        const model = new Map<string, Uint8Array>()
        const commits: Promise<void>[] = []
        for (const each of steps) {
          if (each.type === 'commit') {
            commits.push(store.commit(each.writes.map(([key, value]) => ({ space, key, value }))))
            for (const [key, value] of each.writes)
              if (value === null) model.delete(key)
              else model.set(key, value)
          } else if (each.type === 'get') expect(store.get(space, each.key)).toEqual(model.get(each.key))
          else if (each.type === 'scan') expect(store.scan(space, each)).toEqual(scanModel(model, each))
          else await Promise.all(commits)
        }
        await Promise.all(commits)
        expect(store.scan(space)).toEqual(scanModel(model, { prefix: '', from: '', limit: Infinity }))
      }),
      { numRuns: 150 },
    )
  })
})

const scanModel = (model: Map<string, Uint8Array>, options: { prefix: string; from: string; limit: number }) =>
  [...model]
    .filter(([key]) => key.startsWith(options.prefix))
    .filter(([key]) => Buffer.from(key).compare(Buffer.from(options.from)) >= 0)
    .toSorted(([a], [b]) => Buffer.from(a).compare(Buffer.from(b)))
    .slice(0, options.limit)
