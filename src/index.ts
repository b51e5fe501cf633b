/** The package: a node inside a program of one's own. Talking to a node that runs already is `godel-node/sdk`. */
export { startNode, type NodeEvent, type RunningNode } from './node/node.ts'
export type { NodeOptions } from './node/options.ts'
export { GodelError, type ErrorCode, type ErrorDetail } from './base/errors.ts'
