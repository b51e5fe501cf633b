/** What all commands have in common: their options, their help, and the node that they speak to. */
import { resolve } from 'node:path'
import type { Command } from 'commander'
import type { GodelClient } from '../client/client.ts'

/** A command's module: `define` gives it its options, its help and its action. */
export interface CommandModule {
  define(command: Command): void
}

export interface CommonOptions {
  json?: boolean
  dataDir?: string
}

/** The name that the program was called by, without its parents: `godel-node`, `godel` or `swarmctl`. */
export const rootName = (command: Command): string =>
  command.parent === null ? command.name() : rootName(command.parent)

export type Examples = [line: string, what: string][]

/** Examples at the end of a command's help, each a line that follows the program's name. */
export const withExamples = (command: Command, examples: Examples): Command => {
  const width = Math.max(...examples.map(([line]) => line.length))
  const lines = examples.map(([line, what]) => `  $ ${rootName(command)} ${line.padEnd(width)}  # ${what}`)
  return command.addHelpText('after', `\nExamples:\n${lines.join('\n')}`)
}

/** The options that every command has, and its examples. */
export const withCommon = (command: Command, examples: Examples): Command =>
  withExamples(command, examples)
    .option('--json', 'print JSON; errors are problem documents on stderr')
    .option('--data-dir <dir>', 'the data directory of the node ($GODEL_DATA_DIR, else ~/.local/share/godel-node)')

/** The node that the options name; see client/discover.ts. */
export const clientOf = async (options: CommonOptions): Promise<GodelClient> => {
  const { GodelClient } = await import('../client/client.ts')
  return new GodelClient(options.dataDir === undefined ? {} : { dataDir: resolve(options.dataDir) })
}
