/**
 * What the line of a host is like: loss (nft drops at random what comes in), delay and jitter (delay-proxy.ts in front of the
 * node's port, for there may be no netem), rate (a token bucket of the kernel). What a host cannot do is said, not left out in
 * silence.
 */
import { execFile, spawn } from 'node:child_process'
import { once } from 'node:events'
import { join } from 'node:path'
import { promisify } from 'node:util'
import type { Machine } from '../../test/support/namespaces.ts'

const execute = promisify(execFile)
const proxyPort = 17_374
const table = 'testbed'

export interface LineConditions {
  /** Of the packets that come in, 0..100. */
  lossPercent?: number
  /** In each direction of a connection to this host. */
  delayMs?: number
  jitterMs?: number
  /** Of what goes out, in kbit/s. */
  rateKbit?: number
}

export interface Line {
  /** What of the conditions could not be had, and why. */
  readonly notHad: readonly string[]
  /** Where the node of this host listens: known once it has started. */
  nodeListensOn(port: number): void
  dispose(): Promise<void>
}

export const bringUpLine = async (machine: Machine, wanted: LineConditions, seed: number): Promise<Line> => {
  const notHad: string[] = []
  const undo: (() => void | Promise<void>)[] = []
  const tell = Promise.withResolvers<number>()
  const inside = (...command: string[]) => execute(machine.prefix[0]!, [...machine.prefix.slice(1), ...command])
  const attempt = async (what: string, work: () => Promise<void>): Promise<void> => {
    try {
      await work()
    } catch (error) {
      const reason = (error as { stderr?: string }).stderr?.trim() || String(error)
      notHad.push(`${what} on ${machine.name}: ${reason.split('\n')[0]}`)
    }
  }
  const { lossPercent = 0, delayMs = 0, jitterMs = 0, rateKbit } = wanted

  if (lossPercent > 0)
    await attempt('loss', async () => {
      await inside('nft', 'add', 'table', 'ip', table)
      await inside('nft', `add chain ip ${table} loss { type filter hook input priority 0 ; }`)
      const part = `numgen random mod 10000 < ${Math.round(lossPercent * 100)}`
      await inside('nft', `add rule ip ${table} loss iifname mesh ${part} drop`)
    })
  if (rateKbit !== undefined)
    await attempt('rate', async () => {
      const bucket = ['tbf', 'rate', `${rateKbit}kbit`, 'burst', '32kbit', 'latency', '400ms']
      await inside('tc', 'qdisc', 'add', 'dev', 'mesh', 'root', ...bucket)
    })
  if (delayMs + jitterMs > 0)
    await attempt('delay', async () => {
      await inside('nft', 'add', 'table', 'ip', table)
      await inside('nft', `add chain ip ${table} delay { type nat hook prerouting priority -100 ; }`)
      await inside('nft', `add rule ip ${table} delay iifname mesh tcp dport != ${proxyPort} redirect to :${proxyPort}`)
      const words = [machine.address, proxyPort, delayMs, jitterMs, seed].map(String)
      const command = [...machine.prefix, process.execPath, join(import.meta.dirname, 'delay-proxy.ts'), ...words]
      const proxy = spawn(command[0]!, command.slice(1), { stdio: ['pipe', 'pipe', 'inherit'] })
      undo.push(async () => {
        proxy.stdin.end()
        if (proxy.exitCode === null) await once(proxy, 'exit')
      })
      await once(proxy.stdout, 'data')
      void tell.promise.then((port) => proxy.stdin.write(`${port}\n`))
    })
  return {
    notHad,
    nodeListensOn: tell.resolve,
    async dispose() {
      for (const each of undo.splice(0)) await each()
    },
  }
}
