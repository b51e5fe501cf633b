/** `agent exec`: a command in an agent, as if it ran here: its input, its output, its exit code, and Ctrl-C. */
import { once } from 'node:events'
import { constants } from 'node:os'
import type { Command } from 'commander'
import type { ExecEvent } from '../base/agent.ts'
import { limits } from '../base/limits.ts'
import { clientOf, withCommon, type CommonOptions } from './command.ts'
import { printWarning, whenPipeCloses } from './output.ts'
import { duration, pair } from './values.ts'

interface Options extends CommonOptions {
  cwd?: string
  env?: Record<string, string>
  timeout?: number
}

type Exit = Extract<ExecEvent, { type: 'exit' }>

export const define = (command: Command): void => {
  withCommon(command, [
    ['agent exec ag_0192... -- npm test', 'its output comes as it is said'],
    ['agent exec ag_0192... --cwd src -- sh -c "ls | wc -l"', 'a shell, where one is wanted'],
    ['agent exec ag_0192... -- tar -c . > files.tar', 'bytes are not touched'],
  ])
    .usage('[options] <id> -- <command> [args...]')
    .argument('<id>', 'the id of the agent')
    .argument('<command>', 'the command; -- before it keeps its options its own')
    .argument('[args...]', 'what the command is given')
    .option('--cwd <dir>', 'where it runs, relative to the workspace')
    .option('--env <key=value>', 'a variable of its environment; may be repeated', pair('--env'))
    .option(
      '--timeout <time>',
      'ends it after this time: 90, 30m, 1h',
      duration('--timeout', { max: limits.execTimeoutSecondsMax }),
    )
    .action(async (id: string, file: string, args: string[], options: Options) => {
      process.exitCode = await runThere(id, file, args, options)
    })
}

/** Runs the command and gives the exit code that stands for its end. */
const runThere = async (id: string, command: string, args: string[], options: Options): Promise<number> => {
  const { cwd, env, timeout } = options
  const client = await clientOf(options)
  const ending = endings()
  try {
    const events = client.agents.exec(id, {
      command,
      args,
      ...(cwd !== undefined && { cwd }),
      ...(env !== undefined && { env }),
      ...(timeout !== undefined && { timeoutSeconds: timeout }),
      stdin: process.stdin,
      signal: ending.signal,
    })
    for await (const event of events) {
      if (event.type === 'output')
        await write(event.stream === 'stdout' ? process.stdout : process.stderr, event.data, ending.signal)
      if (event.type === 'exit') return exitCodeOf(event, options)
    }
    return 1
  } catch (error) {
    // Ended from here, by a signal or because nobody reads any more: that is the end of the command too.
    const number = ending.number()
    if (number === undefined) throw error
    return 128 + number
  } finally {
    ending.release()
    process.stdin.destroy()
  }
}

/** What ends the command from this side: a signal, or a reader of its output that went away. The second signal ends this process. */
const endings = () => {
  const controller = new AbortController()
  let number: number | undefined
  const end = (signal: 'SIGINT' | 'SIGTERM' | 'SIGHUP' | 'SIGPIPE') => () => {
    number ??= constants.signals[signal]
    controller.abort()
  }
  const handlers = [
    ['SIGINT', end('SIGINT')],
    ['SIGTERM', end('SIGTERM')],
    ['SIGHUP', end('SIGHUP')],
  ] as const
  for (const [signal, handler] of handlers) process.once(signal, handler)
  whenPipeCloses(end('SIGPIPE'))
  return {
    signal: controller.signal,
    number: () => number,
    release() {
      for (const [signal, handler] of handlers) process.removeListener(signal, handler)
    },
  }
}

/** Waits until the reader has taken it, which is what slows the command down. */
const write = async (stream: NodeJS.WriteStream, data: Uint8Array, signal: AbortSignal): Promise<void> => {
  signal.throwIfAborted()
  if (!stream.write(data)) await once(stream, 'drain', { signal })
}

const exitCodeOf = (exit: Exit, { timeout }: Options): number => {
  if (exit.cause === 'timeout')
    printWarning(`the command was ended by its timeout${timeout === undefined ? '' : ` of ${timeout} s`}.`)
  if (exit.cause === 'killed') printWarning('the command was ended because its agent was.')
  if (exit.code !== null) return exit.code
  const number = constants.signals[exit.signal as keyof typeof constants.signals] as number | undefined
  return number === undefined ? 1 : 128 + number
}
