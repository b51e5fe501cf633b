/** How long somebody may stay who has shown nothing. */
import { expect, test } from 'vitest'
import { limits } from '../../../src/base/limits.ts'
import { silentLog } from '../../../src/base/log.ts'
import { silentMeter } from '../../../src/base/meter.ts'
import { createRefusals } from '../../../src/base/refusals.ts'
import { startTrust } from '../../../src/mesh/trust.ts'
import { createFakeClock } from '../../fakes/clock.ts'

const start = () => {
  const clock = createFakeClock()
  let connected: ((peer: string) => void) | undefined
  const disconnects: number[] = []
  const startMs = clock.monotonicMs()
  const net = {
    ...{ peer: 'self', isAdmitted: () => false, isConnected: () => true, connected: () => [] },
    onConnected: (fn: typeof connected) => ((connected = fn), () => {}),
    onDisconnected: () => () => {},
    disconnect: async () => void disconnects.push(clock.monotonicMs() - startMs),
  }
  const trust = startTrust({
    ...{ clock, limits, log: silentLog, net: net as never, certificates: {} as never, guests: {} as never },
    member: { realm: () => ({ id: 'lab' }) } as never,
    refusals: createRefusals({ log: silentLog, meter: silentMeter, limits }, { metric: 'refusals' }),
    ...{ addressesOf: () => [], isOfRealm: () => false, ownAd: () => Promise.reject(new Error('none')), onAd() {} },
  })
  const present = () =>
    trust.presented('p', { certificate: null, head: { realm: 'lab', version: 1, hash: '' } }).catch((error) => error)
  connected!('p')
  return { clock, present, disconnects }
}

test('whoever is refused again and again wins no time by it', async () => {
  const { clock, present, disconnects } = start()
  const stepMs = limits.refusedCloseMs - 100
  for (let asked = 0; asked < 4; asked++) {
    expect(await present()).toMatchObject({ code: 'NOT_A_MEMBER' })
    await clock.advance(stepMs)
  }
  expect(disconnects[0]).toBe(limits.refusedCloseMs)
})

test('whoever shows nothing is closed when the time to do so is over', async () => {
  const { clock, disconnects } = start()
  await clock.advance(limits.admissionTimeoutMs - 1)
  expect(disconnects).toEqual([])
  await clock.advance(1)
  expect(disconnects).toEqual([limits.admissionTimeoutMs])
})
