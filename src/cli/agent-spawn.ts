/** `agent spawn`: starts an agent where it fits best. */
import type { Command } from 'commander'
import { clientOf, withCommon } from './command.ts'
import { note, print, printJson } from './output.ts'
import { addSpawnOptions, requestOf, workspaceOf, type SpawnFlags } from './spawn-options.ts'

export const define = (command: Command): void => {
  withCommon(command, [
    ['agent spawn', 'anywhere'],
    ['agent spawn --gpu --workspace .', 'on a node with a GPU, with the files of this directory'],
    ['agent spawn --node gpu-box --label task=train', 'there, with a label'],
    ['agent spawn --workspace https://example.org/repository.git --timeout 2h', 'with a clone, for two hours'],
  ])
  addSpawnOptions(command).action(async (flags: SpawnFlags) => {
    const workspace = flags.workspace === undefined ? undefined : await workspaceOf(flags.workspace)
    const client = await clientOf(flags)
    const agent = await client.agents.spawn({ ...requestOf(flags), ...(workspace && { workspace }) })
    if (flags.json) return printJson(agent)
    print(agent.id)
    note(`It is ${agent.status} on ${agent.hostName}, isolation ${agent.isolation}.`)
  })
}
