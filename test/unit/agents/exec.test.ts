import { randomBytes } from 'node:crypto'
import { chmodSync, existsSync, realpathSync, statSync, writeFileSync } from 'node:fs'
import path from 'node:path'
import { afterAll, beforeAll, describe, expect, it } from 'vitest'
import type { ExecEvent } from '../../../src/base/agent.ts'
import { GodelError } from '../../../src/base/errors.ts'
import { runExec } from '../../../src/agents/exec.ts'
import { createSandbox } from '../../../src/agents/sandbox.ts'
import { exitInside } from '../../../src/agents/exec-command.ts'
import { collect, createExecRig, probedLevels, type ExecRig } from '../../support/exec-rig.ts'
import { processesWith } from '../../support/processes.ts'
import { waitFor } from '../../support/wait.ts'

const levels = await probedLevels()
let rig: ExecRig
beforeAll(async () => {
  rig = await createExecRig()
})
afterAll(() => rig.close())

async function* parts(...texts: (string | Uint8Array)[]): AsyncIterable<Uint8Array> {
  for (const text of texts) yield Buffer.from(text)
}

const noProcessLeft = () => waitFor('no process of the exec', () => processesWith(rig.nodeMark).length === 0)

describe.each(levels)('a command at level %s', (level) => {
  it('tags its output by stream, numbers it across both, and tells its exit code', async () => {
    const { events, stdout, stderr, exit } = await rig.sh(level, 'echo out; echo err >&2; exit 7')
    expect(events[0]).toMatchObject({ type: 'started', epoch: 3 })
    expect(stdout.toString()).toBe('out\n')
    expect(stderr.toString()).toBe('err\n')
    expect(exit).toEqual({ type: 'exit', seq: 2, code: 7, signal: null })
    expect(events.slice(1).map((event) => 'seq' in event && event.seq)).toEqual([0, 1, 2])
  })

  it('gives output while it runs, in order', async () => {
    const input = Promise.withResolvers<void>()
    async function* later() {
      await input.promise
      yield Buffer.from('go\n')
    }
    const events = rig.run(
      level,
      { command: 'sh', args: ['-c', 'echo first; read x; echo $x'], stdin: true },
      { stdin: later() },
    )
    const seen: string[] = []
    for await (const event of events) {
      if (event.type !== 'output') continue
      seen.push(Buffer.from(event.data).toString())
      input.resolve()
    }
    expect(seen).toEqual(['first\n', 'go\n'])
  })

  it('passes binary input and output unharmed, in chunks of the limit', async () => {
    const bytes = randomBytes(3_000_001)
    const { stdout, exit, events } = await collect(
      rig.run(level, { command: 'cat' }, { stdin: parts(bytes.subarray(0, 5), bytes.subarray(5)) }),
    )
    expect(exit.code).toBe(0)
    expect(stdout.equals(bytes)).toBe(true)
    for (const event of events)
      if (event.type === 'output') expect(event.data.byteLength).toBeLessThanOrEqual(rig.limits.execChunkBytes)
  })

  it('reads end-of-file where no input is given', async () => {
    expect((await collect(rig.run(level, { command: 'cat' }))).exit.code).toBe(0)
  })

  it('can open its output by name', async () => {
    const script = 'echo in > /dev/stdout; echo err > /dev/stderr; echo more | tee /dev/stderr'
    const { stdout, stderr } = await rig.sh(level, script)
    expect([stdout.toString(), stderr.toString()]).toEqual(['in\nmore\n', 'err\nmore\n'])
  })

  it('runs with sockets where there are no pipes', async () => {
    const { clock, log, limits, watchdog, agent, dirs } = rig
    const order = {
      agent,
      epoch: 1,
      execId: 'ex_1',
      sandbox: createSandbox(level),
      dirs,
      stdin: undefined,
      signal: new AbortController().signal,
    }
    const { stdout } = await collect(
      runExec({ clock, log, limits, watchdog }, { ...order, spec: { command: 'echo', args: ['hi'] } }),
    )
    expect(stdout.toString()).toBe('hi\n')
  })

  it('may close its input early', async () => {
    async function* endless() {
      for (;;) yield Buffer.alloc(64 * 1024)
    }
    const { stdout, exit } = await collect(rig.run(level, { command: 'head', args: ['-c', '3'] }, { stdin: endless() }))
    expect([stdout.length, exit.code]).toEqual([3, 0])
  })

  it('does not take input that breaks off for input that ends', async () => {
    async function* broken() {
      yield Buffer.from('half')
      throw new Error('gone')
    }
    const { exit } = await collect(
      rig.run(level, { command: 'sh', args: ['-c', 'cat >/dev/null; echo whole'] }, { stdin: broken() }),
    )
    expect(exit.cause).toBe('cancelled')
  })

  it.each([
    ['exit 0', 0, null],
    ['exit 137', 137, null],
    ['exit 255', 255, null],
    ['kill -9 $$', null, 'SIGKILL'],
    ['kill -TERM $$', null, 'SIGTERM'],
    ['kill -SEGV $$', null, 'SIGSEGV'],
  ])('that does `%s` is told as it was', async (script, code, signal) => {
    expect((await rig.sh(level, script)).exit).toMatchObject({ code, signal })
  })

  it('has the workspace as its directory and its variables, and no others of the node', async () => {
    process.env['GODEL_API_KEY'] = 'secret-of-the-node'
    const { stdout } = await rig.sh(level, 'pwd; env', { env: { MINE: 'a b', LD_DEBUG_OUTPUT: 'x' } })
    delete process.env['GODEL_API_KEY']
    const lines = stdout.toString().split('\n')
    expect(lines[0]).toBe(level === 'bwrap' ? '/workspace' : realpathSync(rig.dirs.workspace))
    expect(lines).toContain('MINE=a b')
    expect(lines).toContain(`HOME=${level === 'bwrap' ? '/agent' : rig.dirs.home}`)
    expect(stdout.toString()).not.toContain('secret-of-the-node')
    const names = lines
      .slice(1)
      .map((line) => line.split('=')[0]!)
      .filter((name) => name.startsWith('GODEL_'))
    expect(names.sort()).toEqual(['GODEL_AGENT', 'GODEL_EXEC', 'GODEL_NODE'])
  })

  it('cannot take the marks off by its own variables', async () => {
    const { stdout } = await rig.sh(level, 'echo $GODEL_AGENT', { env: { GODEL_AGENT: 'other' } })
    expect(stdout.toString().trim()).toBe(rig.agent)
  })

  it('runs in a directory of the workspace, however it is named', async () => {
    await rig.sh(level, 'mkdir -p "deep/my dir"')
    for (const cwd of ['deep/my dir', './deep/my dir/', '/workspace/deep/my dir']) {
      const { stdout } = await rig.sh(level, 'pwd', { cwd })
      expect(stdout.toString()).toMatch(/\/deep\/my dir\n$/)
    }
  })

  it.each([
    [{ command: 'true', cwd: 'no/such' }, /no\/such does not exist/],
    [{ command: 'no-such-command' }, /no such command/],
    [{ command: './no-such-file' }, /no such/],
    [{ command: '/usr' }, /not an executable|EACCES/],
  ])('that cannot be started is refused: %o', async (spec, words) => {
    const error = await collect(rig.run(level, spec)).catch((thrown: unknown) => thrown)
    expect(error).toMatchObject({ code: 'EXEC_FAILED', message: expect.stringMatching(words) as string })
  })

  it('may have any words, and refuses a NUL', async () => {
    const words = ['', '-n', '--', '$(id)', 'a\nb', "'", '*', 'ü']
    const { stdout } = await collect(rig.run(level, { command: 'printf', args: ['[%s]', ...words] }))
    expect(stdout.toString()).toBe(words.map((word) => `[${word}]`).join(''))
    const error = await collect(rig.run(level, { command: 'env', env: { A: 'x\0--bind\0/\0/host' } })).catch(
      (thrown: unknown) => thrown,
    )
    expect(error).toMatchObject({ code: 'INVALID_ARGUMENT' })
  })

  it('runs a script of the workspace', async () => {
    writeFileSync(path.join(rig.dirs.workspace, 'run.sh'), '#!/bin/sh\necho ran "$@"\n')
    chmodSync(path.join(rig.dirs.workspace, 'run.sh'), 0o755)
    expect((await collect(rig.run(level, { command: './run.sh', args: ['x'] }))).stdout.toString()).toBe('ran x\n')
  })

  it('hears TERM at its timeout and may end in its own way', async () => {
    const { stdout, exit } = await rig.sh(
      level,
      "trap 'echo got TERM; exit 3' TERM; echo up; while :; do sleep 0.05; done",
      {
        timeoutSeconds: 1,
      },
    )
    expect(stdout.toString()).toBe('up\ngot TERM\n')
    expect(exit).toMatchObject({ code: 3, signal: null, cause: 'timeout' })
  })

  it('is killed with its children when it does not heed TERM', async () => {
    const abort = new AbortController()
    const seen: ExecEvent[] = []
    const script = "trap '' TERM; sh -c \"trap '' TERM; echo up; sleep 1000\" & setsid sleep 1000 & wait"
    for await (const event of rig.run(level, { command: 'sh', args: ['-c', script] }, { signal: abort.signal })) {
      seen.push(event)
      if (event.type !== 'output') continue
      expect(processesWith(rig.nodeMark).length).toBeGreaterThanOrEqual(3)
      abort.abort()
    }
    expect(seen.at(-1)).toMatchObject({ type: 'exit', code: null, signal: 'SIGKILL', cause: 'cancelled' })
    expect(processesWith(rig.nodeMark)).toEqual([])
  })

  it('that dies of TERM is told as such', async () => {
    const { exit } = await collect(rig.run(level, { command: 'sleep', args: ['1000'], timeoutSeconds: 1 }))
    expect(exit).toEqual({ type: 'exit', seq: 0, code: null, signal: 'SIGTERM', cause: 'timeout' })
  })

  it('is told as killed when its agent is', async () => {
    const abort = new AbortController()
    for await (const event of rig.run(level, { command: 'sleep', args: ['1000'] }, { signal: abort.signal })) {
      if (event.type === 'started')
        abort.abort(new GodelError({ code: 'AGENT_NOT_RUNNING', agent: rig.agent, status: 'stopped' }))
      if (event.type === 'exit') expect(event.cause).toBe('killed')
    }
  })

  it('is over when nobody reads it any more', async () => {
    for await (const event of rig.run(level, { command: 'sh', args: ['-c', 'yes & sleep 1000'] }))
      if (event.type === 'output') break
    expect(processesWith(rig.nodeMark)).toEqual([])
  })

  it('is over when its reader leaves while it is silent', async () => {
    const events = rig.run(level, { command: 'sleep', args: ['1000'] })[Symbol.asyncIterator]()
    await events.next()
    const silent = events.next()
    await events.return!()
    await silent
    expect(processesWith(rig.nodeMark)).toEqual([])
  })

  it('ends with what it left in the background, though that holds the output open', async () => {
    const { stdout, exit } = await rig.sh(level, 'sleep 1000 & setsid sleep 1000 & echo done')
    expect([stdout.toString(), exit.code]).toEqual(['done\n', 0])
    expect(processesWith(rig.nodeMark)).toEqual([])
  })

  it('never starts when it was cancelled before', async () => {
    const file = path.join(rig.dirs.workspace, `never-${level}`)
    const error = await rig
      .sh(level, `touch never-${level}`, { signal: AbortSignal.abort() })
      .catch((thrown: unknown) => thrown)
    expect(error).toMatchObject({ code: 'CANCELLED' })
    expect(existsSync(file)).toBe(false)
  })

  it('waits for a slow reader instead of filling the memory', async () => {
    const total = 200 * 1024 * 1024
    const script = `head -c ${total} /dev/zero`
    globalThis.gc?.()
    let read = 0
    let peak = 0
    let chunks = 0
    const before = process.memoryUsage().rss
    for await (const event of rig.run(level, { command: 'sh', args: ['-c', script] })) {
      if (event.type !== 'output') continue
      read += event.data.byteLength
      if (++chunks % 64 === 0) {
        await new Promise((resolve) => setTimeout(resolve, 2))
        peak = Math.max(peak, process.memoryUsage().rss)
      }
    }
    expect(read).toBe(total)
    expect(peak - before).toBeLessThan(100 * 1024 * 1024)
  })

  it('is held up by a reader that does not read, and is still ended by its timeout', async () => {
    const script = 'rm -f progress; while :; do printf "%4096s" x; echo >> progress; done'
    const events = rig.run(level, { command: 'sh', args: ['-c', script], timeoutSeconds: 3 })
    const iterator = events[Symbol.asyncIterator]()
    await iterator.next()
    await iterator.next()
    let last = 0
    const heldUp = () => {
      const before = last
      last = statSync(path.join(rig.dirs.workspace, 'progress')).size
      return before === last && processesWith(rig.nodeMark).length > 0
    }
    await waitFor('the command to be held up', heldUp, { everyMs: 300 })
    expect(last * 4096).toBeLessThan(1024 * 1024)
    await noProcessLeft()
    await iterator.return!()
  })
})

it.runIf(levels.includes('bwrap'))('nothing is left when bwrap itself is killed', async () => {
  const script = 'setsid sleep 1000 & sleep 1000'
  const source = rig.run('bwrap', { command: 'sh', args: ['-c', script] })
  const events = source[Symbol.asyncIterator]()
  await events.next()
  const outermost = Math.min(...processesWith(rig.nodeMark))
  process.kill(outermost, 'SIGKILL')
  expect((await events.next()).value).toMatchObject({ type: 'exit', code: null, signal: 'SIGKILL' })
  expect(processesWith(rig.nodeMark)).toEqual([])
})

it('a report tells exits from signals', () => {
  expect(exitInside({ code: 137, signal: null }, 'ready\nend\n')).toEqual({ code: 137, signal: null })
  expect(exitInside({ code: 137, signal: null }, 'ready\nKilled\nend\n')).toEqual({ code: null, signal: 'SIGKILL' })
  expect(exitInside({ code: 137, signal: null }, 'ready\n')).toEqual({ code: null, signal: 'SIGKILL' })
  expect(exitInside({ code: 7, signal: null }, 'ready\nnoise\nend\n')).toEqual({ code: 7, signal: null })
})
