/** What the node and its watchdog say to each other: one JSON document a line, over the watchdog's stdin and stdout. */
import { limits } from '../base/limits.ts'
import type { TreeRoot } from './processes.ts'

/** The environment variables that mark every process of an agent. Children inherit them. */
export const nodeVariable = 'GODEL_NODE'
export const agentVariable = 'GODEL_AGENT'
export const execVariable = 'GODEL_EXEC'

/** What the watchdog is told first. */
export interface WatchdogOptions {
  nodeMark: string
  rounds: number
  pauseMs: number
}

/** Which trees to end: those of one agent or exec of this node, or everything that an earlier node left behind. */
export interface EndScope {
  node: string
  agent?: string
  exec?: string
}

export type ToWatchdog =
  | ({ type: 'options' } & WatchdogOptions)
  | { type: 'started'; agent: string; exec: string; root: TreeRoot }
  | { type: 'ended'; exec: string }
  | { type: 'end'; id: number; scope: EndScope }

/** `left` counts the processes that could not be ended. */
export type FromWatchdog = { type: 'ready' } | { type: 'done'; id: number; left: number }

/** Splits a stream of text into lines, without bound on their number; a line that is too long is dropped. */
export const createLines = (onLine: (line: string) => void): ((text: string) => void) => {
  let rest = ''
  return (text) => {
    const lines = (rest + text).split('\n')
    rest = lines.pop() ?? ''
    if (rest.length > limits.watchdogLineLengthMax) rest = ''
    for (const line of lines) if (line !== '') onLine(line)
  }
}
