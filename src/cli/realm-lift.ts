/** `realm lift`: takes a revocation back. */
import type { Command } from 'commander'
import { clientOf, withCommon, type CommonOptions } from './command.ts'
import { note, printJson } from './output.ts'

export const define = (command: Command): void => {
  withCommon(command, [['realm lift 12D3KooW...', 'it may come back with the certificate that it has, or a new token']])
    .argument('<node>', 'the node, by peer id, which "realm revocations" shows; by name while it is still known')
    .action(async (node: string, options: CommonOptions) => {
      const revocations = await (await clientOf(options)).realm.lift(node)
      if (options.json) return printJson({ revocations })
      note(`${node} may come back: by itself while its certificate holds, else with a new token ("realm invite").`)
    })
}
