/** The files of a data directory. */
import { join } from 'node:path'

/** Where each file of a node is. Keys and the API's address are readable by the node's user alone. */
export const pathsIn = (dataDir: string) => ({
  nodeKey: join(dataDir, 'node.key'),
  rootKey: join(dataDir, 'root.key'),
  apiKey: join(dataDir, 'api.key'),
  apiAddress: join(dataDir, 'api.json'),
  apiSocket: join(dataDir, 'api.sock'),
  store: join(dataDir, 'store.db'),
  log: join(dataDir, 'node.log'),
  audit: join(dataDir, 'audit.log'),
  auditRefused: join(dataDir, 'audit-refused.log'),
})
