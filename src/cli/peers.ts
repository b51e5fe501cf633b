/** `peers`: the nodes of the realm as this one sees them, and those from outside it that show themselves. */
import type { Command } from 'commander'
import { shortPeer } from '../base/ids.ts'
import type { PeerReport } from '../base/report.ts'
import { clientOf, withCommon, type CommonOptions } from './command.ts'
import { ageOf, note, printJson, printTable } from './output.ts'

/** A round trip that is worth a word. */
const slowMs = 100

export const define = (command: Command): void => {
  withCommon(command, [
    ['peers', 'a table, the node itself with a star; then why those are not well that are not'],
    ['peers --json', 'all that is known of each'],
  ]).action(async (options: CommonOptions) => {
    const peers = (await (await clientOf(options)).peers.list()).toSorted((a, b) => a.name.localeCompare(b.name))
    if (options.json) return printJson({ peers })
    const foreign = peers.some((peer) => realmOf(peer) !== undefined)
    const rows = peers.map((peer) => [
      `${peer.name}${peer.self ? ' *' : ''}`,
      ...(foreign ? [realmOf(peer) ?? '-'] : []),
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
    const head = ['NAME', 'STATE', 'STATUS', 'SLOTS', 'LOAD', 'REGION', 'GPU', 'ISOLATION', 'HEARD', 'NOTE', 'PEER']
    await printTable(foreign ? [head[0]!, 'REALM', ...head.slice(1)] : head, rows)
    const names = new Map(peers.map(({ peer, name }) => [peer, name]))
    for (const peer of peers) {
      const why = whyOf(peer, names)
      if (why !== undefined) note(why)
    }
  })
}

/** What a person should know beside the state: what those met who say that it is gone, and how the way to it is. */
const noteOf = ({ verdict, link, rttMs, restarts, connection }: PeerReport): string => {
  const met = verdict?.reason === 'expired' ? ['not heard of'] : Object.values(verdict?.evidence ?? {})
  const notes = [
    ...new Set(met),
    ...(link === 'indirect' ? ['answers others only'] : []),
    ...(connection?.startsWith('relayed') ? ['relayed'] : []),
    ...(verdict === undefined && rttMs !== undefined && rttMs >= slowMs ? [`${Math.round(rttMs)} ms away`] : []),
    ...(restarts > 0 ? [restarts === 1 ? 'restarted' : `restarted ${restarts} times`] : []),
  ]
  return notes.join(', ') || '-'
}

/** Of a node from outside: the name of its realm, or that it is pinned. */
const realmOf = ({ level = 'realm', realmName }: PeerReport): string | undefined =>
  level === 'realm' ? undefined : (realmName ?? 'pinned')

/** Why a peer is in the state that it is shown in: who says so, what each met, and since when. */
const whyOf = ({ name, state, verdict }: PeerReport, names: ReadonlyMap<string, string>): string | undefined => {
  if (verdict === undefined) return undefined
  const { reason, accusers, evidence, sinceMs } = verdict
  if (reason === 'expired') return `${name} is ${state}: nothing has been heard of it for ${ageOf(sinceMs)}.`
  const said = accusers.map((peer) => {
    const met = evidence[peer]
    return (names.get(peer) ?? shortPeer(peer)) + (met === undefined ? '' : ` (${met})`)
  })
  return `${name} is ${state} for ${ageOf(sinceMs)}, say ${said.join(', ')}.`
}
