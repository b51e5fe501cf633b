/** `realm card`: what the operator of another realm needs to trust this one. */
import type { Command } from 'commander'
import { clientOf, withCommon, type CommonOptions } from './command.ts'
import { clean, note, print, printJson } from './output.ts'

export const define = (command: Command): void => {
  withCommon(command, [
    ['realm card > lab.card', 'a file for the operator of the other realm'],
    ['realm card --json', 'for a program'],
  ]).action(async (options: CommonOptions) => {
    const client = await clientOf(options)
    const card = await client.realm.card()
    if (options.json) return printJson({ card })
    print(clean(card))
    if (process.stderr.isTTY)
      note('It is no secret. The operator of the other realm runs: godel-node realm trust @FILE')
  })
}
