/**
 * The audit log: JSON lines in the data directory (mode 0600), bounded to the current file and the one before it, with the newest
 * entries at hand for the API. Whoever is refused comes back, so the same refusal is written once a second at most, with the
 * number of those left out; a flood under many names is written under none. A disk that is full costs entries, and nothing else.
 */
import { closeSync, existsSync, openSync, readFileSync, renameSync, statSync, writeSync } from 'node:fs'
import type { Audit, AuditEntry } from '../base/audit.ts'
import type { Clock, Timer } from '../base/clock.ts'
import { GodelError, reasonOf } from '../base/errors.ts'
import type { Limits } from '../base/limits.ts'
import type { Log } from '../base/log.ts'
import type { AuditRecord } from '../base/report.ts'

export interface AuditQuery {
  /** At most so many, the newest. */
  limit: number
  /** Unix milliseconds: only those of then or later. */
  sinceMs?: number | undefined
}

export interface FileAudit extends Audit {
  /** The newest entries that fit, oldest first; reaches back limits.auditEntriesKept. */
  read(query: AuditQuery): AuditRecord[]
  close(): void
}

type AuditLimits = Pick<
  Limits,
  'auditFileBytesMax' | 'auditRepeatMs' | 'auditKeysMax' | 'auditEntriesKept' | 'auditTextLengthMax'
>

interface AuditDeps {
  clock: Clock
  log: Log
  limits: AuditLimits
}

/** Opens or goes on with the log at `path`; a full file becomes `path.1`. A file that cannot be opened is tried again at the next entry. */
export const openFileAudit = ({ clock, log, limits }: AuditDeps, { path }: { path: string }): FileAudit => {
  const file = createFile({ log, limits }, path)
  const kept = [...readRecords(`${path}.1`), ...readRecords(path)].slice(-limits.auditEntriesKept)
  const repeats = new Map<string, { timer: Timer; omitted: number; last: AuditEntry }>()
  let seq = kept.at(-1)?.seq ?? 0

  const write = (entry: AuditEntry, omitted: number): void => {
    const record: AuditRecord = {
      seq: ++seq,
      atMs: clock.wallMs(),
      ...bounded(entry, limits.auditTextLengthMax),
      ...(omitted > 0 && { omitted }),
    }
    kept.push(record)
    if (kept.length > 2 * limits.auditEntriesKept) kept.splice(0, kept.length - limits.auditEntriesKept)
    file.append(lineOf(record))
  }

  /** Ends the second in which an entry is not repeated; what was left out meanwhile opens the next one. */
  const openWindow = (key: string, last: AuditEntry): void => {
    const timer = clock.after(limits.auditRepeatMs, () => {
      const window = repeats.get(key)
      repeats.delete(key)
      if (window === undefined || window.omitted === 0) return
      write(window.last, window.omitted - 1)
      openWindow(key, window.last)
    })
    repeats.set(key, { timer, omitted: 0, last })
  }

  const record = (entry: AuditEntry): void => {
    let shown = entry
    let key = keyOf(shown)
    if (!repeats.has(key) && repeats.size >= limits.auditKeysMax) {
      // What was done stays on record whatever else goes on; refusals go together from here on.
      if (entry.outcome === 'done') return write(entry, 0)
      const { subject: _, ...rest } = entry
      shown = { ...rest, by: 'many' }
      key = keyOf(shown)
    }
    const window = repeats.get(key)
    if (window === undefined) {
      write(shown, 0)
      openWindow(key, shown)
    } else {
      window.omitted++
      window.last = shown
    }
  }

  return {
    record(entry) {
      try {
        record(entry)
      } catch (error) {
        log.error('an audit entry was lost', { action: entry.action, reason: reasonOf(error) })
      }
    },
    read({ limit, sinceMs = 0 }) {
      return kept.filter((entry) => entry.atMs >= sinceMs).slice(-Math.min(limit, limits.auditEntriesKept))
    },
    close() {
      for (const { timer, omitted, last } of repeats.values()) {
        timer.cancel()
        if (omitted > 0) write(last, omitted - 1)
      }
      repeats.clear()
      file.close()
    },
  }
}

/** What was done is another thing for every subject; a refusal is the same one by its code, whatever it was aimed at. */
const keyOf = ({ action, by, subject, outcome, reason }: AuditEntry): string =>
  [action, by, outcome, outcome === 'done' ? subject : /^[A-Z_]+/.exec(reason ?? '')?.[0]].join('\0')

const bounded = (entry: AuditEntry, lengthMax: number): AuditEntry => {
  const cut = (text: string) => (text.length > lengthMax ? `${text.slice(0, lengthMax)}…` : text)
  const { action, by, subject, outcome, reason } = entry
  return {
    action: cut(action),
    by: cut(by),
    ...(subject !== undefined && { subject: cut(subject) }),
    outcome,
    ...(reason !== undefined && { reason: cut(reason) }),
  }
}

/** One line, which a terminal can show as it is: JSON leaves some characters that move it. */
const lineOf = ({ atMs, ...rest }: AuditRecord): string =>
  `${JSON.stringify({ time: new Date(atMs).toISOString(), ...rest }).replace(
    /[\u007f-\u009f\u200e\u200f\u202a-\u202e\u2066-\u2069\u2028\u2029]/g,
    (c) => `\\u${c.charCodeAt(0).toString(16).padStart(4, '0')}`,
  )}\n`

/** The entries of a file, as far as they can be read: the end of one may be missing where the disk was full. */
const readRecords = (path: string): AuditRecord[] => {
  if (!existsSync(path)) return []
  let text: string
  try {
    text = readFileSync(path, 'utf8')
  } catch {
    return []
  }
  return text.split('\n').flatMap((line) => {
    try {
      const { time, ...rest } = JSON.parse(line) as { time: string } & Omit<AuditRecord, 'atMs'>
      const atMs = Date.parse(time)
      const { seq, action, by, outcome } = rest
      const sound = Number.isSafeInteger(seq) && Number.isSafeInteger(atMs) && [action, by, outcome].every(isText)
      return sound ? [{ atMs, ...rest }] : []
    } catch {
      return []
    }
  })
}

const isText = (value: unknown): boolean => typeof value === 'string'

/** Appends lines and rotates; failing is said once until it works again. */
const createFile = ({ log, limits }: { log: Log; limits: AuditLimits }, path: string) => {
  let fd: number | undefined
  let bytes = 0
  let broken = false
  /** A line of which only a part is there: the next one begins on a line of its own. */
  let torn = false

  const open = (): number => {
    const opened = openSync(path, 'a', 0o600)
    bytes = statSync(path).size
    return opened
  }
  const close = (): void => {
    if (fd !== undefined) closeSync(fd)
    fd = undefined
  }

  return {
    append(line: string): void {
      try {
        fd ??= open()
        if (bytes >= limits.auditFileBytesMax) {
          close()
          renameSync(path, `${path}.1`)
          fd = open()
        }
        const part = Buffer.from(torn ? `\n${line}` : line)
        const written = writeSync(fd, part)
        bytes += written
        torn = written < part.byteLength
        if (torn) throw new GodelError({ code: 'STORE_FAILED', path, reason: 'there is no space for it' })
        broken = false
      } catch (error) {
        if (!broken) log.error('the audit log cannot be written', { path, reason: reasonOf(error) })
        broken = true
        try {
          close()
        } catch {
          fd = undefined
        }
      }
    },
    close(): void {
      try {
        close()
      } catch {
        fd = undefined
      }
    },
  }
}
