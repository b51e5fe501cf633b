/**
 * The rooms of `src/`, in rank, and what each may import from. A room that is not here does not exist; a line that is
 * added here is a decision about the shape of the program.
 */
const feature = ['base', 'identity', 'store', 'net', 'mesh', 'routing', 'ownership', 'agents', 'tasks', 'pipelines']

export const mayImport: Readonly<Record<string, readonly string[]>> = {
  base: [],
  identity: ['base'],
  store: ['base'],
  routing: ['base'],
  net: ['base', 'identity'],
  mesh: ['base', 'identity', 'store', 'net'],
  ownership: ['base', 'store', 'net', 'mesh', 'routing'],
  agents: ['base', 'identity', 'store', 'net', 'mesh', 'routing', 'ownership'],
  tasks: ['base', 'identity', 'store', 'net', 'mesh', 'routing', 'ownership', 'agents'],
  pipelines: ['base', 'identity', 'store', 'net', 'mesh', 'routing', 'ownership', 'agents', 'tasks'],
  memory: ['base', 'store', 'net', 'mesh', 'routing', 'ownership'],
  api: [...feature, 'memory'],
  node: [...feature, 'memory', 'api'],
  client: ['base'],
  dashboard: ['client'],
  cli: ['base', 'client'],
}

/** `cli` reaches `node` for one command alone, since whatever imports `node` loads libp2p. */
export const startsTheNode = /^src\/cli\/(?:start|start-options|doctor)\.ts$/

/** Rooms that decide and describe, and touch nothing. */
export const pureRooms = ['base', 'routing']

/** Rooms that may read the time and start timers; the rest are handed a clock. */
export const timedRooms = ['node', 'cli']

/** The one file beside them: a program that uses the SDK has no node that could hand it a clock. */
export const clockOfTheSdk = 'src/client/clock.ts'

/** Rooms that may put work off to the end of the tick, to gather it. */
export const batchingRooms = ['net', 'store', 'api', ...timedRooms]

export const linesMax = 400
export const mapLines = { min: 5, max: 15 }
