/** `realm share`: what the nodes of another realm may do here. */
import type { Command } from 'commander'
import { limits } from '../base/limits.ts'
import type { Scope } from '../base/standing.ts'
import { clientOf, withCommon, type CommonOptions } from './command.ts'
import { grantOf, scopes } from './names.ts'
import { note, printJson } from './output.ts'
import { count, gatheredWords, required } from './values.ts'

interface Options extends CommonOptions {
  scope?: Scope[]
  quota?: number
}

export const define = (command: Command): void => {
  withCommon(command, [
    ['realm share plant --scope capacity', 'it sees what is shared of the load, no more'],
    ['realm share plant --scope exec --scope capacity --quota 4', 'at most four of its agents on each node'],
  ])
    .argument('<realm>', 'the other realm, by name or id')
    .option('--scope <scope>', `${scopes.join(', ')}; may be repeated`, gatheredWords('--scope', scopes))
    .option(
      '--quota <n>',
      `how many of its agents one node here takes (${limits.guestAgentsPerNode})`,
      count('--quota', { max: limits.capacityMax }),
    )
    .option('-y, --yes', 'changes nothing here: nothing is asked; for scripts that give it everywhere')
    .action(async (realm: string, options: Options) => {
      const granted = required('--scope', options.scope, `is missing: say what it may do, of ${scopes.join(', ')}`)
      const client = await clientOf(options)
      const { quota } = options
      const given = await client.realm.share(realm, {
        scopes: granted,
        ...(quota !== undefined && { agentsPerNode: quota }),
      })
      if (options.json) return printJson(given)
      note(`The nodes of ${given.name} may do here: ${grantOf(given)}. Only nodes started with --shareable take part.`)
      const { realm: own } = await client.identity()
      note(
        `Its operator lets agents come here with: godel-node realm trust @CARD --out (of ${own?.name ?? 'this realm'}).`,
      )
    })
}
