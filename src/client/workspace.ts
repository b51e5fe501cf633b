/** The caller's own files on their way to an agent: a directory as it is, or a fresh clone of a repository on this machine. */
import { execFile } from 'node:child_process'
import { mkdtemp, rm, stat } from 'node:fs/promises'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { GodelError, reasonOf } from '../base/errors.ts'
import { gitReason } from '../base/git.ts'
import type { Upload } from '../base/report.ts'
import { linkSignal, type Http } from './http.ts'

const failed = (reason: string, cause?: unknown) => new GodelError({ code: 'WORKSPACE_FAILED', reason }, { cause })

/** Sends the files of `dir` to the node. WORKSPACE_FAILED, TOO_LARGE. */
export const uploadDirectory = async (http: Http, dir: string, signal?: AbortSignal): Promise<Upload> => {
  const found = await stat(dir).catch((error: unknown) => {
    throw failed(`${dir} cannot be read: ${reasonOf(error)}`, error)
  })
  if (!found.isDirectory()) throw failed(`${dir} is not a directory`)
  const link = linkSignal(signal, 'the upload')
  const problems: GodelError[] = []
  try {
    const bytes = packed(dir, (problem) => problems.push(problem))
    const answer = await http.open('POST', '/v1/uploads', {
      source: { type: 'application/x-tar', bytes },
      signal: link.signal,
    })
    const parts: Uint8Array[] = []
    for await (const part of answer) parts.push(part)
    return JSON.parse(Buffer.concat(parts).toString('utf8')) as Upload
  } catch (error) {
    throw problems[0] ?? error
  } finally {
    link.release()
    link.abort() // an answer may have come before the files were sent
  }
}

/** A tar of everything in `dir`. What is neither file, directory nor link is left out; what cannot be read fails the whole. */
async function* packed(dir: string, onProblem: (problem: GodelError) => void): AsyncIterable<Uint8Array> {
  const { create } = await import('tar')
  const problems: GodelError[] = []
  const fail = (reason: string, cause?: unknown): void => {
    if (problems.length > 0) return
    problems.push(failed(reason, cause))
    onProblem(problems[0]!)
  }
  const pack = create(
    {
      cwd: dir,
      portable: true,
      // With a problem nothing more is walked. What tar leaves out by itself can keep it from ever ending.
      filter: (_path, entry) =>
        problems.length === 0 && 'isFile' in entry && (entry.isFile() || entry.isDirectory() || entry.isSymbolicLink()),
      onwarn: (_code, message) => fail(String(message)),
    },
    ['.'],
  )
  // Never removed: several entries are read at a time, and each may fail after the first one did.
  pack.on('error', (error) => fail(reasonOf(error), error))
  try {
    for await (const part of pack as AsyncIterable<Uint8Array>) {
      if (problems.length > 0) break
      yield part
    }
  } catch (error) {
    fail(reasonOf(error), error)
  }
  if (problems.length > 0) throw problems[0]!
}

/** Clones a repository of this machine and sends the clone, since the host of the agent cannot read it from here. */
export const uploadLocalRepository = async (http: Http, url: string, signal?: AbortSignal): Promise<Upload> => {
  const parent = await mkdtemp(join(tmpdir(), 'godel-clone-'))
  try {
    const dir = join(parent, 'work')
    await clone(url, dir, http.limits.gitCloneTimeoutMs, signal)
    return await uploadDirectory(http, dir, signal)
  } finally {
    await rm(parent, { recursive: true, force: true })
  }
}

const clone = (url: string, dir: string, timeoutMs: number, signal?: AbortSignal): Promise<void> =>
  new Promise((resolve, reject) => {
    const env = { ...process.env, GIT_TERMINAL_PROMPT: '0', GIT_ALLOW_PROTOCOL: 'file' }
    const options = { env, timeout: timeoutMs, ...(signal && { signal }) }
    execFile('git', ['clone', '--quiet', '--no-hardlinks', '--', url, dir], options, (error, _stdout, stderr) => {
      if (error === null) return resolve()
      reject(failed(`git clone of ${url} failed: ${gitReason(stderr) ?? reasonOf(error)}`, error))
    })
  })

/** True for what git would fetch from elsewhere: a URL with a scheme, or `user@host:path`. */
export const isGitUrl = (text: string): boolean =>
  /^[a-z][a-z0-9+.-]*:\/\//i.test(text) || /^[\w.-]+@[\w.-]+:(?!\/\/)/.test(text)

export const isFileUrl = (text: string): boolean => /^file:\/\//i.test(text)
