/** What the API needs of the node that it speaks for. `node` puts this together; tests hand in a small one of their own. */
import type { Agents } from '../agents/agents.ts'
import type { Audit } from '../base/audit.ts'
import type { FailoverChange, FailoverReport } from '../base/failover.ts'
import type {
  AuditRecord,
  DrainReport,
  Health,
  IdentityReport,
  Invitation,
  InvitationRequest,
  NodeStatusReport,
  PeerReport,
  RealmReport,
} from '../base/report.ts'
import type { Governance } from '../mesh/governance.ts'
import type { Pins } from '../mesh/pins.ts'

/** The part of the agents room that is offered over HTTP. */
export type AgentServices = Pick<
  Agents,
  'spawn' | 'list' | 'get' | 'kill' | 'exec' | 'receiveUpload' | 'explain' | 'decisions'
>

/** What an invitation grants, with every default filled in. */
export interface InvitationOrder {
  uses: number
  ttlMs: number
  role: NonNullable<InvitationRequest['role']>
}

export interface NodeServices {
  health(): Health
  identity(): IdentityReport
  node(): NodeStatusReport
  peers(): PeerReport[]
  /** Undefined on a node without a realm. */
  realm(): RealmReport | undefined
  /** FORBIDDEN when this node may not invite. */
  invite(order: InvitationOrder): Promise<Invitation>
  /** The detector's settings; `configure` throws INVALID_ARGUMENT, FORBIDDEN. */
  failover: {
    report(): FailoverReport
    configure(change: FailoverChange): Promise<FailoverReport>
  }
  /** The PeerId of a node that is named by its name or PeerId. NOT_FOUND, CONFLICT where two have the name. */
  peerOf(node: string): string
  governance: Governance
  pins: Pins
  drain: {
    /** Durable when it resolves. */
    set(draining: boolean): Promise<void>
    report(): DrainReport
  }
  audit: Audit & {
    /** The newest entries of then or later, oldest first. */
    read(query: { limit: number; sinceMs?: number | undefined }): AuditRecord[]
  }
  agents: AgentServices
  /** The metrics in Prometheus' text format. */
  metrics(): Promise<string>
}
