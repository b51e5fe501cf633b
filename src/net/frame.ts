/**
 * The frames of /godel/rpc/1. Big-endian; each begins with the length of what follows it, its kind, and the call that it
 * belongs to, so that a session can bound and route it without decoding anything:
 *
 *   u32 length | u8 kind | u32 call | body
 *
 * The body is the msgpack of a payload, and for two kinds something fixed: REQUEST has u8 flags, u16 version, u32 timeout
 * in ms (0 for none), u32 credit in bytes for the items that the caller takes, u8 length of the name, the name in ASCII,
 * and then the payload; CREDIT has u32 bytes. Ids are the caller's own; a kind tells which side of the call sends it.
 */
import { GodelError } from '../base/errors.ts'

export const Kind = {
  request: 1, // caller
  incoming: 2,
  incomingEnd: 3,
  cancel: 4,
  callerCredit: 5,
  response: 16, // callee
  error: 17,
  item: 18,
  end: 19,
  calleeCredit: 20,
  drain: 32, // either: no new calls on this session, please
} as const

export const frameHeaderBytes = 9
const requestFixedBytes = 12
const lengthBytes = 4
/** Pieces of a frame above this are kept as they came. */
const pieceBytes = 4096

/** Flags of a request. */
export const streamFlag = 1
export const outgoingFlag = 2

export interface RequestHead {
  readonly stream: boolean
  /** The caller sends items of its own. */
  readonly outgoing: boolean
  readonly version: number
  readonly timeoutMs: number
  readonly creditBytes: number
  readonly name: string
  readonly payload: Uint8Array
}

const malformed = (reason: string) => new GodelError({ code: 'INVALID_MESSAGE', what: 'an RPC frame', reason })

export const requestBytes = (name: string, payload: Uint8Array): number =>
  frameHeaderBytes + requestFixedBytes + name.length + payload.byteLength

/** Writes the common head at `at`; `size` is the whole frame. Gives the offset of the body. */
export const writeHead = (target: Buffer, at: number, size: number, kind: number, call: number): number => {
  const length = size - lengthBytes
  target[at] = length >>> 24
  target[at + 1] = length >>> 16
  target[at + 2] = length >>> 8
  target[at + 3] = length
  target[at + 4] = kind
  target[at + 5] = call >>> 24
  target[at + 6] = call >>> 16
  target[at + 7] = call >>> 8
  target[at + 8] = call
  return at + frameHeaderBytes
}

/** Writes the body of a request at `at`. */
export const writeRequest = (target: Buffer, at: number, head: RequestHead): void => {
  target[at] = (head.stream ? streamFlag : 0) | (head.outgoing ? outgoingFlag : 0)
  target[at + 1] = head.version >>> 8
  target[at + 2] = head.version
  target.writeUInt32BE(head.timeoutMs, at + 3)
  target.writeUInt32BE(head.creditBytes, at + 7)
  target[at + 11] = head.name.length
  target.write(head.name, at + requestFixedBytes, 'latin1')
  target.set(head.payload, at + requestFixedBytes + head.name.length)
}

/** The head of a request and its payload, not yet decoded; INVALID_MESSAGE. */
export const readRequest = (body: Buffer): RequestHead => {
  if (body.length < requestFixedBytes) throw malformed('a request ends too early')
  const nameEnd = requestFixedBytes + body[11]!
  if (nameEnd > body.length) throw malformed('the name of a method ends too early')
  const flags = body[0]!
  return {
    stream: (flags & streamFlag) !== 0,
    outgoing: (flags & outgoingFlag) !== 0,
    version: body.readUInt16BE(1),
    timeoutMs: body.readUInt32BE(3),
    creditBytes: body.readUInt32BE(7),
    name: body.toString('latin1', requestFixedBytes, nameEnd),
    payload: body.subarray(nameEnd),
  }
}

/** The bytes that a CREDIT grants; INVALID_MESSAGE. */
export const readCredit = (body: Buffer): number => {
  if (body.length !== 4) throw malformed('a credit is not four bytes long')
  return body.readUInt32BE(0)
}

const bufferOf = (bytes: Uint8Array): Buffer =>
  bytes instanceof Buffer ? bytes : Buffer.from(bytes.buffer, bytes.byteOffset, bytes.byteLength)

/**
 * Cuts a stream of bytes into frames. `onFrame` gets a view into the received bytes, to be copied if it is kept.
 * `push` throws TOO_LARGE for a length above `frameBytesMax` before any of it is buffered, and INVALID_MESSAGE.
 */
export const createFrameReader = (
  frameBytesMax: number,
  onFrame: (kind: number, call: number, body: Buffer) => void,
): { push(bytes: Uint8Array): void } => {
  let held: Buffer[] = []
  let heldBytes = 0
  let needed = lengthBytes

  /** Puts small pieces together, two of a size at a time: a frame that comes byte by byte costs no more than it holds. */
  const thin = () => {
    for (let last = held.length - 1; last > 0; last--) {
      const [left, right] = [held[last - 1]!, held[last]!]
      if (left.length > right.length || left.length + right.length > pieceBytes) return
      held.splice(last - 1, 2, Buffer.concat([left, right]))
    }
  }

  const hold = (rest: Buffer, need: number) => {
    held = rest.length === 0 ? [] : [rest]
    heldBytes = rest.length
    needed = need
  }

  return {
    push(bytes) {
      let data = bufferOf(bytes)
      if (heldBytes > 0) {
        held.push(data)
        heldBytes += data.length
        if (heldBytes < needed) return thin()
        data = Buffer.concat(held, heldBytes)
      }
      let at = 0
      while (data.length - at >= lengthBytes) {
        const length = data.readUInt32BE(at)
        if (length < frameHeaderBytes - lengthBytes) throw malformed('a frame is shorter than its head')
        if (length > frameBytesMax) {
          throw new GodelError({ code: 'TOO_LARGE', what: 'an RPC frame', bytes: length, limitBytes: frameBytesMax })
        }
        const end = at + lengthBytes + length
        if (end > data.length) return hold(data.subarray(at), lengthBytes + length)
        onFrame(data[at + 4]!, data.readUInt32BE(at + 5), data.subarray(at + frameHeaderBytes, end))
        at = end
      }
      hold(data.subarray(at), lengthBytes)
    },
  }
}
