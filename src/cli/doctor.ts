/** `doctor`: checks this host, with or without a running node. */
import { resolve } from 'node:path'
import type { Command } from 'commander'
import { errorNext, errorWhat, hasCode, toGodelError } from '../base/errors.ts'
import { defaultDataDir } from '../client/discover.ts'
import type { Check } from '../node/doctor.ts'
import { clientOf, withCommon, type CommonOptions } from './command.ts'
import { clean, print, printJson, styled } from './output.ts'

export const define = (command: Command): void => {
  withCommon(command, [
    ['doctor', 'what works here, what does not, and what to do'],
    ['doctor --data-dir ./second', 'for a node of its own directory'],
  ]).action(async (options: CommonOptions) => {
    const { checkHost } = await import('../node/doctor.ts')
    const dataDir = resolve(options.dataDir ?? defaultDataDir())
    const checks = [...(await checkHost({ dataDir })), await checkNode(options)]
    const ok = checks.every((check) => check.level !== 'fail')
    if (options.json) printJson({ ok, checks })
    else for (const check of checks) printCheck(check)
    process.exitCode = ok ? 0 : 1
  })
}

/** A node that does not run is nothing wrong with the host. */
const checkNode = async (options: CommonOptions): Promise<Check> => {
  const name = 'node'
  try {
    const client = await clientOf(options)
    const health = await client.health()
    const node = await client.node()
    const what = `${node.name} answers at ${await client.url()}`
    if (health.ready) return { name, level: 'ok', reason: what }
    return {
      name,
      level: 'warn',
      reason: `${what}, and is ${health.status}`,
      next: 'Wait until it is ready, or start it again.',
    }
  } catch (error) {
    const { detail } = toGodelError(error)
    const level = hasCode(error, 'NODE_UNREACHABLE') ? 'warn' : 'fail'
    return { name, level, reason: errorWhat(detail), next: errorNext(detail) }
  }
}

const marks = { ok: ['green', 'ok  '], warn: ['yellow', 'warn'], fail: ['red', 'fail'] } as const

const printCheck = ({ name, level, reason, next }: Check): void => {
  const [colour, mark] = marks[level]
  print(`${styled(colour, mark)}  ${name.padEnd(15)}  ${clean(reason)}`)
  if (next !== undefined && level !== 'ok') print(`${' '.repeat(23)}${clean(next)}`)
}
