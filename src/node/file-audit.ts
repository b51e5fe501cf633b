/**
 * The audit log: JSON lines in the data directory (mode 0600), with the newest entries at hand for the API. What was done and what
 * was refused have files of their own, each bounded to the current one and the one before it, so that no flood of refusals pushes
 * out what was done. Whoever is refused comes back, so the same refusal is written once a second at most, with the number of
 * those left out; a flood under many names is written under none. A disk that is full costs entries, and nothing else.
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
  /**
   * The newest entries that fit, oldest first; half of the room is for what was done, however much was refused since. Reaches back
   * limits.auditEntriesKept of either.
   */
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

interface AuditPaths {
  /** What was done. */
  path: string
  /** What was refused. */
  refusedPath: string
}

/**
 * Opens or goes on with the log at these paths; a full file becomes `path.1`. A file that cannot be opened is tried again at the
 * next entry.
 */
export const openFileAudit = ({ clock, log, limits }: AuditDeps, { path, refusedPath }: AuditPaths): FileAudit => {
  const paths = { done: path, refused: refusedPath }
  // By outcome, not by file: one file had both in earlier versions.
  const found = Object.values(paths).flatMap((each) => [...readRecords(`${each}.1`), ...readRecords(each)])
  const shelfOf = (outcome: AuditEntry['outcome']) => ({
    file: createFile({ log, limits }, paths[outcome]),
    kept: found
      .filter((entry) => entry.outcome === outcome)
      .toSorted(inOrder)
      .slice(-limits.auditEntriesKept),
  })
  const shelves = { done: shelfOf('done'), refused: shelfOf('refused') }
  const repeats = new Map<string, { timer: Timer; omitted: number; last: AuditEntry }>()
  let seq = found.reduce((highest, entry) => Math.max(highest, entry.seq), 0)

  const write = (entry: AuditEntry, omitted: number): void => {
    const record: AuditRecord = {
      seq: ++seq,
      atMs: clock.wallMs(),
      ...bounded(entry, limits.auditTextLengthMax),
      ...(omitted > 0 && { omitted }),
    }
    const { file, kept } = shelves[entry.outcome]
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
      const room = Math.min(limit, limits.auditEntriesKept)
      const newest = ({ kept }: (typeof shelves)['done']) => kept.filter(({ atMs }) => atMs >= sinceMs).slice(-room)
      const done = newest(shelves.done)
      const refused = newest(shelves.refused)
      const merged = [...done, ...refused].toSorted(inOrder).slice(-room)
      const shown = merged.filter(({ outcome }) => outcome === 'done').length
      const forDone = Math.min(done.length, Math.max(shown, Math.floor(room / 2)))
      const forRefused = room - forDone
      return [...lastOf(done, forDone), ...lastOf(refused, forRefused)].toSorted(inOrder)
    },
    close() {
      for (const { timer, omitted, last } of repeats.values()) {
        timer.cancel()
        if (omitted > 0) write(last, omitted - 1)
      }
      repeats.clear()
      shelves.done.file.close()
      shelves.refused.file.close()
    },
  }
}

const inOrder = (a: AuditRecord, b: AuditRecord): number => a.seq - b.seq

const lastOf = <T>(all: readonly T[], count: number): T[] => all.slice(Math.max(0, all.length - count))

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
      const isKnown = outcome === 'done' || outcome === 'refused'
      const sound = Number.isSafeInteger(seq) && Number.isSafeInteger(atMs) && [action, by].every(isText) && isKnown
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
