import fc from 'fast-check'
import { describe, expect, test } from 'vitest'
import { idPattern, mintId, shortPeer, uuidv7, type IdPrefix } from '../../../src/base/ids.ts'

const wallMs = 1_800_000_000_000

describe('an id', () => {
  test.each<IdPrefix>(['ag', 'rq', 'rs', 'ex', 'tk', 'up'])(
    'with the prefix %s matches its pattern and no other',
    (prefix) => {
      const id = mintId(prefix, wallMs)
      expect(id).toMatch(new RegExp(idPattern(prefix)))
      expect(id).not.toMatch(new RegExp(idPattern(prefix === 'ag' ? 'rq' : 'ag')))
      expect(`${id}\n`).not.toMatch(new RegExp(idPattern(prefix)))
      expect(`x${id}`).not.toMatch(new RegExp(idPattern(prefix)))
    },
  )

  test('holds its time, and sorts by it', () => {
    fc.assert(
      fc.property(fc.nat({ max: 2 ** 48 - 1 }), fc.nat({ max: 2 ** 48 - 1 }), (a, b) => {
        expect(Number.parseInt(uuidv7(a).replaceAll('-', '').slice(0, 12), 16)).toBe(a)
        if (a !== b) expect(uuidv7(a) < uuidv7(b)).toBe(a < b)
      }),
    )
  })

  test('is another one each time, within one millisecond too', () => {
    expect(new Set(Array.from({ length: 10_000 }, () => mintId('ag', wallMs))).size).toBe(10_000)
  })

  test('is a UUID of version 7 and the variant of RFC 9562', () => {
    for (let i = 0; i < 200; i++)
      expect(uuidv7(wallMs + i)).toMatch(/^[0-9a-f]{8}-[0-9a-f]{4}-7[0-9a-f]{3}-[89ab][0-9a-f]{3}-[0-9a-f]{12}$/)
  })
})

test('a PeerId is shortened to its last eight characters, which differ', () => {
  expect(shortPeer('12D3KooWEyoppNCUx8Yx66oV9fJnriXwCcXwDDUA2kj6vnc6iDEp')).toBe('vnc6iDEp')
})
