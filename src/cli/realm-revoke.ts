/** `realm revoke`: puts a node out of the realm, at once and until lifted. */
import type { Command } from 'commander'
import { clientOf, withCommon, type CommonOptions } from './command.ts'
import { confirmed } from './confirm.ts'
import { note, printJson } from './output.ts'
import { instant } from './values.ts'

interface Options extends CommonOptions {
  yes?: boolean
  since?: number
}

export const define = (command: Command): void => {
  withCommon(command, [
    ['realm revoke stolen-laptop', 'its connections end at once, everywhere'],
    ['realm revoke gpu-box --since 2026-05-01T12:00:00Z --yes', 'an issuer: what it issued from then on is void'],
  ])
    .argument('<node>', 'the node, by name or peer id')
    .option('--since <time>', 'of an issuer: what it issued from then on is void as well (now)', instant('--since'))
    .option('-y, --yes', 'do not ask')
    .action(async (node: string, options: Options) => {
      const question = `${node} will be put out of the realm: its connections end, and its agents are lost to others.`
      if (!(await confirmed(question, options))) return
      const client = await clientOf(options)
      const { since } = options
      const revocations = await client.realm.revoke(node, since === undefined ? {} : { sinceMs: since })
      if (options.json) return printJson({ revocations })
      note(`${node} is out. "realm lift PEERID" takes it back; "realm revocations" lists who is out, by PeerId.`)
    })
}
