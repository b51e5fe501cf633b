/** Files on their way from a client to an agent: kept on the disk of the caller's node until the agent runs, or for a while. */
import { createReadStream } from 'node:fs'
import { mkdir, open, readdir, rename, rm, stat } from 'node:fs/promises'
import path from 'node:path'
import type { Clock } from '../base/clock.ts'
import { GodelError, reasonOf } from '../base/errors.ts'
import { idPattern, mintId } from '../base/ids.ts'
import type { Limits } from '../base/limits.ts'

export interface Upload {
  upload: string
  bytes: number
}

export interface Uploads {
  /** Stores a stream. TOO_LARGE, QUEUE_FULL, CANCELLED; nothing of it is left then. */
  receive(source: AsyncIterable<Uint8Array>, signal?: AbortSignal): Promise<Upload>
  /** The bytes of an upload, as fast as they are read. NOT_FOUND when the first of them is asked for. */
  open(upload: string): AsyncIterable<Uint8Array>
  /** There need not be such an upload. */
  remove(upload: string): Promise<void>
  /** Removes what is older than `limits.workspaceUploadTtlMs`, and what an earlier run left half-received. */
  sweep(): Promise<void>
}

const uploadPattern = new RegExp(idPattern('up'))

export const createUploads = (
  deps: { clock: Clock; limits: Pick<Limits, 'workspaceBytesMax' | 'workspaceUploadsMax' | 'workspaceUploadTtlMs'> },
  { dataDir }: { dataDir: string },
): Uploads => {
  const { clock, limits } = deps
  const base = path.join(dataDir, 'uploads')
  const receiving = new Set<string>()

  const fileOf = (upload: string): string => {
    if (!uploadPattern.test(upload))
      throw new GodelError({ code: 'NOT_FOUND', what: 'upload', id: upload.slice(0, 64) })
    return path.join(base, `${upload}.tar`)
  }

  const names = async (): Promise<string[]> => {
    await mkdir(base, { recursive: true, mode: 0o700 })
    return readdir(base)
  }

  const sweep = async (): Promise<void> => {
    for (const name of await names()) {
      const file = path.join(base, name)
      const halfReceived = name.endsWith('.part') && !receiving.has(name)
      const entry = await stat(file).catch(() => undefined)
      if (entry && (halfReceived || clock.wallMs() - entry.mtimeMs > limits.workspaceUploadTtlMs))
        await rm(file, { force: true })
    }
  }

  const receive = async (source: AsyncIterable<Uint8Array>, signal?: AbortSignal): Promise<Upload> => {
    const upload = mintId('up', clock.wallMs())
    const part = `${upload}.part`
    // Counted before the first wait, so that uploads that begin together do not all find room.
    receiving.add(part)
    try {
      await sweep()
      const complete = (await names()).filter((name) => name.endsWith('.tar')).length
      if (complete + receiving.size > limits.workspaceUploadsMax)
        throw new GodelError({ code: 'QUEUE_FULL', what: 'the list of uploads', limit: limits.workspaceUploadsMax })
      const bytes = await save(path.join(base, part), source, limits.workspaceBytesMax, signal)
      await rename(path.join(base, part), fileOf(upload))
      return { upload, bytes }
    } finally {
      receiving.delete(part)
      await rm(path.join(base, part), { force: true })
    }
  }

  return {
    receive,
    async *open(upload) {
      const stream = createReadStream(fileOf(upload))
      try {
        yield* stream as AsyncIterable<Uint8Array>
      } catch (error) {
        if ((error as NodeJS.ErrnoException).code !== 'ENOENT') throw error
        throw new GodelError({ code: 'NOT_FOUND', what: 'upload', id: upload }, { cause: error })
      } finally {
        stream.destroy()
      }
    },
    remove: (upload) => rm(fileOf(upload), { force: true }),
    sweep,
  }
}

/** Writes a stream to a new file, readable by the node's user alone. Gives its length in bytes. */
const save = async (
  file: string,
  source: AsyncIterable<Uint8Array>,
  bytesMax: number,
  signal: AbortSignal | undefined,
): Promise<number> => {
  const handle = await open(file, 'wx', 0o600)
  let bytes = 0
  try {
    for await (const part of source) {
      if (signal?.aborted) throw new GodelError({ code: 'CANCELLED', what: 'the upload' })
      bytes += part.byteLength
      if (bytes > bytesMax) throw new GodelError({ code: 'TOO_LARGE', what: 'the upload', bytes, limitBytes: bytesMax })
      await handle.writeFile(part)
    }
    return bytes
  } catch (error) {
    if (error instanceof GodelError || !isDiskError(error)) throw error
    throw new GodelError({ code: 'STORE_FAILED', path: file, reason: reasonOf(error) }, { cause: error })
  } finally {
    await handle.close()
  }
}

const isDiskError = (error: unknown): boolean =>
  ['ENOSPC', 'EDQUOT', 'EIO', 'EROFS'].includes((error as NodeJS.ErrnoException).code ?? '')
