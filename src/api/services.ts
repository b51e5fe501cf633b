/** What the API needs of the node that it speaks for. `node` puts this together; tests hand in a small one of their own. */
import type { Agents } from '../agents/agents.ts'
import type { FailoverChange, FailoverReport } from '../base/failover.ts'
import type {
  Health,
  IdentityReport,
  Invitation,
  InvitationRequest,
  NodeStatusReport,
  PeerReport,
  RealmReport,
} from '../base/report.ts'

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
  agents: AgentServices
  /** The metrics in Prometheus' text format. */
  metrics(): Promise<string>
}
