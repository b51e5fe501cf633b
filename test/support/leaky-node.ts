/** A stand-in for a node that was started with open descriptors: shows those that its commands have. */
import type { Isolation } from '../../src/base/advertisement.ts'
import { createExecRig } from './exec-rig.ts'

const rig = await createExecRig()
for (const level of process.argv.slice(2) as Isolation[]) {
  const { stdout } = await rig.sh(level, 'ls -l /proc/self/fd | sed -n "s/.* \\([0-9]* -> .*\\)/\\1/p"')
  process.stdout.write(stdout)
}
await rig.close()
