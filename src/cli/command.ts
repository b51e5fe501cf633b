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

/** The options that every command has, and its examples, each a line that follows the program's name. */
export const withCommon = (command: Command, examples: [line: string, what: string][]): Command => {
  const width = Math.max(...examples.map(([line]) => line.length))
  const lines = examples.map(([line, what]) => `  $ ${rootName(command)} ${line.padEnd(width)}  # ${what}`)
  return command
    .option('--json', 'print JSON; errors are problem documents on stderr')
    .option('--data-dir <dir>', 'the data directory of the node ($GODEL_DATA_DIR, else ~/.local/share/godel-node)')
    .addHelpText('after', `\nExamples:\n${lines.join('\n')}`)
}

/** The node that the options name; see client/discover.ts. */
export const clientOf = async (options: CommonOptions): Promise<GodelClient> => {
  const { GodelClient } = await import('../client/client.ts')
  return new GodelClient(options.dataDir === undefined ? {} : { dataDir: resolve(options.dataDir) })
}
