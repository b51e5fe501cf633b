/** `configure`: shows and changes settings of the running node, or of its whole realm. */
import type { Command } from 'commander'
import { limits } from '../base/limits.ts'
import type { FailoverTimes } from '../client/failover.ts'
import { clientOf, withCommon, type CommonOptions } from './command.ts'
import { note, printJson, printPairs } from './output.ts'
import { count, word } from './values.ts'

type Options = CommonOptions & FailoverTimes

const sources = {
  default: 'as it comes',
  realm: 'of the realm',
  node: 'of this node alone',
}

export const define = (command: Command): void => {
  withCommon(command, [
    ['configure', 'what is in force'],
    ['configure --health-check-interval 1s --failure-threshold 3 --recovery-time 30s', 'when a node is gone, and back'],
    ['configure --failure-threshold 5 --scope node', 'for this node alone'],
  ])
    .option('--health-check-interval <time>', 'between two probes of a peer: 500ms, 1s')
    .option(
      '--failure-threshold <n>',
      'probes in a row that nobody sees answered before a peer is accused',
      count('--failure-threshold', { min: 1, max: limits.failureThresholdMax }),
    )
    .option('--recovery-time <time>', 'how long a peer that was down answers again before it is chosen: 30s, 2m')
    .option('--scope <scope>', 'realm or node (realm where a root key is here)', word('--scope', ['realm', 'node']))
    .action(async (options: Options) => {
      const { json, dataDir: _dataDir, ...failover } = options
      const client = await clientOf(options)
      const isChange = Object.keys(failover).length > 0
      const report = isChange ? await client.configure({ failover }) : await client.failover()
      if (json) return printJson(report)
      printPairs([
        ['health check interval', `${report.healthCheckIntervalMs} ms`],
        ['failure threshold', String(report.failureThreshold)],
        ['recovery time', `${report.recoveryTimeMs} ms`],
        ['set', sources[report.source]],
      ])
      if (isChange && report.source === 'node' && options.scope === undefined)
        note('No root key of the realm is here, so this applies to this node alone.')
    })
}
