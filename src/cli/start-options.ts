/** What a node is started with, from the command line. */
import { open } from 'node:fs/promises'
import { resolve } from 'node:path'
import { GodelError, reasonOf } from '../base/errors.ts'
import { limits } from '../base/limits.ts'
import { defaultDataDir } from '../client/discover.ts'
import type { NodeOptions } from '../node/options.ts'
import type { CommonOptions } from './command.ts'

export interface StartFlags extends CommonOptions {
  realm?: string
  name?: string
  apiPort?: number
  listen?: string[]
  websocket?: number | true
  mdns?: boolean
  relay?: boolean
  join?: string
  bootstrap?: string[]
  capacity?: number
  region?: string
  label?: Record<string, string>
  capability?: string[]
  gpu?: number
  gpuTypes?: string[]
  costPerHour?: number
  shareable?: boolean
  shareFraction?: number
  acceptPeer?: string[]
  announce?: string[]
  acceptUnsandboxed?: boolean
}

/** The options of a node. Whoever names GPU types and no number has one of each. INVALID_ARGUMENT. */
export const nodeOptionsOf = async (flags: StartFlags, stdin: AsyncIterable<Uint8Array>): Promise<NodeOptions> => {
  const types = flags.gpuTypes ?? []
  const join = flags.join === undefined ? undefined : await readToken(flags.join, stdin)
  const { realm, name, capacity, region, costPerHour } = flags
  return {
    ...(realm !== undefined && { realm }),
    ...(name !== undefined && { name }),
    dataDir: resolve(flags.dataDir ?? defaultDataDir()),
    apiPort: flags.apiPort ?? limits.apiPort,
    listen: flags.listen ?? [],
    ...(flags.websocket !== undefined && {
      websocket: flags.websocket === true ? limits.webSocketPort : flags.websocket,
    }),
    mdns: flags.mdns ?? false,
    relay: flags.relay ?? true,
    ...(join !== undefined && { join }),
    bootstrap: flags.bootstrap ?? [],
    ...(capacity !== undefined && { capacity }),
    ...(region !== undefined && { region }),
    labels: flags.label ?? {},
    capabilities: flags.capability ?? [],
    gpu: { count: flags.gpu ?? types.length, types },
    ...(costPerHour !== undefined && { costPerHour }),
    shareable: flags.shareable ?? false,
    ...shareFractionOf(flags),
    acceptPeers: flags.acceptPeer ?? [],
    announce: flags.announce ?? [],
    acceptUnsandboxed: flags.acceptUnsandboxed ?? false,
  }
}

/** Whoever gives a fraction and shares nothing has made a mistake. */
const shareFractionOf = ({ shareFraction, shareable = false }: StartFlags): { shareFraction?: number } => {
  if (shareFraction === undefined) return {}
  if (shareable) return { shareFraction }
  throw new GodelError({ code: 'INVALID_ARGUMENT', field: '--share-fraction', reason: 'takes --shareable beside it' })
}

/**
 * The token itself, or read from `@FILE`, or from standard input for `-`, so that it need not be in the process list.
 * It may stand in the line that `realm invite` prints.
 */
const readToken = async (text: string, stdin: AsyncIterable<Uint8Array>): Promise<string> => {
  const token = text === '-' ? await readAll(stdin) : text.startsWith('@') ? await readFrom(text.slice(1)) : text
  const found = /(?<!\S)GDL1\.\S+/.exec(token)?.[0] ?? token.trim()
  if (found !== '') return found
  throw new GodelError({ code: 'INVALID_ARGUMENT', field: '--join', reason: `${text} holds no token` })
}

const readFrom = async (path: string): Promise<string> => {
  try {
    await using file = await open(path)
    return await readAll(file.createReadStream() as AsyncIterable<Uint8Array>)
  } catch (error) {
    if (error instanceof GodelError) throw error
    throw new GodelError(
      { code: 'INVALID_ARGUMENT', field: '--join', reason: `cannot be read: ${reasonOf(error)}` },
      { cause: error },
    )
  }
}

const readAll = async (source: AsyncIterable<Uint8Array>): Promise<string> => {
  const parts: Uint8Array[] = []
  let bytes = 0
  for await (const part of source) {
    bytes += part.byteLength
    const limitBytes = limits.tokenBytesMax
    if (bytes > limitBytes) throw new GodelError({ code: 'TOO_LARGE', what: 'the join token', bytes, limitBytes })
    parts.push(part)
  }
  return Buffer.concat(parts).toString('utf8')
}
