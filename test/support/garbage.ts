/** What a hostile or broken peer sends in place of a message, for fast-check. */
import fc from 'fast-check'
import { Packr } from 'msgpackr'

const packr = new Packr({ useRecords: false })
/** msgpack of anything that msgpack can say, also of what `encode` would never be given. */
export const pack = (value: unknown): Uint8Array => {
  try {
    return packr.pack(value)
  } catch {
    return Buffer.from([0xc1])
  }
}

/** Values that get past a careless check: wrong types, the edges of numbers, lengths, names of prototypes. */
const odd: fc.Arbitrary<unknown> = fc.oneof(
  fc.constantFrom<unknown[]>(
    ...[null, true, '', '\0', '../../etc/passwd', '-rf', ';$(id)\n', '__proto__', 'constructor', [], {}, [[]]],
    ...[0, -1, 0.5, 255, 256, 2 ** 31, 2 ** 32, 2 ** 40 + 1, 2 ** 53, -(2 ** 53), 1e308],
    ...[Number.NaN, Infinity, -Infinity, -0, 2n ** 63n - 1n, -(2n ** 63n), 2n ** 64n - 1n],
    ...['x'.repeat(70_000), '\u{10FFFF}'.repeat(300), '\uD800', Buffer.alloc(0), Buffer.alloc(13_000, 0xff)],
    Object.fromEntries(['then', 'toString'].map((name) => [name, 1])),
    Array.from({ length: 5_000 }, () => 0),
    Object.fromEntries(Array.from({ length: 2_000 }, (_, n) => [`k${n}`, n])),
  ),
  fc.anything({ withBigInt: true, withTypedArray: true, maxDepth: 3 }),
  fc.uint8Array({ maxLength: 300 }),
)

type Path = readonly (string | number)[]

const pathsOf = (value: unknown, at: Path = []): Path[] => {
  const isPart = typeof value === 'object' && value !== null && !(value instanceof Uint8Array)
  return [at, ...(isPart ? Object.entries(value).flatMap(([key, part]) => pathsOf(part, [...at, key])) : [])]
}

/** A copy with the part at `path` replaced, left out (undefined), or given one field more. */
const changed = (value: unknown, path: Path, how: 'replace' | 'drop' | 'add', part: unknown): unknown => {
  const [key, ...rest] = path
  if (key === undefined) return how === 'add' ? { ...(value as object), extra: part, __proto__: null } : part
  const copy = (Array.isArray(value) ? [...value] : { ...(value as object) }) as Record<string | number, unknown>
  if (rest.length === 0 && how === 'drop') delete copy[key]
  else copy[key] = changed(copy[key], rest, how, part)
  return copy
}

/** `valid` with one to three of its parts wrong. */
export const nearly = (valid: unknown): fc.Arbitrary<unknown> => {
  const change = fc.tuple(fc.nat(), fc.constantFrom('replace' as const, 'drop' as const, 'add' as const), odd)
  return fc.array(change, { minLength: 1, maxLength: 3 }).map((changes) =>
    changes.reduce<unknown>((value, [pick, how, part]) => {
      const paths = pathsOf(value)
      return changed(value, paths[pick % paths.length]!, how, part)
    }, valid),
  )
}

/** A value of the kind of `part` that is still another one: what gets past the types and has to be caught by what it means. */
const variant = (part: unknown, pick: number): unknown => {
  if (typeof part === 'number') return [part + 1, Math.max(0, part - 1), 0, pick, 2 ** 32, 2 ** 40][pick % 6]
  if (typeof part === 'boolean') return !part
  if (part instanceof Uint8Array) return pick % 3 === 0 ? part.subarray(0, pick % part.length) : turned(part, pick)
  if (typeof part === 'string') return Buffer.from(turned(Buffer.from(part, 'latin1'), pick, 1)).toString('latin1')
  if (Array.isArray(part)) return pick % 2 === 0 ? [] : [...part, ...part]
  return part === null || part === undefined ? part : { ...part, [`further${pick}`]: 'x'.repeat(pick % 5_000) }
}

const turned = (bytes: Uint8Array, pick: number, bit = 1 << (pick % 8)): Uint8Array => {
  const copy = Buffer.from(bytes)
  if (copy.length > 0) copy[pick % copy.length]! ^= bit
  return copy
}

/** `valid` with one part exchanged for another of its kind. */
const subtly = (valid: unknown): fc.Arbitrary<unknown> =>
  fc.tuple(fc.nat(), fc.nat()).map(([at, pick]) => {
    const paths = pathsOf(valid)
    const path = paths[at % paths.length]!
    const part = path.reduce<any>((value, key) => value[key], valid)
    return changed(valid, path, 'replace', variant(part, pick))
  })

/** Nesting beyond what is taken, in lists and in maps. */
const deep = fc
  .tuple(fc.constantFrom(0x91, 0x81), fc.integer({ min: 17, max: 60_000 }))
  .map(([tag, depth]) => Buffer.alloc(depth, tag))

/** Heads that claim more than they bring, types that are not taken, and a value with more behind it. */
const broken = fc.constantFrom(
  ...[
    [0xdd, 0xff, 0xff, 0xff, 0xff],
    [0xdf, 0xff, 0xff, 0xff, 0xff],
    [0xc6, 0xff, 0xff, 0xff, 0xff],
    [0xc1],
    [0x80, 0x80],
  ],
  ...[[0xd4, 0x72, 0x40], [0xc7, 0x00, 0x74], [0xd6, 0xff, 0, 0, 0, 1], [0x81, 0x90, 0x00], []],
)

/** A payload in place of the msgpack of `valid`; now and then one beyond `bytesMax`. */
export const garbageFor = (valid: unknown, bytesMax: number): fc.Arbitrary<Uint8Array> =>
  fc.oneof(
    { weight: 12, arbitrary: subtly(valid).map(pack) },
    { weight: 8, arbitrary: nearly(valid).map(pack) },
    { weight: 4, arbitrary: odd.map(pack) },
    { weight: 4, arbitrary: fc.uint8Array({ maxLength: 600 }) },
    { weight: 2, arbitrary: deep },
    { weight: 2, arbitrary: broken.map((bytes) => Buffer.from(bytes)) },
    { weight: 1, arbitrary: fc.nat(1_000).map((more) => pack(Buffer.alloc(bytesMax + more))) },
  )
