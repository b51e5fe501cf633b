/** Git for tests, with an author of its own and no configuration of the host. */
import { execFile } from 'node:child_process'
import { promisify } from 'node:util'

const author = {
  GIT_AUTHOR_NAME: 'test',
  GIT_AUTHOR_EMAIL: 'test@localhost',
  GIT_COMMITTER_NAME: 'test',
  GIT_COMMITTER_EMAIL: 'test@localhost',
}

export const runGit = async (cwd: string, ...args: string[]): Promise<string> => {
  const env = { ...process.env, ...author, GIT_CONFIG_GLOBAL: '/dev/null', GIT_CONFIG_SYSTEM: '/dev/null' }
  const { stdout } = await promisify(execFile)('git', args, { cwd, env })
  return stdout
}
