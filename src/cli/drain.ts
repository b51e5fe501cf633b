/** `drain`: the node takes nothing new, and the command waits until nothing runs there any more. */
import type { Command } from 'commander'
import { limits } from '../base/limits.ts'
import type { DrainReport } from '../base/report.ts'
import { clientOf, withCommon, type CommonOptions } from './command.ts'
import { note, printJson } from './output.ts'
import { duration } from './values.ts'

interface Options extends CommonOptions {
  timeout?: number
  wait?: boolean
  stopIdle?: boolean
}

const WHAT_COUNTS = `
It waits for work: commands that run, agents that are starting, slots that were promised before. Agents that only sit
there idle are no work: they stay, and are listed at the end; --stop-idle ends them, their workspaces kept for a day.
Commands in agents that are here are still taken, so that --timeout bounds the wait: after it the exit code is 1, what
still runs is told, and the node stays draining. So it does over restarts, until "undrain".`

export const define = (command: Command): void => {
  withCommon(command, [
    ['drain', 'wait for what runs, however long'],
    ['drain --timeout 10m', 'ten minutes at most; the exit code says whether it is empty'],
    ['drain --no-wait', 'only say so'],
    ['drain --stop-idle', 'and end what is idle afterwards, as before a reboot'],
  ])
    .addHelpText('after', WHAT_COUNTS)
    .option(
      '--timeout <time>',
      'how long to wait: 90s, 30m, 1h, 2d (for ever)',
      duration('--timeout', { max: limits.drainTimeoutMsMax / 1_000 }),
    )
    .option('--no-wait', 'do not wait')
    .option('--stop-idle', 'end the idle agents once nothing runs')
    .action(async (options: Options) => {
      const client = await clientOf(options)
      const { timeout } = options
      const timeoutMs = options.wait === false ? 0 : timeout && timeout * 1_000
      const tell = options.json ? () => {} : progress()
      const report = await client.drain({ ...(timeoutMs !== undefined && { timeoutMs }), onReport: tell })
      const ended = options.stopIdle && report.empty ? report.staying : []
      for (const { id } of ended) await client.agents.kill(id)
      const left = ended.length > 0 ? { ...report, staying: [] } : report
      if (options.json) return printJson({ ...left, ended: ended.map(({ id }) => id) })
      conclude(left, ended.length)
    })
}

/** Says what is waited for, once for each change of it. */
const progress = (): ((report: DrainReport) => void) => {
  let told = ''
  return ({ running, reserved }) => {
    const lines = [
      ...running.map(({ id, role, status }) => `  ${id}  ${role}, ${status}`),
      ...(reserved > 0 ? [`  ${reserved} promised ${reserved === 1 ? 'slot' : 'slots'}`] : []),
    ]
    const text = lines.join('\n')
    if (text !== told && text !== '') note(`Waiting for\n${text}`)
    told = text
  }
}

const conclude = ({ empty, staying }: DrainReport, ended: number): void => {
  note(empty ? 'Draining, and nothing runs here.' : 'Draining.')
  if (ended > 0) note(`${ended} idle ${ended === 1 ? 'agent was' : 'agents were'} ended.`)
  if (staying.length > 0) {
    note(`Idle agents stay: ${staying.map(({ id }) => id).join(', ')}.`)
    note('End them with "godel-node agent kill ID", or all with "godel-node drain --stop-idle".')
  }
}
