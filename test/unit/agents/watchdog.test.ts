import { spawn, type ChildProcess } from 'node:child_process'
import { once } from 'node:events'
import { existsSync, readFileSync, rmSync } from 'node:fs'
import { createInterface } from 'node:readline'
import { fileURLToPath } from 'node:url'
import { afterEach, describe, expect, it } from 'vitest'
import type { LogFields } from '../../../src/base/log.ts'
import { silentLog } from '../../../src/base/log.ts'
import { readProcess } from '../../../src/agents/processes.ts'
import { startWatchdog } from '../../../src/agents/watchdog.ts'
import { createExecRig, probedLevels, type ExecRig } from '../../support/exec-rig.ts'
import { processesWith } from '../../support/processes.ts'
import { waitFor } from '../../support/wait.ts'

const levels = await probedLevels()
const rigs: ExecRig[] = []
const rigWith = async (options?: Parameters<typeof createExecRig>[0]): Promise<ExecRig> => {
  const rig = await createExecRig(options)
  rigs.push(rig)
  return rig
}
afterEach(async () => {
  for (const rig of rigs.splice(0)) await rig.close()
})

interface WatchedNode {
  child: ChildProcess
  nodeMark: string
  dataDir: string
  watchdog: number
}

const startNode = async (...args: string[]): Promise<WatchedNode> => {
  const file = fileURLToPath(new URL('../../support/watched-node.ts', import.meta.url))
  const child = spawn(process.execPath, [file, ...args], { stdio: ['ignore', 'pipe', 'inherit'], detached: true })
  const [line] = (await once(createInterface(child.stdout), 'line')) as [string]
  return { child, ...(JSON.parse(line) as Omit<WatchedNode, 'child'>) }
}

const isAlive = (pid: number): boolean => {
  const row = readProcess(pid)
  return row !== undefined && !row.ended
}

/** Starts a silent command and gives its iterator. */
const startSleeping = async (rig: ExecRig, level: 'bwrap' | 'none', agent = rig.agent) => {
  const events = rig.run(level, { command: 'sleep', args: ['1000'] }, { agent })[Symbol.asyncIterator]()
  await events.next()
  return events
}

describe('the end of a node', () => {
  it('by SIGKILL ends every process of its agents, daemons of their own session too', async () => {
    const node = await startNode(...levels)
    expect(processesWith(node.nodeMark).length).toBeGreaterThanOrEqual(6)
    node.child.kill('SIGKILL')
    await waitFor('no process of the agents', () => processesWith(node.nodeMark).length === 0, {
      withinMs: 5_000,
      everyMs: 10,
    })
    await waitFor('the watchdog to go', () => !isAlive(node.watchdog))
    rmSync(node.dataDir, { recursive: true })
  })

  it('is not brought to the watchdog by the signals of a terminal or a supervisor', async () => {
    const node = await startNode('none')
    for (const signal of ['SIGINT', 'SIGHUP', 'SIGTERM'] as const) process.kill(node.watchdog, signal)
    expect(readProcess(node.watchdog)?.session).toBe(node.watchdog)
    // The whole process group of the node, as a terminal does it.
    process.kill(-node.child.pid!, 'SIGINT')
    await waitFor('no process of the agents', () => processesWith(node.nodeMark).length === 0)
    await waitFor('the watchdog to go', () => !isAlive(node.watchdog))
    rmSync(node.dataDir, { recursive: true })
  })

  it('together with its watchdog is made up for by the next start in the same data directory', async () => {
    const node = await startNode('none')
    // Stopped first, so that it cannot start another watchdog in between.
    node.child.kill('SIGSTOP')
    process.kill(node.watchdog, 'SIGKILL')
    node.child.kill('SIGKILL')
    await once(node.child, 'exit')
    expect(processesWith(node.nodeMark).length).toBeGreaterThanOrEqual(3)
    const rig = await rigWith()
    const nodeMark = 'b'.repeat(32)
    const next = await startWatchdog(rig, { dataDir: node.dataDir, nodeMark })
    expect(processesWith(node.nodeMark)).toEqual([])
    expect(readFileSync(`${node.dataDir}/node.mark`, 'utf8')).toBe(`${nodeMark}\n`)
    await next.close()
    rmSync(node.dataDir, { recursive: true })
  })
})

