/** The failover settings as programs name them, with times as numbers of milliseconds or in words. */
import { GodelError } from '../base/errors.ts'
import type { FailoverChange } from '../base/failover.ts'

/** Milliseconds, or `500ms`, `1s`, `2m`, `1h`. */
type Time = number | string

export interface FailoverTimes {
  /** Between two probes of a peer. */
  healthCheckInterval?: Time
  /** Probes in a row that nobody sees answered before a peer is accused. */
  failureThreshold?: number
  /** How long a peer that was down answers again before it is chosen. */
  recoveryTime?: Time
  /** `realm` takes a root key; without one it is `node` unless told. */
  scope?: 'realm' | 'node'
}

const units: Record<string, number> = { ms: 1, s: 1_000, m: 60_000, h: 3_600_000 }

/** INVALID_ARGUMENT. */
export const millisecondsOf = (field: string, time: Time): number => {
  if (typeof time === 'number') return time
  const [, number, unit] = /^(\d{1,9})(ms|s|m|h)$/.exec(time) ?? []
  if (number === undefined)
    throw new GodelError({
      code: 'INVALID_ARGUMENT',
      field,
      reason: `must be a time such as 500ms, 1s or 2m, not ${JSON.stringify(time)}`,
    })
  return Number(number) * units[unit!]!
}

export const changeOf = ({
  healthCheckInterval,
  failureThreshold,
  recoveryTime,
  scope,
}: FailoverTimes): FailoverChange => ({
  ...(healthCheckInterval !== undefined && {
    healthCheckIntervalMs: millisecondsOf('healthCheckInterval', healthCheckInterval),
  }),
  ...(failureThreshold !== undefined && { failureThreshold }),
  ...(recoveryTime !== undefined && { recoveryTimeMs: millisecondsOf('recoveryTime', recoveryTime) }),
  ...(scope !== undefined && { scope }),
})
