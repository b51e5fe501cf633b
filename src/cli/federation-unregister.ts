/** `federation unregister`: ends a pin. */
import type { Command } from 'commander'
import { clientOf, withCommon, type CommonOptions } from './command.ts'
import { confirmed } from './confirm.ts'
import { note, printJson } from './output.ts'
import { peerId } from './values.ts'

interface Options extends CommonOptions {
  yes?: boolean
}

export const define = (command: Command): void => {
  withCommon(command, [
    ['federation unregister 12D3KooW...', 'its connection and its agents here end'],
    ['federation unregister plant-1 --yes', 'by the name that it was pinned under, without a question'],
  ])
    .argument('<node>', 'its peer id, or the name that it is pinned under')
    .option('-y, --yes', 'do not ask')
    .action(async (node: string, options: Options) => {
      const question = `The pin of ${node} ends, and with it its connection and its agents here.`
      if (!(await confirmed(question, options))) return
      const client = await clientOf(options)
      const named = (await client.federation.list()).filter((pin) => pin.name === node)
      const peer = named.length === 1 ? named[0]!.peer : peerId('the node')(node)
      const peers = await client.federation.unregister(peer)
      if (options.json) return printJson({ peers })
      note(`${node} is pinned no longer.`)
    })
}
