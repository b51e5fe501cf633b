/** `start`: runs a node until a signal ends it. */
import type { Command } from 'commander'
import { fromProblem } from '../base/problem.ts'
import { limits } from '../base/limits.ts'
import type { NodeEvent, RunningNode } from '../node/node.ts'
import { rootName, withCommon } from './command.ts'
import {
  clean,
  note,
  print,
  printError,
  printJsonLine,
  printPairs,
  printWarning,
  styled,
  timeOf,
  whenPipeCloses,
} from './output.ts'
import { nodeOptionsOf, type StartFlags } from './start-options.ts'
import { amount, count, gathered, list, pair } from './values.ts'

export const define = (command: Command): void => {
  withCommon(command, [
    ['start --realm lab', 'the first node of a realm; prints the line that the next one joins with'],
    ['start --realm lab --join GDL1....', 'the next one'],
    ['start --realm lab --join @token --gpu 2 --gpu-types nvidia-a100', 'with a token from a file'],
    ['start --realm lab --api-port 0 --data-dir ./second', 'a second node on this machine'],
  ])
    .option(
      '--realm <name>',
      'the realm: made where there is none, joined with --join; without one the node is in none',
    )
    .option('--name <name>', 'the name of the node (that of the host)')
    .option(
      '--api-port <port>',
      `where the API listens on 127.0.0.1; 0 takes a free one (${limits.apiPort})`,
      count('--api-port', { max: 65_535 }),
    )
    .option('--listen <multiaddr>', 'where other nodes reach this one; may be repeated', gathered)
    .option(
      '--websocket [port]',
      `take WebSockets too, where plain TCP does not get through (${limits.webSocketPort})`,
      count('--websocket', { max: 65_535 }),
    )
    .option('--mdns', 'find nodes of the realm on the LAN')
    .option('--no-relay', 'do not relay for members that cannot be dialled')
    .option('--join <token>', 'a join token or the line with it, @FILE to read it from, or - for standard input')
    .option('--bootstrap <multiaddr>', 'the address of a member, ending in /p2p/PEER; may be repeated', gathered)
    .option(
      '--capacity <n>',
      `how many agents it takes (${limits.capacityDefault})`,
      count('--capacity', { max: limits.capacityMax }),
    )
    .option('--region <region>', 'where it is')
    .option('--label <key=value>', 'a label of the node; may be repeated', pair('--label'))
    .option('--capability <name>', 'something that it can do; may be repeated', gathered)
    .option('--gpu <n>', 'how many GPUs it has', count('--gpu', { max: 1_024 }))
    .option('--gpu-types <a,b>', 'of which types; without --gpu, one of each', list('--gpu-types'))
    .option('--cost-per-hour <x>', 'what an hour on it costs', amount('--cost-per-hour'))
    .option('--shareable', 'may be used by federated realms')
    .option('--share-fraction <x>', 'which part of its slots they may take, up to 1 (1)', amount('--share-fraction'))
    .option('--accept-peer <peer>', 'pin a node by its PeerId or by a multiaddr with it; may be repeated', gathered)
    .option('--announce <multiaddr>', 'an address to tell others of this node, as it is; may be repeated', gathered)
    .option('--accept-unsandboxed', 'take agents of other nodes without a sandbox')
    .action((flags: StartFlags) => run(flags, rootName(command)))
}

const run = async (flags: StartFlags, program: string): Promise<void> => {
  let serving = false
  const stopping = onceAsked(() => serving)
  whenPipeCloses(() => {}) // a node outlives whoever read what it said
  const options = await nodeOptionsOf(flags, process.stdin)
  const { startNode } = await import('../node/node.ts')
  const node = await startNode(options)
  serving = true
  const failed = Promise.withResolvers<Extract<NodeEvent, { event: 'failed' }>>()
  node.onEvent((event) => {
    if (event.event === 'failed') failed.resolve(event)
    if (flags.json) printJsonLine(event)
    else tell(event)
  })
  if (flags.json) printJsonLine(readyEvent(node))
  else welcome(node, flags, program)

  const failure = await Promise.race([stopping, failed.promise])
  if (failure !== undefined) {
    printError(fromProblem(failure.problem, node.api), flags.json ?? false)
    process.exitCode = 1
  }
  // Nothing else may keep the process alive until the last part has stopped: timers of a node do not.
  const alive = setInterval(() => {}, limits.stopTimeoutMs)
  await node.stop()
  clearInterval(alive)
  if (flags.json) printJsonLine({ event: 'stopped' })
  // What may still be open by now (a socket that will not close) is not to keep an ended node alive.
  process.exit()
}

/**
 * Resolves with the first signal to stop. The second one ends the process where it stands, and so does the first while the
 * node starts, since there is nothing to take leave of yet; what is durable by then is there at the next start.
 */
const onceAsked = (serves: () => boolean): Promise<undefined> =>
  new Promise((resolve) => {
    let asked = false
    const onSignal = (number: number) => () => {
      if (asked || !serves()) process.exit(128 + number)
      asked = true
      resolve(undefined)
    }
    process.on('SIGINT', onSignal(2))
    process.on('SIGTERM', onSignal(15))
  })

const readyEvent = (node: RunningNode) => {
  const { peerId, name, realm, api, listen, dataDir, isolation, join } = node
  return { event: 'ready', peerId, name, realm, api, listen, dataDir, isolation, ...(join && { join }) }
}

const tell = (event: NodeEvent): void => {
  if (event.event === 'peer') print(clean(`${timeOf(Date.now())}  ${event.name} is ${event.state}`))
}

const welcome = (node: RunningNode, flags: StartFlags, program: string): void => {
  print(`${styled('bold', clean(node.name))} is up.\n`)
  printPairs([
    ['realm', node.realm === null ? 'none' : `${node.realm.name} (${node.realm.id})`],
    ['peer', node.peerId],
    ['api', node.api],
    ['listen', node.listen.join(' ')],
    ['data', node.dataDir],
    ['isolation', node.isolation.level],
  ])
  if (node.realm === null)
    note(`It is in no realm: give it one with --realm or --join, or let others pin it by its PeerId.`)
  else if (node.join !== undefined) {
    print(`\nOne more host joins, until ${timeOf(node.join.expiresAtMs)}, with`)
    print(`\n  ${program} start --realm ${clean(node.realm.name)} --join ${clean(node.join.token)}\n`)
    note(`More of them: ${program} realm invite --uses N`)
    note(`Back up ${clean(node.dataDir)}/root.key, and let a second node invite: ${program} realm promote NODE`)
  }
  for (const text of warningsOf(node, flags)) printWarning(text)
}

const warningsOf = ({ isolation, listen }: RunningNode, { acceptUnsandboxed }: StartFlags): string[] => {
  const warnings: string[] = []
  if (isolation.level === 'none') {
    const others = acceptUnsandboxed
      ? 'Agents of other nodes are taken all the same (--accept-unsandboxed).'
      : 'Agents of other nodes are refused here.'
    const reason = isolation.reason === undefined ? '' : ` (${isolation.reason})`
    warnings.push(
      `there is no sandbox here${reason}: agents run as this user and can read its files, the key of this node among them. ` +
        `${others} Install bubblewrap to change that.`,
    )
  }
  if (listen.length > 0 && listen.every((address) => /^\/(ip4\/127\.|ip6\/::1\/)/.test(address)))
    warnings.push('it listens on this machine alone, so that no other machine can join.')
  return warnings
}
