/** Finding the node: what the caller says, else the environment, else the data directory of this user. */
import { readFile } from 'node:fs/promises'
import { homedir } from 'node:os'
import { isAbsolute, join } from 'node:path'
import { GodelError } from '../base/errors.ts'

export interface Target {
  /** Without a slash at its end. */
  readonly url: string
  readonly apiKey?: string
}

export interface Hints {
  url?: string
  apiKey?: string
  dataDir?: string
}

type Env = Record<string, string | undefined>

/** `$GODEL_DATA_DIR`, else `godel-node` in the data home of the XDG base directory specification. */
export const defaultDataDir = (env: Env = process.env): string => {
  if (env['GODEL_DATA_DIR']) return env['GODEL_DATA_DIR']
  const dataHome = env['XDG_DATA_HOME']
  // The specification has relative paths ignored.
  return join(dataHome && isAbsolute(dataHome) ? dataHome : join(homedir(), '.local', 'share'), 'godel-node')
}

/**
 * Where the node is and its key. An address or a data directory that the caller names wins over GODEL_URL and
 * GODEL_API_KEY, and these over the default data directory. INVALID_ARGUMENT, NODE_UNREACHABLE where there is no trace of a node.
 */
export const discover = async (hints: Hints = {}, env: Env = process.env): Promise<Target> => {
  if (hints.url !== undefined) return target('url', hints.url, hints.apiKey ?? env['GODEL_API_KEY'])
  if (hints.dataDir !== undefined) return inDirectory(hints.dataDir, hints.apiKey)
  if (env['GODEL_URL']) return target('GODEL_URL', env['GODEL_URL'], hints.apiKey ?? env['GODEL_API_KEY'])
  return inDirectory(defaultDataDir(env), hints.apiKey)
}

const target = (field: string, text: string, apiKey: string | undefined): Target => {
  const url = URL.parse(text)
  if (url === null || (url.protocol !== 'http:' && url.protocol !== 'https:'))
    throw new GodelError({ code: 'INVALID_ARGUMENT', field, reason: 'must be a URL such as http://127.0.0.1:7373' })
  return { url: `${url.origin}${url.pathname}`.replace(/\/+$/, ''), ...(apiKey && { apiKey }) }
}

const inDirectory = async (dataDir: string, givenKey: string | undefined): Promise<Target> => {
  const [address, key] = await Promise.all([readIn(dataDir, 'api.json'), readIn(dataDir, 'api.key')])
  if (address === undefined)
    throw new GodelError({ code: 'NODE_UNREACHABLE', url: dataDir, reason: 'no node runs on this data directory' })
  return target(join(dataDir, 'api.json'), urlIn(address), givenKey ?? key?.trim())
}

const readIn = async (dataDir: string, name: string): Promise<string | undefined> => {
  try {
    return await readFile(join(dataDir, name), 'utf8')
  } catch (error) {
    const { code } = error as NodeJS.ErrnoException
    if (code === 'ENOENT' || code === 'ENOTDIR') return undefined
    throw new GodelError(
      { code: 'NODE_UNREACHABLE', url: dataDir, reason: `${name} cannot be read (${code})` },
      { cause: error },
    )
  }
}

const urlIn = (address: string): string => {
  try {
    return String((JSON.parse(address) as { url?: unknown } | null)?.url)
  } catch {
    return '' // refused as no URL, with the name of the file
  }
}
