/** `federation list`: the nodes that this one has pinned. */
import type { Command } from 'commander'
import { clientOf, withCommon, type CommonOptions } from './command.ts'
import { grantOf } from './names.ts'
import { note, printJson, printTable } from './output.ts'

export const define = (command: Command): void => {
  withCommon(command, [
    ['federation list', 'what each may do here'],
    ['federation list --json', 'for a program'],
  ]).action(async (options: CommonOptions) => {
    const peers = await (await clientOf(options)).federation.list()
    if (options.json) return printJson({ peers })
    if (peers.length === 0) return note('No node is pinned. "federation register PEER" pins one.')
    const rows = peers.map((pin) => [
      pin.name ?? '-',
      pin.connected ? 'connected' : 'away',
      grantOf(pin),
      pin.realm ?? '-',
      pin.addresses.join(' ') || '-',
      pin.peer,
    ])
    await printTable(['NAME', 'STATE', 'MAY DO HERE', 'REALM', 'ADDRESSES', 'PEER'], rows)
  })
}
