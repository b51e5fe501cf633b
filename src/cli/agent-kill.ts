/** `agent kill`: ends an agent wherever it is. */
import type { Command } from 'commander'
import { clientOf, withCommon, type CommonOptions } from './command.ts'
import { clean, note, print, printJson } from './output.ts'

interface Options extends CommonOptions {
  purge?: boolean
}

export const define = (command: Command): void => {
  withCommon(command, [
    ['agent kill ag_0192...', 'its workspace is kept for a day'],
    ['agent kill ag_0192... --purge', 'with its workspace'],
  ])
    .argument('<id>', 'the id of the agent')
    .option('--purge', 'remove its workspace as well')
    .action(async (id: string, options: Options) => {
      const client = await clientOf(options)
      const before = options.json ? undefined : await client.agents.get(id)
      const agent = await client.agents.kill(id, { purge: options.purge ?? false })
      if (options.json) return printJson(agent)
      print(clean(agent.id))
      if (before?.status === 'stopped' || before?.status === 'failed')
        note(`It had ended already${options.purge ? '; its workspace is removed' : ''}.`)
      else
        note(
          `It is ${agent.status}; ${options.purge ? 'its workspace is removed' : 'its workspace is kept for a day'}.`,
        )
    })
}
