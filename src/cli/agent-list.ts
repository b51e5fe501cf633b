/** `agent list`: the agents of the realm. */
import type { Command } from 'commander'
import type { AgentStatus } from '../base/agent.ts'
import { clientOf, withCommon, type CommonOptions } from './command.ts'
import { ageOf, labelsOf, note, printJson, printTable, printWarning } from './output.ts'
import { pair, word } from './values.ts'

const statuses: AgentStatus[] = ['starting', 'idle', 'running', 'migrating', 'in-doubt', 'lost', 'failed', 'stopped']

interface Options extends CommonOptions {
  status?: AgentStatus
  label?: Record<string, string>
  node?: string
}

export const define = (command: Command): void => {
  withCommon(command, [
    ['agent list', 'those of the whole realm'],
    ['agent list --node gpu-box --label task=train', 'those that fit all of it'],
    ['agent list --status stopped', 'those that have ended'],
  ])
    .option('--status <status>', statuses.join(', '), word('--status', statuses))
    .option('--label <key=value>', 'that has this label; may be repeated', pair('--label'))
    .option('--node <node>', 'that runs on this node, by name or peer id')
    .action(async ({ json, dataDir, status, label, node }: Options) => {
      const client = await clientOf(dataDir === undefined ? {} : { dataDir })
      const result = await client.agents.list({
        ...(status !== undefined && { status }),
        ...(label !== undefined && { labels: label }),
        ...(node !== undefined && { node }),
      })
      if (json) return printJson(result)
      const rows = result.agents
        .toSorted((a, b) => b.createdAtMs - a.createdAtMs)
        .map((agent) => [
          agent.id,
          agent.role,
          agent.status,
          agent.hostName,
          agent.runtime,
          agent.model ?? '-',
          ageOf(Date.now() - agent.createdAtMs),
          labelsOf(agent.labels),
        ])
      if (rows.length === 0) note('No agents.')
      else await printTable(['ID', 'ROLE', 'STATUS', 'NODE', 'RUNTIME', 'MODEL', 'AGE', 'LABELS'], rows)
      if (rows.length === 0 && node !== undefined) {
        const peers = await client.peers.list()
        if (!peers.some((each) => each.name === node || each.peer === node))
          printWarning(`this node knows of no node ${node}; "godel-node peers" lists them.`)
      }
      for (const { node: name, reason } of result.unanswered)
        printWarning(`${name} did not answer (${reason}), so that agents of it may be missing here.`)
    })
}
