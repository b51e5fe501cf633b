/** `why-not`: what keeps a spawn from going to a node. */
import type { Command } from 'commander'
import { GodelError } from '../base/errors.ts'
import type { Considered, Decision } from '../base/need.ts'
import { clientOf, withCommon } from './command.ts'
import { ageOf, clean, print, printJson } from './output.ts'
import { addSpawnOptions, requestOf, type SpawnFlags } from './spawn-options.ts'

export const define = (command: Command): void => {
  withCommon(command, [
    ['why-not laptop', 'for a spawn without options'],
    ['why-not laptop --gpu --region eu-west', 'for the options of agent spawn'],
  ]).argument('<node>', 'the node, by name or peer id')
  addSpawnOptions(command).action(async (name: string, flags: SpawnFlags) => {
    const client = await clientOf(flags)
    const decision = await client.routes.explain(requestOf(flags))
    const entry = decision.considered.find(({ node, peer }) => node === name || peer === name)
    if (entry === undefined) throw new GodelError({ code: 'NOT_FOUND', what: 'node', id: name })
    const verdict = verdictOf(entry, decision)
    if (flags.json) return printJson({ node: entry.node, peer: entry.peer, ...verdict, decision })
    print(clean(sentenceOf(entry, verdict)))
    for (const reason of verdict.reasons) print(`  ${clean(reason)}`)
    print(clean(`What ${entry.node} says of itself is ${ageOf(entry.adAgeMs)} old.`))
  })
}

interface Verdict {
  eligible: boolean
  picked: boolean
  reasons: string[]
}

const verdictOf = (entry: Considered, decision: Decision): Verdict => {
  const picked = decision.pick === entry.peer
  if (entry.rejected !== undefined) return { eligible: false, picked, reasons: entry.rejected }
  if (picked) return { eligible: true, picked, reasons: [ruleOf(decision)] }
  const winner = decision.considered.find(({ peer }) => peer === decision.pick)
  if (winner === undefined) return { eligible: true, picked, reasons: ['no node was picked'] }
  if (winner.level !== entry.level)
    return {
      eligible: true,
      picked,
      reasons: [`${winner.node} is of level ${winner.level}, which comes before ${entry.level}`],
    }
  const scores = `score ${scoreOf(winner)} against ${scoreOf(entry)}, higher is better`
  return { eligible: true, picked, reasons: [`${winner.node} is picked: ${ruleOf(decision)} (${scores})`] }
}

const scoreOf = ({ score }: Considered): string => (score === undefined ? 'none' : score.toFixed(3))

const ruleOf = ({ rule, strategy }: Decision): string => {
  if (rule === 'local-below-threshold') return 'work that this node can do stays here while its load is low'
  return rule === 'named-node' ? 'it is the node that was named' : `it is the best by ${strategy}`
}

const sentenceOf = ({ node: name, level }: Considered, { eligible, picked }: Verdict): string => {
  const node = level === 'realm' ? name : `${name} (${level})`
  if (picked) return `${node} would be chosen:`
  return eligible ? `${node} could take it, and another node is preferred:` : `${node} cannot take it:`
}
