/** Every code of an error: the fields that it carries, its HTTP status, what it says and what to do next. */
/** The fields that each code carries. Everything here must survive JSON and msgpack. */
export interface ErrorFields {
  // Requests and data that are wrong in themselves.
  INVALID_ARGUMENT: { field: string; reason: string }
  INVALID_MESSAGE: { what: string; reason: string }
  TOO_LARGE: { what: string; bytes: number; limitBytes: number }
  UNSUPPORTED: { what: string; reason: string }
  NOT_FOUND: { what: string; id: string }
  CONFLICT: { what: string; reason: string }
  // Time, load, connection.
  CANCELLED: { what: string }
  DEADLINE_EXCEEDED: { what: string; afterMs: number }
  QUEUE_FULL: { what: string; limit: number }
  PEER_UNREACHABLE: { peer: string; reason: string }
  STREAM_LOST: { peer: string; reason: string }
  METHOD_UNKNOWN: { method: string; peer: string }
  REMOTE_ERROR: { peer: string; remoteCode: string; remoteMessage: string }
  NODE_STOPPING: { node: string }
  NODE_UNREACHABLE: { url: string; reason: string }
  // Calls over HTTP.
  MEDIA_TYPE_REFUSED: { mediaType: string; accepted: string }
  HOST_REFUSED: { header: string; expected: string }
  PORT_IN_USE: { port: number }
  // Identity and trust.
  UNAUTHENTICATED: { reason: string }
  FORBIDDEN: { action: string; reason: string }
  NOT_A_MEMBER: { peer: string; reason: string }
  DUPLICATE_IDENTITY: { peer: string; incarnation: number }
  REALM_REQUIRED: { action: string }
  QUOTA_EXCEEDED: { what: string; limit: number }
  RATE_LIMITED: { what: string; retryAfterMs: number }
  DRAINING: { node: string }
  CERTIFICATE_INVALID: { peer: string; reason: string }
  TOKEN_INVALID: { reason: string }
  TOKEN_EXPIRED: { expiredAt: number }
  TOKEN_USED_UP: { uses: number }
  JOIN_REQUIRED: { seed: string }
  REALM_MISMATCH: { expected: string; actual: string }
  REALM_DOCUMENT_INVALID: { reason: string }
  SEED_UNREACHABLE: { seeds: string[]; reason: string }
  KEY_FILE_INSECURE: { path: string; mode: string }
  KEY_FILE_INVALID: { path: string; reason: string }
  // Store and data directory.
  STORE_CORRUPT: { path: string; reason: string }
  STORE_TOO_NEW: { path: string; version: number; supported: number }
  STORE_FAILED: { path: string; reason: string }
  DATA_DIR_LOCKED: { path: string; pid: number }
  // Placement and agents.
  NO_CANDIDATE: { need: string; considered: RejectedCandidate[]; attempts: number }
  SPAWN_IN_DOUBT: { agent: string; node: string }
  AT_CAPACITY: { node: string; running: number; capacity: number }
  UNFIT: { node: string; reasons: string[] }
  RESERVATION_EXPIRED: { reservation: string }
  AGENT_NOT_FOUND: { agent: string }
  AGENT_NOT_RUNNING: { agent: string; status: string }
  AGENT_LOST: { agent: string; host: string }
  STALE_EPOCH: { agent: string; epoch: number; current: number }
  WORKSPACE_FAILED: { reason: string }
  EXEC_NOT_FOUND: { exec: string }
  EXEC_FAILED: { command: string; reason: string }
  SANDBOX_FAILED: { reason: string }
  INTERNAL: { reason: string }
}

/** Why one candidate of a placement was not taken. `node` is its name, `reasons` are codes with their words. */
export interface RejectedCandidate {
  node: string
  peer: string
  reasons: string[]
}

export type ErrorCode = keyof ErrorFields
export type ErrorDetail = { [C in ErrorCode]: { code: C } & ErrorFields[C] }[ErrorCode]

