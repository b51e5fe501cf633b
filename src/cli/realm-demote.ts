/** `realm demote`: takes the right to admit from a node. */
import type { Command } from 'commander'
import { clientOf, withCommon, type CommonOptions } from './command.ts'
import { note, printJson } from './output.ts'

export const define = (command: Command): void => {
  withCommon(command, [['realm demote gpu-box', 'it stays a member; its members renew with another issuer']])
    .argument('<node>', 'the node, by name or peer id')
    .action(async (node: string, options: CommonOptions) => {
      const issuers = await (await clientOf(options)).realm.demote(node)
      if (options.json) return printJson({ issuers })
      note(`${node} may invite no longer; it is a member still. "realm revoke" would put it out.`)
    })
}
