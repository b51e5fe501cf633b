/** Real nets over loopback TCP for the tests of this room. */
import { setFlagsFromString } from 'node:v8'
import { runInNewContext } from 'node:vm'
import { createNodeKey } from '../../../src/identity/node-key.ts'
import { limits as defaults, type Limits } from '../../../src/base/limits.ts'
import { silentLog, type Log } from '../../../src/base/log.ts'
import { silentMeter } from '../../../src/base/meter.ts'
import { startNet, type Net } from '../../../src/net/net.ts'
import { createRealClock } from '../../../src/node/real-clock.ts'

export const clock = createRealClock()

export interface TestNets {
  start(limits?: Partial<Limits>, log?: Log): Promise<Net>
  /** Two nets, the first connected to the second, both admitted by each other. */
  pair(limits?: Partial<Limits>, otherLimits?: Partial<Limits>): Promise<[Net, Net]>
  close(): Promise<void>
}

export const createTestNets = (): TestNets => {
  const open: Net[] = []
  const start: TestNets['start'] = async (limits = {}, log = silentLog) => {
    const net = await startNet(
      { key: createNodeKey(), limits: { ...defaults, ...limits }, clock, log, meter: silentMeter },
      { listen: ['/ip4/127.0.0.1/tcp/0'] },
    )
    open.push(net)
    return net
  }
  return {
    start,
    async pair(limits, otherLimits = limits) {
      const a = await start(limits)
      const b = await start(otherLimits)
      await connect(a, b)
      admitEachOther(a, b)
      return [a, b]
    },
    async close() {
      await Promise.all(open.splice(0).map((net) => net.close()))
    },
  }
}

export const connect = async (from: Net, to: Net): Promise<void> => {
  await from.dial(to.peer, to.addresses())
  await until(() => to.isConnected(from.peer))
}

export const admitEachOther = (a: Net, b: Net): void => {
  a.admit(b.peer, { kind: 'member', role: 'admin' })
  b.admit(a.peer, { kind: 'member', role: 'admin' })
}

/** Waits for a condition; fails after `timeoutMs`. */
export const until = async (condition: () => boolean, timeoutMs = 10_000): Promise<void> => {
  const deadline = performance.now() + timeoutMs
  while (!condition()) {
    if (performance.now() > deadline) throw new Error(`not within ${timeoutMs} ms: ${condition.toString()}`)
    await new Promise((resolve) => setTimeout(resolve, 5))
  }
}

/** A promise and the function that fulfils it. */
export const gate = (): { opened: Promise<void>; open: () => void } => {
  const { promise, resolve } = Promise.withResolvers<void>()
  return { opened: promise, open: resolve }
}

setFlagsFromString('--expose-gc')
const collectGarbage = runInNewContext('gc') as () => void

/** Bytes on the heap and beside it that are still referred to. */
export const heldBytes = (): number => {
  collectGarbage()
  collectGarbage() // the buffers that the first one found are freed beside it, and all of them before the second
  const { heapUsed, arrayBuffers } = process.memoryUsage()
  return heapUsed + arrayBuffers
}