describe('the watchdog', () => {
  it('is replaced when it dies, and the new one knows the trees of the old', async () => {
    const said: [string, LogFields | undefined][] = []
    const log = { ...silentLog, warn: (message: string, fields?: LogFields) => void said.push([message, fields]) }
    const rig = await rigWith({ log, limits: { watchdogRestartMs: 10 } as never })
    // Without its marks, so that only the registration leads to it.
    const child = spawn('setsid', ['sleep', '1000'], {
      detached: true,
      stdio: 'ignore',
      env: { PATH: process.env['PATH'] ?? '' },
    })
    rig.watchdog.started(rig.agent, 'ex_1', child.pid!)
    const first = rig.watchdog.pid()!
    process.kill(first, 'SIGKILL')
    await waitFor('another watchdog', () => rig.watchdog.pid() !== undefined && rig.watchdog.pid() !== first)
    expect(said[0]).toEqual([
      expect.stringContaining('started again'),
      expect.objectContaining({ why: 'SIGKILL', trees: 1 }),
    ])
    await rig.watchdog.endAgent(rig.agent)
    expect(isAlive(child.pid!)).toBe(false)
  })

  it('answers what the one before it was asked', async () => {
    const rig = await rigWith({ limits: { watchdogRestartMs: 10 } as never })
    const events = await startSleeping(rig, 'none')
    const first = rig.watchdog.pid()!
    process.kill(first, 'SIGSTOP')
    const ended = rig.watchdog.endAgent(rig.agent)
    process.kill(first, 'SIGKILL')
    await ended
    expect(processesWith(rig.nodeMark)).toEqual([])
    await events.return!()
  })

  it.each(levels)('ends one agent and leaves another alone, at level %s', async (level) => {
    const rig = await rigWith()
    const other = 'ag_0192f0c1-2345-7abc-8def-0123456789ee'
    const mine = await startSleeping(rig, level)
    const theirs = await startSleeping(rig, level, other)
    await rig.watchdog.endAgent(rig.agent)
    expect(processesWith(`GODEL_AGENT=${rig.agent}`)).toEqual([])
    expect(processesWith(`GODEL_AGENT=${other}`).length).toBeGreaterThan(0)
    expect((await mine.next()).value).toMatchObject({ type: 'exit', signal: 'SIGKILL' })
    await theirs.return!()
  })

  it('does not kill a process that has got the number of an earlier one', async () => {
    const rig = await rigWith()
    const bystander = spawn('sleep', ['1000'], { stdio: 'ignore', detached: true })
    await once(bystander, 'spawn')
    const { endTree } = await import('../../../src/agents/processes.ts')
    endTree([{ pid: bystander.pid!, startTicks: '1' }], { GODEL_NODE: rig.nodeMark }, { rounds: 3, pauseMs: 5 })
    expect(isAlive(bystander.pid!)).toBe(true)
    bystander.kill('SIGKILL')
  })

  it('ends everything when it is closed', async () => {
    const rig = await rigWith()
    for (const level of levels) await startSleeping(rig, level)
    const pid = rig.watchdog.pid()!
    await rig.watchdog.close()
    expect(processesWith(rig.nodeMark)).toEqual([])
    expect(isAlive(pid)).toBe(false)
  })

  it('refuses a mark that could name other processes', async () => {
    const rig = await rigWith()
    await expect(startWatchdog(rig, { dataDir: rig.dataDir, nodeMark: '' })).rejects.toMatchObject({
      code: 'INVALID_ARGUMENT',
    })
    expect(existsSync(`${rig.dataDir}/node.mark.new`)).toBe(false)
  })
})
