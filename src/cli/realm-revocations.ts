/** `realm revocations`: who is out. */
import type { Command } from 'commander'
import { clientOf, withCommon, type CommonOptions } from './command.ts'
import { peerNames } from './names.ts'
import { note, printJson, printTable, timeOf } from './output.ts'

export const define = (command: Command): void => {
  withCommon(command, [
    ['realm revocations', 'who is out, and who said so'],
    ['realm revocations --json', 'for a program'],
  ]).action(async (options: CommonOptions) => {
    const client = await clientOf(options)
    const revocations = await client.realm.revocations()
    if (options.json) return printJson({ revocations })
    if (revocations.length === 0) return note('Nobody is out.')
    const name = await peerNames(client)
    const rows = revocations.map(({ peer, by, sinceMs }) => [
      name(peer),
      by === 'root' ? 'the root key' : name(by),
      timeOf(sinceMs),
    ])
    await printTable(['NODE', 'BY', 'SINCE'], rows)
  })
}
