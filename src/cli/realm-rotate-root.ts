/** `realm rotate-root`: a new root key in the place of the one of this node. */
import type { Command } from 'commander'
import { clientOf, withCommon, type CommonOptions } from './command.ts'
import { confirmed } from './confirm.ts'
import { clean, note, print, printJson } from './output.ts'

interface Options extends CommonOptions {
  yes?: boolean
}

export const define = (command: Command): void => {
  withCommon(command, [
    ['realm rotate-root', 'after the root key may have been seen by others'],
    ['realm rotate-root --yes', 'without a question'],
  ])
    .option('-y, --yes', 'do not ask')
    .action(async (options: Options) => {
      const question =
        'The realm gets a new root key, and the one in root.key of this node stops to count. Copies of it must be made anew.'
      if (!(await confirmed(question, options))) return
      const result = await (await clientOf(options)).realm.rotateRoot()
      if (options.json) return printJson(result)
      for (const root of result.roots) print(clean(root))
      note('These are the roots now. Back up the new root.key; other realms follow the chain by themselves.')
    })
}
