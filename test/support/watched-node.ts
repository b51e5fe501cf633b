/**
 * A stand-in for a node, run as a process of its own: starts commands at the levels named in its arguments and says so,
 * then waits to be killed.
 */
import { createExecRig } from './exec-rig.ts'
import type { Isolation } from '../../src/base/advertisement.ts'

const rig = await createExecRig()
const script = `
  sleep 1000 &
  setsid sh -c 'setsid sleep 1000 & sleep 1000' >/dev/null 2>&1 &
  sh -c "trap '' TERM INT HUP; echo up; while :; do sleep 0.1; done"
`
const started = process.argv.slice(2).map(async (level) => {
  const events = rig.run(level as Isolation, { command: 'sh', args: ['-c', script] })[Symbol.asyncIterator]()
  while ((await events.next()).value?.type !== 'output');
})
await Promise.all(started)
process.stdout.write(
  `${JSON.stringify({ nodeMark: rig.nodeMark, dataDir: rig.dataDir, watchdog: rig.watchdog.pid() })}\n`,
)
setInterval(() => {}, 1_000)
