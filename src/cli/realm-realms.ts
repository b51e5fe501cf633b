/** `realm realms`: the other realms that this one names. */
import type { Command } from 'commander'
import { clientOf, withCommon, type CommonOptions } from './command.ts'
import { grantOf } from './names.ts'
import { note, printJson, printTable } from './output.ts'

export const define = (command: Command): void => {
  withCommon(command, [
    ['realm realms', 'what each may do here'],
    ['realm realms --json', 'for a program'],
  ]).action(async (options: CommonOptions) => {
    const realms = await (await clientOf(options)).realm.realms()
    if (options.json) return printJson({ realms })
    if (realms.length === 0) return note('No other realm is named. "realm trust CARD" names one.')
    const rows = realms.map((realm) => [
      realm.name,
      grantOf(realm),
      realm.out ? 'yes' : 'no',
      String(realm.peers),
      realm.id,
    ])
    await printTable(['REALM', 'MAY DO HERE', 'OWN AGENTS MAY GO', 'NODES', 'ID'], rows)
  })
}
