/** `realm show`: the realm of the node. */
import type { Command } from 'commander'
import { clientOf, withCommon, type CommonOptions } from './command.ts'
import { printJson, printPairs, timeOf } from './output.ts'

export const define = (command: Command): void => {
  withCommon(command, [['realm show', 'its id, its version and who may invite']]).action(
    async (options: CommonOptions) => {
      const realm = await (await clientOf(options)).realm.show()
      if (options.json) return printJson(realm)
      printPairs([
        ['realm', realm.name],
        ['id', realm.id],
        ['namespace', realm.namespace],
        ['federation', realm.federation ?? undefined],
        ['version', `${realm.version}, of ${timeOf(realm.issuedAtMs)}`],
        ['own role', `${realm.role}, certified until ${timeOf(realm.certificateExpiresAtMs)}`],
        ...realm.issuers.map(({ peer, roles }): [string, string] => ['issuer', `${peer} (${roles.join(', ')})`]),
      ])
    },
  )
}
