/** Tar archives made by hand, hostile ones included, which no archiver would make. */
import { Header } from 'tar'

interface Entry {
  path: string
  type?: 'File' | 'Directory' | 'SymbolicLink' | 'Link' | 'CharacterDevice' | 'BlockDevice' | 'FIFO'
  linkpath?: string
  mode?: number
  body?: string
  /** What the header claims, where that differs from the body. */
  size?: number
}

/** Packs entries just as they are. */
export const tarOf = (...entries: Entry[]): Buffer => {
  const blocks = entries.flatMap(({ path: name, type = 'File', linkpath, mode = 0o644, body = '', size }) => {
    const header = new Header({
      path: name,
      type,
      mode,
      size: size ?? Buffer.byteLength(body),
      mtime: new Date(0),
      ...(linkpath !== undefined && { linkpath }),
    })
    const block = Buffer.alloc(512)
    header.encode(block)
    return [block, Buffer.from(body), Buffer.alloc((512 - (Buffer.byteLength(body) % 512)) % 512)]
  })
  return Buffer.concat([...blocks, Buffer.alloc(1024)])
}

export const paxOf = (records: Record<string, string>, entry: Entry): Buffer => {
  const body = Object.entries(records)
    .map(([key, value]) => {
      const rest = ` ${key}=${value}\n`
      let length = Buffer.byteLength(rest) + 1
      while (Buffer.byteLength(String(length)) + Buffer.byteLength(rest) !== length) length++
      return `${length}${rest}`
    })
    .join('')
  return Buffer.concat([
    tarOf({ path: 'PaxHeader', type: 'ExtendedHeader' as never, body }).subarray(0, -1024),
    tarOf(entry),
  ])
}

/** Bytes as a stream of the given chunks. */
export async function* streamOf(...chunks: Uint8Array[]): AsyncIterable<Uint8Array> {
  yield* chunks
}
