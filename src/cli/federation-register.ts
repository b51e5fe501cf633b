/** `federation register`: pins a node outside the realm by its PeerId. */
import type { Command } from 'commander'
import { GodelError } from '../base/errors.ts'
import { isPeerId } from '../base/ids.ts'
import { limits } from '../base/limits.ts'
import type { Scope } from '../base/standing.ts'
import { clientOf, withCommon, type CommonOptions } from './command.ts'
import { grantOf, scopes } from './names.ts'
import { note, printJson } from './output.ts'
import { count, gathered, gatheredWords } from './values.ts'

interface Options extends CommonOptions {
  address?: string[]
  scope?: Scope[]
  quota?: number
  name?: string
}

export const define = (command: Command): void => {
  withCommon(command, [
    ['federation register /ip4/192.0.2.7/tcp/4001/p2p/12D3KooW...', 'agents may go there, if it pins this node too'],
    ['federation register 12D3KooW... --scope exec --quota 2', 'its agents may come here, two at a time'],
  ])
    .argument('<node>', 'its peer id, or a multiaddr that ends in /p2p/PEER')
    .option('--address <multiaddr>', 'where it is; may be repeated', gathered)
    .option(
      '--scope <scope>',
      `what it may do here: ${scopes.join(', ')}; may be repeated`,
      gatheredWords('--scope', scopes),
    )
    .option(
      '--quota <n>',
      `how many of its agents this node takes (${limits.guestAgentsPerNode})`,
      count('--quota', { max: limits.capacityMax }),
    )
    .option('--name <name>', 'what to call it here')
    .action(async (node: string, options: Options) => {
      const { peer, address } = peerIn(node)
      const client = await clientOf(options)
      const addresses = [...(address === undefined ? [] : [address]), ...(options.address ?? [])]
      const { scope, quota, name } = options
      const pin = await client.federation.register({
        peer,
        addresses,
        ...(scope !== undefined && { scopes: scope }),
        ...(quota !== undefined && { agentsPerNode: quota }),
        ...(name !== undefined && { name }),
      })
      if (options.json) return printJson(pin)
      note(`${pin.name ?? pin.peer} is pinned; it may do here: ${grantOf(pin)}.`)
      const own = await client.node()
      const at = own.listen[0] === undefined ? own.peer : `${own.listen[0]}/p2p/${own.peer}`
      note(`Its operator pins this node too: godel-node federation register ${at} --scope exec`)
    })
}

/** The PeerId in what was given, and the address where it is one. */
const peerIn = (text: string): { peer: string; address?: string } => {
  if (isPeerId(text)) return { peer: text }
  const at = text.lastIndexOf('/p2p/')
  const peer = text.slice(at + '/p2p/'.length)
  if (text.startsWith('/') && at > 0 && isPeerId(peer)) return { peer, address: text.slice(0, at) }
  throw new GodelError({
    code: 'INVALID_ARGUMENT',
    field: 'the node',
    reason: `must be a peer id (12D3KooW...) or a multiaddr that ends in /p2p/PEER, not ${JSON.stringify(text)}`,
  })
}
