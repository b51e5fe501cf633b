/** `audit`: what was refused, and what was done with privilege. */
import type { Command } from 'commander'
import { limits } from '../base/limits.ts'
import type { AuditRecord } from '../base/report.ts'
import { clientOf, withCommon, type CommonOptions } from './command.ts'
import { peerNames } from './names.ts'
import { clean, note, print, printJson, printJsonLine, printTable, styled, timeOf } from './output.ts'
import { count } from './values.ts'

interface Options extends CommonOptions {
  limit?: number
  follow?: boolean
}

const HEAD = ['TIME', 'OUTCOME', 'ACTION', 'BY', 'SUBJECT', 'REASON']

export const define = (command: Command): void => {
  withCommon(command, [
    ['audit', 'the newest entries, oldest first'],
    ['audit --limit 1000 --json', 'all that the node has at hand; audit.log in its data directory has more'],
    ['audit --follow', 'as they come'],
  ])
    .option(
      '--limit <n>',
      `how many (${limits.auditEntriesListed})`,
      count('--limit', { min: 1, max: limits.auditEntriesKept }),
    )
    .option('-f, --follow', 'go on with those that come')
    .action(async (options: Options) => {
      const client = await clientOf(options)
      const { limit, json = false } = options
      const query = limit === undefined ? {} : { limit }
      if (options.follow) {
        if (!json) print(styled('bold', HEAD.join('  ')))
        const name = json ? (peer: string) => peer : await peerNames(client)
        for await (const entry of client.audit.follow(query))
          if (json) printJsonLine(entry)
          else print(rowOf(entry, name).map(clean).join('  ').trimEnd())
        return
      }
      const entries = await client.audit.list(query)
      if (json) return printJson({ entries })
      if (entries.length === 0) return note('Nothing has been refused or changed.')
      const name = await peerNames(client)
      await printTable(
        HEAD,
        entries.map((entry) => rowOf(entry, name)),
      )
    })
}

const rowOf = (entry: AuditRecord, name: (peer: string) => string): string[] => [
  timeOf(entry.atMs),
  entry.outcome,
  entry.action + (entry.omitted === undefined ? '' : ` (and ${entry.omitted} more)`),
  entry.by === 'api' ? 'a client of the API' : name(entry.by),
  entry.subject === undefined ? '-' : name(entry.subject),
  entry.reason ?? '-',
]
