/** `routes`: where agents were placed, and why. */
import type { Command } from 'commander'
import { shortPeer } from '../base/ids.ts'
import type { Decision } from '../base/need.ts'
import { clientOf, withCommon, type CommonOptions } from './command.ts'
import { clean, note, print, printJson, printJsonLine, printTable, printWarning, styled, timeOf } from './output.ts'

interface Options extends CommonOptions {
  follow?: boolean
}

export const define = (command: Command): void => {
  withCommon(command, [
    ['routes', 'the newest decisions of this node'],
    ['routes --follow', 'as they are made'],
    ['routes --follow --json', 'one document a line, with every candidate'],
  ])
    .option('-f, --follow', 'go on with those that are made')
    .action(async (options: Options) => {
      const client = await clientOf(options)
      if (options.follow) return follow(client.routes.follow(), options.json ?? false)
      const decisions = await client.routes.list()
      if (options.json) return printJson({ decisions })
      if (decisions.length === 0) note('No decisions.')
      else await printTable(HEAD, decisions.map(rowOf))
    })
}

const HEAD = ['TIME', 'REQUEST', 'NEED', 'NODE', 'LEVEL', 'RULE', 'CANDIDATES']

/** Lines in columns for rows that are not known beforehand: a column grows with the widest cell so far. */
const columns = () => {
  const widths = [8, 20, 16, 16, 8, 12, 10]
  return (cells: string[]): string[] =>
    cells.map((cell, index) => {
      const text = clean(cell)
      widths[index] = Math.max(widths[index] ?? 0, text.length)
      return text.padEnd(widths[index])
    })
}

const follow = async (
  events: AsyncIterable<{ type: 'decision'; decision: Decision } | { type: 'gap'; after: string }>,
  json: boolean,
) => {
  const aligned = columns()
  if (!json)
    print(
      aligned(HEAD)
        .map((title) => styled('bold', title))
        .join('  ')
        .trimEnd(),
    )
  for await (const event of events) {
    if (event.type === 'gap') printWarning(`decisions after ${event.after} are not kept any more.`)
    else if (json) printJsonLine(event.decision)
    else print(aligned(rowOf(event.decision)).join('  ').trimEnd())
  }
}

const rowOf = (decision: Decision): string[] => {
  const { considered, omitted, attempts } = decision
  const placed = attempts.find((attempt) => attempt.outcome === 'placed')
  const node = placed?.node ?? considered.find((each) => each.peer === decision.pick)?.node
  const eligible = considered.filter((each) => each.rejected === undefined).length
  return [
    timeOf(decision.atMs),
    decision.requestId.slice(0, 20),
    needOf(decision),
    node ?? (decision.pick === null ? 'none' : shortPeer(decision.pick)),
    decision.level ?? '-',
    decision.rule,
    `${eligible} of ${considered.length + omitted}`,
  ]
}

const needOf = ({ need }: Decision): string => {
  const gpu = need.gpuType ?? (need.gpu ? 'gpu' : undefined)
  const labels = Object.entries(need.nodeLabels).map(([key, value]) => `${key}=${value}`)
  const words = [need.runtime, gpu, need.region, need.node, need.isolation, ...need.capabilities, ...labels]
  return words.filter((word) => word !== undefined).join(' ')
}
