/**
 * The detector's settings: those of the realm document, or this node's own, which are in the store; whichever was changed last
 * stands. A node that was away takes up what its realm has decided meanwhile.
 */
import { Type } from 'typebox'
import { decode, encode } from '../base/codec.ts'
import { GodelError, reasonOf } from '../base/errors.ts'
import {
  FailoverChangeSchema,
  FailoverSettingsSchema,
  type FailoverChange,
  type FailoverReport,
  type FailoverSettings,
} from '../base/failover.ts'
import type { Limits } from '../base/limits.ts'
import type { Log } from '../base/log.ts'
import { parser } from '../base/schema.ts'
import type { Store } from '../store/store.ts'

const SPACE = 'mesh'
const KEY = 'failover'
/** The name of the settings in the realm document. */
const SETTING = 'failover'

const parseSettings = parser('the failover settings', FailoverSettingsSchema)
const parseChange = parser('the failover settings', FailoverChangeSchema)
/** `over` is what the realm said when the node was told otherwise. */
const parseOwn = parser(
  'the stored failover settings',
  Type.Object({ settings: FailoverSettingsSchema, over: Type.String() }),
)

export interface Failover {
  settings(): FailoverSettings
  report(): FailoverReport
  /**
   * Takes effect at once and is kept. For the realm where a root key of it is here, otherwise for this node alone; `scope` asks
   * for one of them. INVALID_ARGUMENT; FORBIDDEN for the realm without a root key; STORE_FAILED.
   */
  configure(change: FailoverChange): Promise<FailoverReport>
}

interface FailoverDeps {
  store: Store
  /** The settings of the realm document that stands. */
  realmSettings: () => Readonly<Record<string, unknown>>
  /** Puts a setting into a new version of the realm document; undefined where no root key of the realm is here. */
  amend: () => Promise<((name: string, settings: FailoverSettings) => Promise<void>) | undefined>
  log: Log
  limits: Pick<Limits, 'probeIntervalMs' | 'failureThreshold' | 'recoveryTimeMs'>
}

export const openFailover = ({ store, realmSettings, amend, log, limits }: FailoverDeps): Failover => {
  const defaults: FailoverSettings = {
    healthCheckIntervalMs: limits.probeIntervalMs,
    failureThreshold: limits.failureThreshold,
    recoveryTimeMs: limits.recoveryTimeMs,
  }
  const bytes = store.get(SPACE, KEY)
  let own = bytes === undefined ? undefined : parseOwn(decode(bytes, 'the stored failover settings'))
  /** Read again when the document gives another object. */
  let read: { from: unknown; settings: FailoverSettings | undefined; text: string } = {
    ...{ from: undefined, settings: undefined, text: 'null' },
  }

  const ofRealm = () => {
    const from = realmSettings()[SETTING]
    if (from === read.from) return read
    read = { from, settings: undefined, text: JSON.stringify(from ?? null) }
    try {
      if (from !== undefined) read = { ...read, settings: parseSettings(from) }
    } catch (error) {
      log.warn('the failover settings of the realm cannot be used', { error: reasonOf(error) })
    }
    return read
  }

  const report = (): FailoverReport => {
    const realm = ofRealm()
    if (own !== undefined && own.over === realm.text) return { ...own.settings, source: 'node' }
    return realm.settings ? { ...realm.settings, source: 'realm' } : { ...defaults, source: 'default' }
  }

  const settings = (): FailoverSettings => {
    const { source: _source, ...rest } = report()
    return rest
  }

  const keepOwn = async (next: FailoverSettings): Promise<void> => {
    const kept = { settings: next, over: ofRealm().text }
    await store.commit([{ space: SPACE, key: KEY, value: encode(kept) }])
    own = kept
  }

  return {
    settings,
    report,
    async configure(change) {
      const { scope, ...given } = checked(change)
      const next = { ...settings(), ...given }
      const forRealm = scope === 'node' ? undefined : await amend()
      if (scope === 'realm' && forRealm === undefined)
        throw new GodelError({
          code: 'FORBIDDEN',
          action: 'changing the failover settings of the realm',
          reason: 'this node holds no root key of it; with the scope node they apply to this node alone',
        })
      if (forRealm) {
        await forRealm(SETTING, next)
        if (own !== undefined) await store.commit([{ space: SPACE, key: KEY, value: null }])
        own = undefined
      } else await keepOwn(next)
      log.info('changed the failover settings', { ...report() })
      return report()
    },
  }
}

const checked = (change: FailoverChange): FailoverChange => {
  try {
    return parseChange(change)
  } catch (error) {
    throw new GodelError({ code: 'INVALID_ARGUMENT', field: 'failover', reason: reasonOf(error) }, { cause: error })
  }
}
