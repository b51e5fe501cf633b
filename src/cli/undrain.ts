/** `undrain`: the node takes agents again. */
import type { Command } from 'commander'
import { clientOf, withCommon, type CommonOptions } from './command.ts'
import { note, printJson } from './output.ts'

export const define = (command: Command): void => {
  withCommon(command, [['undrain', 'it is chosen again within a second']]).action(async (options: CommonOptions) => {
    const report = await (await clientOf(options)).undrain()
    if (options.json) return printJson(report)
    note('The node takes agents again.')
  })
}
