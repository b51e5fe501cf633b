/** Whether this host can run agents in a sandbox. Where it cannot, what needs one says aloud that it was not run. */
import { probeIsolation } from '../../src/agents/sandbox.ts'

const probe = await probeIsolation()

export const sandboxWorks = probe.level === 'bwrap'

/** For `test.skipIf`: true, and a line on standard error, where there is no sandbox. */
export const withoutSandbox = (what: string): boolean => {
  if (!sandboxWorks)
    process.stderr.write(`NOT RUN: ${what}: bwrap does not work here (${probe.reason ?? 'no reason'})\n`)
  return !sandboxWorks
}

/** What a node needs to be started with so that it takes agents of others here. */
export const takesOthers: string[] = sandboxWorks ? [] : ['--accept-unsandboxed']
