/** `realm promote`: makes a member an issuer, so that it can invite and admit. */
import type { Command } from 'commander'
import type { Role } from '../base/standing.ts'
import { clientOf, withCommon, type CommonOptions } from './command.ts'
import { note, printJson } from './output.ts'
import { gatheredWords } from './values.ts'

const ROLES = ['admin', 'member', 'observer'] as const

export const define = (command: Command): void => {
  withCommon(command, [
    ['realm promote gpu-box', 'it may admit members and observers'],
    ['realm promote gpu-box --role admin --role member', 'it may make admins as well'],
  ])
    .argument('<node>', 'the node, by name or peer id')
    .option(
      '--role <role>',
      'a role that it may give: admin, member or observer; may be repeated (member, observer)',
      gatheredWords('--role', ROLES),
    )
    .option('-y, --yes', 'changes nothing here: nothing is asked; for scripts that give it everywhere')
    .action(async (node: string, options: CommonOptions & { role?: Role[] }) => {
      const client = await clientOf(options)
      const issuers = await client.realm.promote(node, options.role === undefined ? {} : { roles: options.role })
      if (options.json) return printJson({ issuers })
      note(
        `${node} may invite now: godel-node realm invite on it makes a token. The realm has ${issuers.length} issuers.`,
      )
    })
}