/** How one code is told. */
export interface ErrorEntry<F> {
  http: number
  what: (fields: F) => string
  next: string | ((fields: F) => string)
}

/** Where a node was named, only what stands against that one is told. */
const listCandidates = (considered: RejectedCandidate[]): string => {
  const named = considered.filter(({ reasons }) => !reasons.includes('not the named node'))
  if (considered.length === 0) return 'this node knows of no candidate'
  if (named.length === 0) return 'no node of that name is known here'
  return named.map((c) => `${c.node}: ${c.reasons.join(', ')}`).join('; ')
}

/** The words and the status of each code. */
export const errorTable: { [C in ErrorCode]: ErrorEntry<ErrorFields[C]> } = {
  INVALID_ARGUMENT: {
    http: 400,
    what: (f) => `${f.field} ${f.reason}`,
    next: 'Correct it and try again; --help shows what is taken.',
  },
  INVALID_MESSAGE: {
    http: 400,
    what: (f) => `${f.what} is malformed: ${f.reason}`,
    next: 'Check that both sides run compatible versions.',
  },
  TOO_LARGE: {
    http: 413,
    what: (f) => `${f.what} is ${f.bytes} bytes, and at most ${f.limitBytes} are taken`,
    next: 'Send less at a time.',
  },
  UNSUPPORTED: {
    http: 501,
    what: (f) => `${f.what} is not supported here: ${f.reason}`,
    next: 'godel-node doctor shows what this host can do.',
  },
  NOT_FOUND: {
    http: 404,
    what: (f) => `there is no ${f.what} ${f.id}`,
    next: (f) => `List what there is and check the name of the ${f.what}.`,
  },
  CONFLICT: {
    http: 409,
    what: (f) => `${f.what} conflicts: ${f.reason}`,
    next: 'Look at the current state and decide again.',
  },
  CANCELLED: { http: 499, what: (f) => `${f.what} was cancelled`, next: 'Start it again if that was not meant.' },
  DEADLINE_EXCEEDED: {
    http: 504,
    what: (f) => `${f.what} did not finish within ${f.afterMs} ms`,
    next: 'Check the peer with "godel-node peers", or allow more time.',
  },
  QUEUE_FULL: {
    http: 429,
    what: (f) => `${f.what} is full (${f.limit})`,
    next: 'Wait until some of it is done, and try again.',
  },
  PEER_UNREACHABLE: {
    http: 503,
    what: (f) => `peer ${f.peer} cannot be reached: ${f.reason}`,
    next: 'See "godel-node peers"; the node goes on trying by itself.',
  },
  STREAM_LOST: {
    http: 502,
    what: (f) => `the connection to ${f.peer} was lost: ${f.reason}`,
    next: 'Whether the call took effect is not known; ask for its state before repeating it.',
  },
  METHOD_UNKNOWN: {
    http: 501,
    what: (f) => `peer ${f.peer} does not know the method ${f.method}`,
    next: 'It runs an older version: upgrade it.',
  },
  REMOTE_ERROR: {
    http: 502,
    what: (f) => `peer ${f.peer} answered ${f.remoteCode}: ${f.remoteMessage}`,
    next: 'It runs another version than this node: upgrade the older of the two.',
  },
  NODE_STOPPING: { http: 503, what: (f) => `node ${f.node} is stopping`, next: 'Use another node, or start it again.' },
  NODE_UNREACHABLE: {
    http: 503,
    what: (f) => `no node answers at ${f.url}: ${f.reason}`,
    next: 'Start one with "godel-node start --realm NAME", or name its directory with --data-dir.',
  },
  MEDIA_TYPE_REFUSED: {
    http: 415,
    what: (f) => `a body of type ${f.mediaType} is not taken here`,
    next: (f) => `Send it as ${f.accepted}.`,
  },
  HOST_REFUSED: {
    http: 403,
    what: (f) => `the request names another ${f.header} than this node`,
    next: (f) => `Call the API at its own address, ${f.expected}.`,
  },
  PORT_IN_USE: {
    http: 409,
    what: (f) => `port ${f.port} is in use by another program`,
    next: 'Stop that program, or choose another port with --api-port; --api-port 0 takes a free one.',
  },
  UNAUTHENTICATED: {
    http: 401,
    what: (f) => `the call is not authenticated: ${f.reason}`,
    next: 'Send the key from the file api.key of the data directory, or set GODEL_API_KEY.',
  },
  FORBIDDEN: {
    http: 403,
    what: (f) => `${f.action} is not allowed: ${f.reason}`,
    next: 'Ask an admin of the realm.',
  },
  DUPLICATE_IDENTITY: {
    http: 409,
    what: (f) =>
      `another node speaks with the identity of this one (${f.peer}, incarnation ${f.incarnation}, which this node never wrote)`,
    next: 'A data directory has been copied. Stop one of the two; on the copy remove the data directory and join again.',
  },
  REALM_REQUIRED: {
    http: 409,
    what: (f) => `${f.action} takes a realm, and this node is in none`,
    next: 'Start it with --realm NAME to found one, or with --join TOKEN to join one.',
  },
  QUOTA_EXCEEDED: {
    http: 429,
    what: (f) => `${f.what} would exceed its quota of ${f.limit}`,
    next: 'End something first, or ask for a larger grant.',
  },
  RATE_LIMITED: {
    http: 429,
    what: (f) => `${f.what} came faster than is taken`,
    next: (f) => `Try again in ${f.retryAfterMs} ms.`,
  },
  DRAINING: {
    http: 503,
    what: (f) => `node ${f.node} is draining and takes nothing new`,
    next: 'Use another node, or end it there with "godel-node undrain".',
  },
  NOT_A_MEMBER: {
    http: 403,
    what: (f) => `peer ${f.peer} is not a member of the realm: ${f.reason}`,
    next: 'It joins with a token from "godel-node realm invite".',
  },
  CERTIFICATE_INVALID: {
    http: 403,
    what: (f) => `the certificate of ${f.peer} does not hold: ${f.reason}`,
    next: (f) =>
      `It joins again with a new token from "godel-node realm invite". Where it was revoked, an issuer lets it in first with "godel-node realm lift ${f.peer}".`,
  },
  TOKEN_INVALID: {
    http: 400,
    what: (f) => `the join token is not valid: ${f.reason}`,
    next: 'Make one with "godel-node realm invite" on a member of the realm, and pass the whole line.',
  },
  TOKEN_EXPIRED: {
    http: 403,
    what: (f) => `the join token expired at ${new Date(f.expiredAt).toISOString()}`,
    next: 'Make a new one with "godel-node realm invite".',
  },
  TOKEN_USED_UP: {
    http: 403,
    what: (f) => `the join token has been used ${f.uses} times, which is all it allows`,
    next: 'Make a new one with "godel-node realm invite", with --uses N for several hosts.',
  },
  JOIN_REQUIRED: {
    http: 403,
    what: (f) => `this node has no realm yet, and ${f.seed} admits members only`,
    next: 'Get a token with "godel-node realm invite" on a member, and start with --join TOKEN.',
  },
  REALM_MISMATCH: {
    http: 409,
    what: (f) => `this is realm ${f.actual}, not ${f.expected}`,
    next: 'Use the data directory of that realm (--data-dir), or a token of this one.',
  },
  REALM_DOCUMENT_INVALID: {
    http: 400,
    what: (f) => `the realm document does not hold: ${f.reason}`,
    next: 'Join again with a token from a node that you trust.',
  },
  SEED_UNREACHABLE: {
    http: 503,
    what: (f) => `none of the seeds ${f.seeds.join(', ')} could be reached: ${f.reason}`,
    next: 'Check that the inviting node runs and that its port can be reached from here.',
  },
  KEY_FILE_INSECURE: {
    http: 500,
    what: (f) => `${f.path} can be read by others (mode ${f.mode})`,
    next: 'Run chmod 600 on it, and consider the key as known to others.',
  },
  KEY_FILE_INVALID: {
    http: 500,
    what: (f) => `${f.path} cannot be used as a key: ${f.reason}`,
    next: 'Restore it from a copy; without one, start with a fresh --data-dir and join again.',
  },
  STORE_CORRUPT: {
    http: 500,
    what: (f) => `the store ${f.path} is damaged: ${f.reason}`,
    next: 'Move it away and restore a copy, or start with a fresh --data-dir and join again.',
  },
  STORE_TOO_NEW: {
    http: 500,
    what: (f) => `the store ${f.path} has version ${f.version}, and this program knows ${f.supported}`,
    next: 'Start it with the newer program that wrote it.',
  },
  STORE_FAILED: {
    http: 507,
    what: (f) => `the store ${f.path} could not be written: ${f.reason}`,
    next: 'Check free space and the disk, then start the node again.',
  },
  DATA_DIR_LOCKED: {
    http: 409,
    what: (f) => `${f.path} is in use by the node with process id ${f.pid}`,
    next: 'Stop that node, or choose another --data-dir.',
  },
  NO_CANDIDATE: {
    http: 409,
    what: (f) => `no node can take ${f.need} (${listCandidates(f.considered)})`,
    next: 'Free a slot, add a node that has what is missing, or ask for less; "godel-node why-not NODE" tells more.',
  },
  SPAWN_IN_DOUBT: {
    http: 504,
    what: (f) => `whether ${f.node} has started agent ${f.agent} is not known, since its answer was lost`,
    next: 'Repeat the spawn with the same id, or see "godel-node agent show" once the node can be reached again.',
  },
  AT_CAPACITY: {
    http: 409,
    what: (f) => `${f.node} is full: ${f.running} of ${f.capacity} slots are taken`,
    next: 'Kill an agent there or start it with a larger --capacity.',
  },
  UNFIT: {
    http: 409,
    what: (f) => `${f.node} cannot take it: ${f.reasons.join(', ')}`,
    next: 'Choose another node, or start that one with what is missing.',
  },
  RESERVATION_EXPIRED: {
    http: 409,
    what: (f) => `the reservation ${f.reservation} is not held any more`,
    next: 'Reserve again.',
  },
  AGENT_NOT_FOUND: {
    http: 404,
    what: (f) => `there is no agent ${f.agent} in the realm`,
    next: '"godel-node agent list" shows those that there are.',
  },
  AGENT_NOT_RUNNING: {
    http: 409,
    what: (f) => `agent ${f.agent} is ${f.status}`,
    next: 'Spawn a new one.',
  },
  AGENT_LOST: {
    http: 503,
    what: (f) => `agent ${f.agent} is on ${f.host}, which does not answer`,
    next: 'It comes back when its host does.',
  },
  STALE_EPOCH: {
    http: 409,
    what: (f) => `agent ${f.agent} is at epoch ${f.current}, and ${f.epoch} is over`,
    next: 'Look the agent up again.',
  },
  WORKSPACE_FAILED: {
    http: 422,
    what: (f) => `the workspace could not be prepared: ${f.reason}`,
    next: 'Check the directory or the URL given with --workspace.',
  },
  EXEC_NOT_FOUND: { http: 404, what: (f) => `there is no exec ${f.exec}`, next: 'It may have ended already.' },
  EXEC_FAILED: {
    http: 422,
    what: (f) => `${f.command} could not be started: ${f.reason}`,
    next: 'Check the command and its directory on the host of the agent.',
  },
  SANDBOX_FAILED: {
    http: 500,
    what: (f) => `the sandbox could not be set up: ${f.reason}`,
    next: 'Run "godel-node doctor" on that host.',
  },
  INTERNAL: {
    http: 500,
    what: (f) => `something went wrong inside the node: ${f.reason}`,
    next: 'This is a defect; the node log has the details.',
  },
}
