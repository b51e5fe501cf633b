import { describe, expect, test } from 'vitest'
import { limits } from '../../../src/base/limits.ts'
import { silentLog } from '../../../src/base/log.ts'
import { openFailover } from '../../../src/mesh/failover.ts'
import { openMemoryStore } from '../../../src/store/memory.ts'

const start = (options: { root?: boolean; store?: ReturnType<typeof openMemoryStore>; document?: object } = {}) => {
  const store = options.store ?? openMemoryStore()
  let document: Record<string, unknown> = { ...options.document }
  const failover = openFailover({
    ...{ store, limits, log: silentLog },
    realmSettings: () => document,
    amend: async () =>
      options.root
        ? async (name, settings) => {
            document = { ...document, [name]: settings }
          }
        : undefined,
  })
  return { failover, store, realmSays: (settings: unknown) => (document = { ...document, failover: settings }) }
}
const defaults = { healthCheckIntervalMs: 1_000, failureThreshold: 3, recoveryTimeMs: 5_000 }
const slower = { healthCheckIntervalMs: 2_000, failureThreshold: 5, recoveryTimeMs: 30_000 }

describe('the failover settings', () => {
  test('are the defaults until somebody says otherwise', () => {
    expect(start().failover.report()).toEqual({ ...defaults, source: 'default' })
  })

  test('of one node take effect at once, and are kept over a restart', async () => {
    const { failover, store } = start()
    expect(await failover.configure({ failureThreshold: 7 })).toEqual({
      ...defaults,
      failureThreshold: 7,
      source: 'node',
    })
    expect(failover.settings().failureThreshold).toBe(7)
    expect(start({ store }).failover.report()).toMatchObject({ failureThreshold: 7, source: 'node' })
  })

  test('go to the realm where its root key is, and to this node alone where it is not', async () => {
    const { failover, store } = start({ root: true })
    expect(await failover.configure(slower)).toEqual({ ...slower, source: 'realm' })
    expect(store.scan('mesh')).toEqual([])
    expect(await failover.configure({ failureThreshold: 9, scope: 'node' })).toMatchObject({ source: 'node' })
    const without = start().failover
    await expect(without.configure({ failureThreshold: 9, scope: 'realm' })).rejects.toMatchObject({
      code: 'FORBIDDEN',
      message: expect.stringContaining('this node alone'),
    })
    expect(without.report()).toEqual({ ...defaults, source: 'default' })
  })

  test('that were changed last stand: a node takes up what its realm decides after its own change', async () => {
    const { failover, realmSays } = start()
    await failover.configure({ failureThreshold: 7 })
    realmSays(slower)
    expect(failover.report()).toEqual({ ...slower, source: 'realm' })
    await failover.configure({ recoveryTimeMs: 0 })
    expect(failover.report()).toEqual({ ...slower, recoveryTimeMs: 0, source: 'node' })
    realmSays(defaults)
    expect(failover.report()).toEqual({ ...defaults, source: 'realm' })
  })

  test('of a realm that cannot be used are passed over', () => {
    expect(start({ document: { failover: { failureThreshold: 0 } } }).failover.report()).toMatchObject(defaults)
    expect(start({ document: { failover: 'soon' } }).failover.report()).toMatchObject({ source: 'default' })
  })

  test.each([
    { healthCheckIntervalMs: limits.healthCheckIntervalMsMin - 1 },
    { healthCheckIntervalMs: limits.healthCheckIntervalMsMax + 1 },
    { failureThreshold: 0 },
    { failureThreshold: 2.5 },
    { recoveryTimeMs: -1 },
    { recoveryTimeMs: limits.recoveryTimeMsMax + 1 },
    { recoverTime: 5 },
  ])('out of bounds are refused and change nothing: %j', async (change) => {
    const { failover } = start()
    await expect(failover.configure(change as never)).rejects.toMatchObject({ code: 'INVALID_ARGUMENT' })
    expect(failover.report()).toEqual({ ...defaults, source: 'default' })
  })
})
