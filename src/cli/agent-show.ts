/** `agent show`: all that is known of one agent. */
import type { Command } from 'commander'
import type { Agent } from '../base/agent.ts'
import { clientOf, withCommon, type CommonOptions } from './command.ts'
import { labelsOf, printJson, printPairs, timeOf } from './output.ts'

export const define = (command: Command): void => {
  withCommon(command, [['agent show ag_0192...', 'where it is and how it is']])
    .argument('<id>', 'the id of the agent')
    .action(async (id: string, options: CommonOptions) => {
      const agent = await (await clientOf(options)).agents.get(id)
      if (options.json) return printJson(agent)
      printAgent(agent)
    })
}

const printAgent = (agent: Agent): void =>
  printPairs([
    ['agent', agent.id],
    ['status', agent.reason === undefined ? agent.status : `${agent.status}: ${agent.reason}`],
    ['node', `${agent.hostName} (${agent.host})`],
    ['role', agent.role],
    ['runtime', agent.runtime],
    ['model', agent.model],
    ['isolation', agent.isolation],
    ['labels', labelsOf(agent.labels) || undefined],
    ['owner', agent.owner],
    ['epoch', String(agent.epoch)],
    ['created', timeOf(agent.createdAtMs)],
    ['changed', timeOf(agent.changedAtMs)],
    ['ends', agent.expiresAtMs === undefined ? undefined : timeOf(agent.expiresAtMs)],
  ])
