/** What an operator's program does with one node: draining it, and reading its audit log. */
import { sleep } from '../base/clock.ts'
import { GodelError } from '../base/errors.ts'
import type { AuditRecord, DrainReport } from '../base/report.ts'
import type { Http } from './http.ts'

export interface DrainOptions {
  /** How long to wait until nothing runs any more; for ever unless told. 0 does not wait. */
  timeoutMs?: number
  signal?: AbortSignal
  /** Told of every look at what still runs. */
  onReport?: (report: DrainReport) => void
}

export interface AuditOptions {
  /** The newest so many; limits.auditEntriesListed unless told. */
  limit?: number
  /** Unix milliseconds: only entries of then or later. */
  sinceMs?: number
}

/**
 * Makes the node take nothing new, and waits until no command runs there, none is starting, and no slot is promised. Idle
 * agents stay. DEADLINE_EXCEEDED with what still runs; the node goes on draining then.
 */
export const drainNode = async (http: Http, options: DrainOptions = {}): Promise<DrainReport> => {
  const { timeoutMs, signal, onReport } = options
  const { clock, limits } = http
  const call = (method: string) =>
    http.call<DrainReport>(method, '/v1/node/drain', {
      ...(method === 'POST' && { body: {} }),
      ...(signal && { signal }),
    })
  const beganMs = clock.monotonicMs()
  for (let report = await call('POST'); ; report = await call('GET')) {
    onReport?.(report)
    if (report.empty || timeoutMs === 0) return report
    if (!report.draining) throw new GodelError({ code: 'CANCELLED', what: 'draining' })
    const leftMs = timeoutMs === undefined ? Infinity : beganMs + timeoutMs - clock.monotonicMs()
    if (leftMs <= 0) {
      const what = `draining (still here: ${stillRunning(report)})`
      throw new GodelError({ code: 'DEADLINE_EXCEEDED', what, afterMs: timeoutMs! })
    }
    await sleep(clock, Math.min(limits.clientDrainPollMs, leftMs), signal)
  }
}

/** What a draining node waits for, in words. */
export const stillRunning = ({ running, reserved }: DrainReport): string =>
  [
    ...running.map(({ id, status }) => `${id} (${status})`),
    ...(reserved > 0 ? [`${reserved} promised ${reserved === 1 ? 'slot' : 'slots'}`] : []),
  ].join(', ')

/** The newest entries, oldest first. */
export const readAudit = async (http: Http, { limit, sinceMs }: AuditOptions = {}): Promise<AuditRecord[]> => {
  const query = new URLSearchParams({
    ...(limit !== undefined && { limit: String(limit) }),
    ...(sinceMs !== undefined && { since: String(sinceMs) }),
  })
  const path = query.size === 0 ? '/v1/audit' : `/v1/audit?${query}`
  return (await http.call<{ entries: AuditRecord[] }>('GET', path)).entries
}

/** The newest entries, and then those that come, each once. */
export async function* followAudit(
  http: Http,
  { signal, ...options }: AuditOptions & { signal?: AbortSignal } = {},
): AsyncGenerator<AuditRecord> {
  const { clock, limits } = http
  let { sinceMs } = options
  let limit = options.limit
  let seen = 0
  for (;;) {
    const entries = await readAudit(http, {
      ...(limit !== undefined && { limit }),
      ...(sinceMs !== undefined && { sinceMs }),
    })
    for (const entry of entries) {
      if (entry.seq <= seen) continue
      seen = entry.seq
      sinceMs = entry.atMs
      yield entry
    }
    limit = limits.auditEntriesKept
    sinceMs ??= 0
    await sleep(clock, limits.clientAuditPollMs, signal)
  }
}
