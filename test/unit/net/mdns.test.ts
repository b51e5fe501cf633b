import { createSocket } from 'node:dgram'
import { afterEach, describe, expect, it } from 'vitest'
import { createNodeKey } from '../../../src/identity/node-key.ts'
import { limits } from '../../../src/base/limits.ts'
import { silentLog } from '../../../src/base/log.ts'
import { silentMeter } from '../../../src/base/meter.ts'
import { startNet, type Net } from '../../../src/net/net.ts'
import { clock, until } from './nets.ts'

const group = '224.0.0.251'
const port = 20_000 + (process.pid % 20_000)

/** Whether a datagram to the group comes back to this host; a line on standard error where it does not. */
const withoutMulticast = await new Promise<boolean>((resolve) => {
  const probe = createSocket({ type: 'udp4', reuseAddr: true })
  const end = (reason?: string) => {
    clearTimeout(timer)
    probe.close()
    if (reason !== undefined) process.stderr.write(`NOT RUN: finding peers on the LAN: no multicast here (${reason})\n`)
    resolve(reason !== undefined)
  }
  const timer = setTimeout(() => end('nothing came back'), 1_000)
  probe.once('error', (error) => end(error.message))
  probe.once('message', () => end())
  probe.bind(port, () => {
    try {
      probe.addMembership(group)
      probe.send('here', port, group, (error) => error && end(error.message))
    } catch (error) {
      end(String(error))
    }
  })
})

const open: Net[] = []
afterEach(async () => {
  await Promise.all(open.splice(0).map((net) => net.close()))
})
const start = async (mdns: boolean): Promise<Net> => {
  const common = { limits: { ...limits, mdnsIntervalMs: 200 }, clock, log: silentLog, meter: silentMeter }
  const listen = ['/ip4/127.0.0.1/tcp/0']
  const net = await startNet({ key: createNodeKey(), ...common }, { listen, mdns, mdnsPort: port })
  open.push(net)
  return net
}

describe.skipIf(withoutMulticast)('mDNS', () => {
  it('finds who else speaks it on the LAN, with addresses to dial, and says nothing of who does not', async () => {
    const [a, b, silent] = [await start(true), await start(true), await start(false)]
    const found = new Map<string, readonly string[]>()
    a.onHint((peer, addresses) => void found.set(peer, addresses))
    silent.onHint((peer) => void found.set(`silent heard ${peer}`, []))
    await until(() => found.has(b.peer))
    expect(found.get(b.peer)).toEqual(b.addresses())
    expect([...found.keys()]).toEqual([b.peer])
    expect(a.isConnected(b.peer)).toBe(false) // a hint, no more
  })
})
