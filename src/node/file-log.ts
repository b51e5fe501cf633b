/** The node's log: JSON lines in its data directory, bounded to the current file and the one before it. */
import { existsSync, renameSync, statSync } from 'node:fs'
import { pino, type Logger } from 'pino'
import { every, type Clock } from '../base/clock.ts'
import type { Limits } from '../base/limits.ts'
import type { Log } from '../base/log.ts'

/** What is still said once the file is closed, by something that was under way, is dropped: pino would throw. */
const overPino = (logger: Logger, isOpen: () => boolean): Log => ({
  debug: (message, fields) => void (isOpen() && logger.debug(fields ?? {}, message)),
  info: (message, fields) => void (isOpen() && logger.info(fields ?? {}, message)),
  warn: (message, fields) => void (isOpen() && logger.warn(fields ?? {}, message)),
  error: (message, fields) => void (isOpen() && logger.error(fields ?? {}, message)),
  child: (fields) => overPino(logger.child(fields), isOpen),
})

/** Opens the log at `path` (mode 0600); a full file becomes `path.1`. `level` is debug, info, warn or error. */
export const openFileLog = (
  { clock, limits }: { clock: Clock; limits: Pick<Limits, 'logFileBytesMax' | 'logRotateIntervalMs'> },
  { path, level }: { path: string; level: string },
): { log: Log; close: () => void } => {
  const rotate = (): boolean => {
    if (!existsSync(path) || statSync(path).size < limits.logFileBytesMax) return false
    renameSync(path, `${path}.1`)
    return true
  }
  rotate()
  const destination = pino.destination({ dest: path, sync: true, mode: 0o600 })
  let isOpen = true
  const logger = pino({ level, base: null, timestamp: pino.stdTimeFunctions.isoTime }, destination)
  const log = overPino(logger, () => isOpen)
  const rotation = every(
    clock,
    () => limits.logRotateIntervalMs,
    () => void (rotate() && destination.reopen()),
    (error) => log.error('the log cannot be rotated', { error: String(error) }),
  )
  return {
    log,
    close: () => {
      isOpen = false
      rotation.stop()
      destination.end()
    },
  }
}
