/**
 * msgpack in and out. A peer can make msgpack decode into Error, RegExp, Date, Set or typed arrays, nest deeply or
 * claim sizes that it does not send; so the frame is bounded before (by the caller), the nesting and the number of
 * items are bounded here before anything is built, and every decoded message is checked against its schema after.
 */
import { Packr, Unpackr } from 'msgpackr'
import { GodelError } from './errors.ts'
import { limits } from './limits.ts'

const packr = new Packr({ useRecords: false })
// Bytes are copied out: a view of twenty bytes would keep all that was received with them, which may be a megabyte.
const unpackr = new Unpackr({ useRecords: false, int64AsType: 'bigint', copyBuffers: true })

/** One value as msgpack. `undefined` fields of objects are dropped. */
export const encode = (value: unknown): Uint8Array => packr.pack(value)

/** One msgpack value that fills `bytes` exactly; INVALID_MESSAGE for anything else. */
export const decode = (bytes: Uint8Array, what = 'a message'): unknown => {
  const end = measure(bytes, what)
  if (end !== bytes.byteLength) throw malformed(what, 'bytes follow the value')
  try {
    return unpackr.unpack(bytes)
  } catch (error) {
    throw new GodelError({ code: 'INVALID_MESSAGE', what, reason: 'it is not msgpack' }, { cause: error })
  }
}

const malformed = (what: string, reason: string) => new GodelError({ code: 'INVALID_MESSAGE', what, reason })

/**
 * Walks the msgpack structure without building it; gives the offset after the first value. Extension types are refused:
 * nothing here uses them, and they are what decodes into surprising classes.
 */
const measure = (bytes: Uint8Array, what: string): number => {
  const view = new DataView(bytes.buffer, bytes.byteOffset, bytes.byteLength)
  const remaining: number[] = [1] // values still expected, per depth
  let at = 0
  let items = 0
  while (remaining.length > 0) {
    const top = remaining.length - 1
    if (remaining[top] === 0) {
      remaining.pop()
      continue
    }
    remaining[top]!--
    if (++items > limits.wireItemsMax) throw malformed(what, `it has more than ${limits.wireItemsMax} items`)
    const [size, children] = head(view, at, what)
    at += size
    if (at > bytes.byteLength) throw malformed(what, 'it ends too early')
    if (children > bytes.byteLength - at) throw malformed(what, 'it claims more items than it has bytes')
    if (children > 0) {
      if (remaining.length > limits.wireDepthMax) throw malformed(what, `it nests deeper than ${limits.wireDepthMax}`)
      remaining.push(children)
    }
  }
  return at
}

/** The size in bytes of the value's own part, and how many values follow as its children. */
const head = (view: DataView, at: number, what: string): [size: number, children: number] => {
  try {
    const tag = view.getUint8(at)
    if (tag <= 0x7f || tag >= 0xe0) return [1, 0]
    if (tag <= 0x8f) return [1, (tag & 0x0f) * 2]
    if (tag <= 0x9f) return [1, tag & 0x0f]
    if (tag <= 0xbf) return [1 + (tag & 0x1f), 0]
    switch (tag) {
      case 0xc0: // nil
      case 0xc2: // false
      case 0xc3: // true
        return [1, 0]
      case 0xc4: // bin 8
      case 0xd9: // str 8
        return [2 + view.getUint8(at + 1), 0]
      case 0xc5: // bin 16
      case 0xda: // str 16
        return [3 + view.getUint16(at + 1), 0]
      case 0xc6: // bin 32
      case 0xdb: // str 32
        return [5 + view.getUint32(at + 1), 0]
      case 0xca: // float 32
      case 0xce: // uint 32
      case 0xd2: // int 32
        return [5, 0]
      case 0xcb: // float 64
      case 0xcf: // uint 64
      case 0xd3: // int 64
        return [9, 0]
      case 0xcc: // uint 8
      case 0xd0: // int 8
        return [2, 0]
      case 0xcd: // uint 16
      case 0xd1: // int 16
        return [3, 0]
      case 0xdc: // array 16
        return [3, view.getUint16(at + 1)]
      case 0xdd: // array 32
        return [5, view.getUint32(at + 1)]
      case 0xde: // map 16
        return [3, view.getUint16(at + 1) * 2]
      case 0xdf: // map 32
        return [5, view.getUint32(at + 1) * 2]
    }
  } catch {
    throw malformed(what, 'it ends too early')
  }
  throw malformed(what, 'it holds a type that is not taken')
}
