/** `realm show`: the realm of the node. */
import type { Command } from 'commander'
import { clientOf, withCommon, type CommonOptions } from './command.ts'
import type { IssuerReport } from '../base/federation.ts'
import { certificateEnd } from './certificate-end.ts'
import { grantOf } from './names.ts'
import { printJson, printPairs, printWarning, timeOf } from './output.ts'

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
        ['own role', `${realm.role}, certified ${certificateEnd(realm.certificateExpiresAtMs)}`],
        ...realm.issuers.map((issuer): [string, string] => ['issuer', issuerOf(issuer)]),
        ...(realm.revocations ?? []).map(({ peer, sinceMs }): [string, string] => [
          'revoked',
          `${peer} since ${timeOf(sinceMs)}`,
        ]),
        ...(realm.realms ?? []).map((other): [string, string] => [
          'other realm',
          `${other.name}: may do here ${grantOf(other)}${other.out ? '; own agents may go there' : ''}`,
        ]),
      ])
      for (const text of realm.notes ?? []) printWarning(text)
    },
  )
}

const issuerOf = ({ peer, name, roles }: IssuerReport): string =>
  `${name === undefined ? peer : `${name} (${peer})`}, for ${roles.join(', ')}`
