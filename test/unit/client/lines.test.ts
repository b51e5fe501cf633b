/** Framing: however the bytes are cut, the lines are the same. */
import fc from 'fast-check'
import { expect, test } from 'vitest'
import { eventsOf, linesOf } from '../../../src/client/lines.ts'

async function* cut(bytes: Uint8Array, at: number[]): AsyncIterable<Uint8Array> {
  const places = [...new Set(at.map((place) => place % (bytes.byteLength + 1)))].toSorted((a, b) => a - b)
  let from = 0
  for (const place of [...places, bytes.byteLength]) {
    yield bytes.subarray(from, place)
    from = place
  }
}
const all = async <T>(source: AsyncIterable<T>): Promise<T[]> => {
  const items: T[] = []
  for await (const item of source) items.push(item)
  return items
}

test('lines come out as they went in, wherever the bytes were cut', async () => {
  const line = fc.string({ unit: 'grapheme' }).map((text) => text.replaceAll('\n', ' '))
  await fc.assert(
    fc.asyncProperty(fc.array(line), fc.array(fc.nat()), async (lines, at) => {
      const bytes = Buffer.from(lines.map((text) => `${text}\n`).join(''))
      expect(await all(linesOf(cut(bytes, at), 1_000_000))).toEqual(lines)
    }),
  )
})

test('a last line without an end is a line', async () => {
  expect(await all(linesOf(cut(Buffer.from('a\n\nb'), [2]), 10))).toEqual(['a', '', 'b'])
})

test('a line without end is refused before it fills the memory', async () => {
  async function* endless() {
    for (;;) yield new Uint8Array(1_000).fill(0x61)
  }
  await expect(all(linesOf(endless(), 10_000))).rejects.toMatchObject({
    code: 'TOO_LARGE',
    detail: { limitBytes: 10_000 },
  })
})

test('server-sent events have their id, their kind and their data, and comments have no part in them', async () => {
  const text = ': hello\n\nid: 1\nevent: decision\ndata: {"a":\ndata: 1}\n\ndata: x\r\n\r\nevent: nothing\n\ndata: cut'
  const lines = linesOf(cut(Buffer.from(text), [5, 9]), 1_000)
  expect(await all(eventsOf(lines))).toEqual([
    { id: '1', event: 'decision', data: '{"a":\n1}' },
    { event: 'message', data: 'x' },
  ])
})
