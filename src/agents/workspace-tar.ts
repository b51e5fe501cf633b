/**
 * Unpacking a tar stream that somebody else made. Every entry is judged before anything of it is written, on top of the
 * checks of the `tar` library (which writes through no link and outside of no directory); a fault refuses the whole.
 */
import path from 'node:path'
import { Unpack, type ReadEntry } from 'tar'
import { GodelError } from '../base/errors.ts'
import type { Limits } from '../base/limits.ts'
import { createInterrupt, type Interrupt } from './interrupt.ts'

export type TarLimits = Pick<Limits, 'workspaceBytesMax' | 'workspaceEntriesMax' | 'workspaceDepthMax'>

const refused = (reason: string): GodelError => new GodelError({ code: 'WORKSPACE_FAILED', reason })

const shown = (text: string): string => JSON.stringify(text.slice(0, 200))

/**
 * Writes a tar stream into `directory` as it arrives. WORKSPACE_FAILED names the entry that is at fault; TOO_LARGE; the
 * signal's reason when it aborts. What was written by then is left to the caller.
 */
export const extractTar = async (
  limits: TarLimits,
  source: AsyncIterable<Uint8Array>,
  directory: string,
  signal: AbortSignal,
): Promise<void> => {
  const judge = createJudge(limits)
  const unpack = new Unpack({
    cwd: directory,
    strict: true,
    preserveOwner: false,
    preservePaths: false,
    maxDepth: limits.workspaceDepthMax,
    filter: (_path, entry) => {
      judge.entry(entry as ReadEntry)
      return true
    },
  })
  const interrupt = createInterrupt()
  const finished = new Promise<void>((resolve) => unpack.on('finish', () => resolve()))
  unpack.on('error', (error: Error) => interrupt.raise(refused(`the archive is not sound: ${error.message}`)))
  const onAbort = () => interrupt.raise(signal.reason as Error)
  signal.addEventListener('abort', onAbort, { once: true })
  try {
    signal.throwIfAborted()
    await write(unpack, judge, source, interrupt)
    judge.end()
    // The library takes an archive of nothing but its end for none at all.
    if (judge.isEmpty()) return
    unpack.end()
    await interrupt.guard(finished)
  } finally {
    signal.removeEventListener('abort', onAbort)
  }
}

const write = async (
  unpack: Unpack,
  judge: Judge,
  source: AsyncIterable<Uint8Array>,
  interrupt: Interrupt,
): Promise<void> => {
  const iterator = source[Symbol.asyncIterator]()
  try {
    for (;;) {
      const result = await interrupt.guard(iterator.next())
      if (result.done) return
      judge.bytes(result.value)
      if (!unpack.write(Buffer.from(result.value))) await interrupt.guard(drained(unpack))
    }
  } catch (error) {
    Promise.resolve(iterator.return?.()).catch(() => {})
    throw error
  }
}

const drained = (unpack: Unpack): Promise<void> => new Promise((resolve) => unpack.once('drain', () => resolve()))

interface Judge {
  bytes(part: Uint8Array): void
  /** Call when all bytes have come: an archive that was cut off between two entries looks whole but for its end. */
  end(): void
  isEmpty(): boolean
  entry(entry: ReadEntry): void
}

const createJudge = (limits: TarLimits): Judge => {
  // Each entry has a header of its own, and one more where its name is long.
  const streamBytesMax = limits.workspaceBytesMax + limits.workspaceEntriesMax * 4_096
  const endBytes = 1_024
  let zerosAtEnd = 0
  let received = 0
  let entries = 0
  let unpacked = 0
  const tooLarge = (bytes: number) =>
    new GodelError({ code: 'TOO_LARGE', what: 'the workspace', bytes, limitBytes: limits.workspaceBytesMax })
  return {
    bytes(part) {
      if (received === 0 && isCompressed(part)) throw refused('the archive is compressed, and only plain tar is taken')
      received += part.byteLength
      if (received > streamBytesMax) throw tooLarge(received)
      const zeros = part.byteLength - 1 - part.findLastIndex((byte) => byte !== 0)
      zerosAtEnd = zeros === part.byteLength ? zerosAtEnd + zeros : zeros
    },
    end() {
      if (zerosAtEnd < endBytes) throw refused('the archive is not sound: its end is missing')
    },
    isEmpty: () => zerosAtEnd === received,
    entry(entry) {
      if (++entries > limits.workspaceEntriesMax)
        throw refused(`the archive has more than ${limits.workspaceEntriesMax} entries`)
      unpacked += entry.size
      if (unpacked > limits.workspaceBytesMax) throw tooLarge(unpacked)
      const fault = faultOf(entry)
      if (fault !== undefined) throw refused(`the archive's entry ${shown(entry.path)} ${fault}`)
      entry.mode = (entry.mode ?? 0o644) & 0o777
    },
  }
}

/** gzip and zstd, which the library would unpack unasked. */
const isCompressed = (part: Uint8Array): boolean =>
  (part[0] === 0x1f && part[1] === 0x8b) ||
  (part[0] === 0x28 && part[1] === 0xb5 && part[2] === 0x2f && part[3] === 0xfd)

const kinds = new Set(['File', 'OldFile', 'ContiguousFile', 'Directory', 'GNUDumpDir', 'Link', 'SymbolicLink'])

const partsOf = (name: string): string[] => name.split('/').filter((part) => part !== '' && part !== '.')

/** What is wrong with an entry, by its header alone. The library has cut its names at the first NUL. */
const faultOf = (entry: ReadEntry): string | undefined => {
  const target = entry.linkpath ?? ''
  if (!kinds.has(entry.type)) return `is a ${entry.type}, and only files, directories and links are taken`
  if (path.posix.isAbsolute(entry.path)) return 'has an absolute path'
  if (partsOf(entry.path).includes('..')) return 'leads out of the workspace'
  if (entry.type === 'Link') {
    if (path.posix.isAbsolute(target) || partsOf(target).includes('..'))
      return `links to ${shown(target)}, outside of the workspace`
  }
  if (entry.type === 'SymbolicLink') return linkFault(entry.path, target)
  return undefined
}

/**
 * A symbolic link stays inside when it climbs no higher than its own depth and only at its beginning: after a name that
 * may itself be a link, `..` could lead anywhere.
 */
const linkFault = (name: string, target: string): string | undefined => {
  if (path.posix.isAbsolute(target)) return `links to ${shown(target)}, outside of the workspace`
  const parts = partsOf(target)
  const climb = parts.findIndex((part) => part !== '..')
  const climbs = climb === -1 ? parts.length : climb
  if (climbs > partsOf(name).length - 1 || parts.slice(climbs).includes('..'))
    return `links to ${shown(target)}, outside of the workspace`
  return undefined
}
