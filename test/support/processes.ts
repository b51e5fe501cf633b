/** Counting processes by a mark in their command line or environment, through /proc. */
import { readdirSync, readFileSync } from 'node:fs'

const read = (pid: string, file: string): string => {
  try {
    return readFileSync(`/proc/${pid}/${file}`, 'latin1')
  } catch {
    return ''
  }
}

const isZombie = (pid: string): boolean => /^\d+ \(.*\) Z /s.test(read(pid, 'stat'))

/** Living processes whose command line or environment holds `mark`, this one left out. */
export const processesWith = (mark: string): number[] =>
  readdirSync('/proc')
    .filter((pid) => /^\d+$/.test(pid) && Number(pid) !== process.pid && !isZombie(pid))
    .filter((pid) => read(pid, 'cmdline').includes(mark) || read(pid, 'environ').includes(mark))
    .map(Number)
