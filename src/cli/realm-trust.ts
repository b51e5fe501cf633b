/** `realm trust`: names another realm by its card. */
import type { Command } from 'commander'
import { limits } from '../base/limits.ts'
import { clientOf, withCommon, type CommonOptions } from './command.ts'
import { note, printJson } from './output.ts'
import { textOf } from './values.ts'

interface Options extends CommonOptions {
  out?: boolean
}

export const define = (command: Command): void => {
  withCommon(command, [
    ['realm trust @plant.card', 'its nodes may show themselves, and do nothing'],
    ['realm trust @plant.card --out', 'agents of this realm may go there as well'],
    ['realm trust - < plant.card', 'the card from stdin'],
  ])
    .argument('<card>', 'GDR1.… as it is, @FILE, or - for stdin')
    .option('--out', 'let agents of this realm go there')
    .action(async (given: string, options: Options) => {
      const card = await textOf('CARD', given, { bytesMax: limits.cardBytesMax })
      const client = await clientOf(options)
      const realm = await client.realm.trust(card, { out: options.out ?? false })
      if (options.json) return printJson(realm)
      const { realm: own } = await client.identity()
      note(`This realm names ${realm.name} (${realm.id}) now${realm.out ? ', and lets its agents go there' : ''}.`)
      note('What comes next:')
      note(
        `  its operator names this realm, with the output of "godel-node realm card" here: godel-node realm trust @FILE`,
      )
      if (realm.out)
        note(
          `  and grants it something: godel-node realm share ${own?.name ?? 'NAME'} --scope exec --scope capacity --quota 2`,
        )
      note(
        `  to let its nodes do something here: godel-node realm share ${realm.name} --scope exec --scope capacity --quota 2`,
      )
    })
}
