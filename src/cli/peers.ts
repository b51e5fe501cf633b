/** `peers`: the nodes of the realm as this one sees them. */
import type { Command } from 'commander'
import { shortPeer } from '../base/ids.ts'
import type { PeerReport } from '../base/report.ts'
import { clientOf, withCommon, type CommonOptions } from './command.ts'
import { ageOf, printJson, printTable } from './output.ts'

/** A round trip that is worth a word. */
const slowMs = 100

export const define = (command: Command): void => {
  withCommon(command, [
    ['peers', 'a table, the node itself with a star'],
    ['peers --json', 'all that is known of each'],
  ]).action(async (options: CommonOptions) => {
    const peers = await (await clientOf(options)).peers.list()
    if (options.json) return printJson({ peers })
    const rows = peers
      .toSorted((a, b) => a.name.localeCompare(b.name))
      .map((peer) => [
        `${peer.name}${peer.self ? ' *' : ''}`,
        peer.state,
        peer.status,
        `${peer.running}/${peer.maxConcurrent}`,
        `${Math.round(peer.currentLoad * 100)}%`,
        peer.region ?? '-',
        peer.gpu.count === 0 ? '-' : `${peer.gpu.count} ${peer.gpu.types.join(',')}`,
        peer.isolation,
        ageOf(peer.adAgeMs),
        noteOf(peer),
        shortPeer(peer.peer),
      ])
    await printTable(
      ['NAME', 'STATE', 'STATUS', 'SLOTS', 'LOAD', 'REGION', 'GPU', 'ISOLATION', 'HEARD', 'NOTE', 'PEER'],
      rows,
    )
  })
}

/** What a person should know beside the state: what those met who say that it is gone, and how the way to it is. */
const noteOf = ({ verdict, link, rttMs, restarts }: PeerReport): string => {
  const met = verdict?.reason === 'expired' ? ['not heard of'] : Object.values(verdict?.evidence ?? {})
  const notes = [
    ...new Set(met),
    ...(link === 'indirect' ? ['answers others only'] : []),
    ...(verdict === undefined && rttMs !== undefined && rttMs >= slowMs ? [`${Math.round(rttMs)} ms away`] : []),
    ...(restarts > 0 ? [restarts === 1 ? 'restarted' : `restarted ${restarts} times`] : []),
  ]
  return notes.join(', ') || '-'
}
