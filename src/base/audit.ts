/** The port for what an operator must be able to read up later: privileged acts, and refusals of peers and clients. */

export interface AuditEntry {
  /** What was done or tried, as a verb phrase: `revoke a peer`, `call agent.kill`. */
  readonly action: string
  /** The PeerId that did it; `api` for a client of this node's own API. */
  readonly by: string
  /** Whom or what it concerned: a PeerId, an agent, a realm. */
  readonly subject?: string
  readonly outcome: 'done' | 'refused'
  /** Of a refusal: the code of the error and its words. Never a secret. */
  readonly reason?: string
}

export interface Audit {
  /** Writes an entry down, with the time. Never throws and never waits. */
  record(entry: AuditEntry): void
}

/** Keeps nothing. */
export const silentAudit: Audit = { record() {} }
