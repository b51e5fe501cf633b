/** `realm withdraw`: ends everything with another realm. */
import type { Command } from 'commander'
import { clientOf, withCommon, type CommonOptions } from './command.ts'
import { confirmed } from './confirm.ts'
import { note, printJson } from './output.ts'

interface Options extends CommonOptions {
  yes?: boolean
}

export const define = (command: Command): void => {
  withCommon(command, [
    ['realm withdraw plant', 'its nodes are put out, and its agents here are ended'],
    ['realm withdraw plant --yes', 'without a question'],
  ])
    .argument('<realm>', 'the other realm, by name or id')
    .option('-y, --yes', 'do not ask')
    .action(async (realm: string, options: Options) => {
      const question = `Everything with the realm ${realm} ends: its grant, its name here, and the connections of its nodes.`
      if (!(await confirmed(question, options))) return
      const realms = await (await clientOf(options)).realm.withdraw(realm)
      if (options.json) return printJson({ realms })
      note(`This realm names ${realm} no longer.`)
    })
}
