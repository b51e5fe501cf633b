/** `status`: the node in one view. */
import type { Command } from 'commander'
import { clientOf, withCommon, type CommonOptions } from './command.ts'
import type { NodeStatusReport } from '../base/report.ts'
import { certificateEnd } from './certificate-end.ts'
import { ageOf, labelsOf, note, printJson, printPairs, printWarning } from './output.ts'

export const define = (command: Command): void => {
  withCommon(command, [
    ['status', 'the node of this user'],
    ['status --json', 'for a program'],
  ]).action(async (options: CommonOptions) => {
    const node = await (await clientOf(options)).node()
    if (options.json) return printJson(node)
    const { capacity, traits, peers } = node
    const apart = [
      `${peers.suspect} suspect`,
      `${peers.recovering} recovering`,
      `${peers.down} down`,
      `${peers.left} left`,
    ].filter((text) => !text.startsWith('0 '))
    printPairs([
      ['node', `${node.name} (${node.peer})`],
      ['realm', node.realm === null ? 'none' : `${node.realm.name} (${node.realm.id})`],
      ['role', node.role],
      [
        'certificate',
        node.certificateExpiresAtMs === undefined ? undefined : certificateEnd(node.certificateExpiresAtMs),
      ],
      ['status', `${capacity.status}, ${capacity.running} of ${capacity.maxConcurrent} slots taken`],
      ['peers', [`${peers.alive} alive`, ...apart].join(', ')],
      ['trust', trustOf(node)],
      ['detector', node.detector.slow ? `not trusted: ${node.detector.why}` : undefined],
      ['isolation', node.isolation.level + (node.isolation.reason === undefined ? '' : `: ${node.isolation.reason}`)],
      ['region', traits.region],
      ['gpu', traits.gpu.count === 0 ? undefined : `${traits.gpu.count} ${traits.gpu.types.join(', ')}`],
      ['labels', labelsOf(traits.labels) || undefined],
      ['api', node.api],
      ['listen', node.listen.join(' ')],
      ['data', node.dataDir],
      ['up', ageOf(Date.now() - node.startedAtMs)],
      ['version', node.version],
    ])
    if (node.draining) note('It drains: it takes nothing new. "godel-node undrain" ends that.')
    for (const text of node.notes ?? []) printWarning(text)
  })
}

/** Who is out and who is known from outside; nothing where there is nobody. */
const trustOf = ({ trust }: NodeStatusReport): string | undefined => {
  if (trust === undefined) return undefined
  const words = [`${trust.revocations} revoked`, `${trust.realms} other realms`, `${trust.pins} pinned nodes`]
  return words.filter((text) => !text.startsWith('0 ')).join(', ') || undefined
}
