/**
 * Descriptors that the node was started with and that would be handed on to every command: terminals and supervisors
 * leave some open. A directory among them would be a way out of any sandbox.
 */
import { openSync, readdirSync, readFileSync } from 'node:fs'

export interface HandedDown {
  descriptor: number
  /** An open /dev/null to put in its place. */
  nothing: number
}

const closeOnExec = 0o2000000 // O_CLOEXEC as in proc_pid_fdinfo(5)

let found: HandedDown[] | undefined

/** Looked for once: what a node opens itself is closed on exec. */
export const handedDown = (): readonly HandedDown[] => {
  found ??= findOpen()
  return found
}

const findOpen = (): HandedDown[] => {
  let names: string[]
  try {
    names = readdirSync('/proc/self/fdinfo')
  } catch {
    return []
  }
  const open = names.map(Number).filter((descriptor) => descriptor > 2 && isHandedOn(descriptor))
  if (open.length === 0) return []
  const nothing = openSync('/dev/null', 'r+')
  return open.map((descriptor) => ({ descriptor, nothing }))
}

const isHandedOn = (descriptor: number): boolean => {
  try {
    const flags = /^flags:\s*(\d+)/m.exec(readFileSync(`/proc/self/fdinfo/${descriptor}`, 'latin1'))?.[1] ?? '0'
    return (Number.parseInt(flags, 8) & closeOnExec) === 0
  } catch {
    return false
  }
}
