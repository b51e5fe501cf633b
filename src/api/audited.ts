/** Puts privileged acts on the audit log, done or refused. */
import type { Audit } from '../base/audit.ts'
import { toGodelError } from '../base/errors.ts'

/** What a client of this node's own API is called in the audit log. */
export const BY_API = 'api'

/** The same outcome as of `act`, on record. */
export const audited = async <T>(
  audit: Audit,
  { action, subject }: { action: string; subject?: string | undefined },
  act: () => T | Promise<T>,
): Promise<T> => {
  const entry = { action, by: BY_API, ...(subject !== undefined && { subject }) }
  try {
    const result = await act()
    audit.record({ ...entry, outcome: 'done' })
    return result
  } catch (error) {
    const { code, message } = toGodelError(error)
    audit.record({ ...entry, outcome: 'refused', reason: `${code}: ${message}` })
    throw error
  }
}
