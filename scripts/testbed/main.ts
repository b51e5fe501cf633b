/**
 * `npm run testbed -- [--hosts N] [--delay MS] [--jitter MS] [--loss PERCENT] [--rate KBIT]`: a realm on hosts of its own, for
 * trying by hand. Lines on standard input: cut NAME, mend NAME, kill NAME, restart NAME, stop. Ends, and takes everything down,
 * with `stop`, the end of the input or SIGINT.
 */
import { createInterface } from 'node:readline'
import { parseArgs } from 'node:util'
import { startHosts, type Host } from './hosts.ts'

const { values } = parseArgs({
  options: {
    hosts: { type: 'string', default: '4' },
    delay: { type: 'string', default: '0' },
    jitter: { type: 'string', default: '0' },
    loss: { type: 'string', default: '0' },
    rate: { type: 'string' },
  },
})

const names = Array.from({ length: Number(values.hosts) }, (_, index) => `host-${index}`)
const conditions = {
  delayMs: Number(values.delay),
  jitterMs: Number(values.jitter),
  lossPercent: Number(values.loss),
  ...(values.rate !== undefined && { rateKbit: Number(values.rate) }),
}
const bed = await startHosts('the test-bed', names, conditions)
if (!bed) process.exit(1)

const lines = createInterface({ input: process.stdin })
process.once('SIGINT', () => lines.close())
process.once('SIGTERM', () => lines.close())
for (const { name, machine, node } of bed.hosts)
  process.stdout.write(`${name}  ${machine.address}  --data-dir ${node.dataDir}  ${machine.prefix.join(' ')} ...\n`)

const verbs: Record<string, (host: Host) => Promise<void>> = {
  cut: (host) => host.machine.cut(),
  mend: (host) => host.machine.mend(),
  kill: (host) => host.node.end('SIGKILL'),
  restart: (host) => host.restart(),
}
for await (const line of lines) {
  const [verb = '', name] = line.trim().split(/\s+/)
  if (verb === 'stop') break
  const host = bed.hosts.find((each) => each.name === name)
  if (!host || !verbs[verb]) process.stdout.write(`${Object.keys(verbs).join('|')} NAME, or stop\n`)
  else await verbs[verb](host)
}
await bed.dispose()
