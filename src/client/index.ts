/**
 * Room client: the SDK, `godel-node/sdk`. A program of its own that speaks to a node over HTTP and imports nothing heavy.
 *
 * index.ts        what the package offers (this file)
 * client.ts       GodelClient: the node and its peers; realm.ts its realm and others; operator.ts draining, the audit log
 * agents.ts       agents: spawn, list, show, end; exec.ts commands in them; workspace.ts files on their way to them
 * routes.ts       placement decisions, kept and live; failover.ts settings that change while the node runs
 * discover.ts     finding the node and its key
 * http.ts         calls and streams, every failure typed; lines.ts their framing
 * clock.ts        the time of the program that uses it
 */
export { GodelClient, type GodelClientOptions } from './client.ts'
export { AgentsClient } from './agents.ts'
export type { AgentFilter, AgentList, SpawnOptions, WorkspaceOption } from './agents.ts'
export type { ExecOptions, ExecResult } from './exec.ts'
export { RoutesClient } from './routes.ts'
export type { ExplainOptions, FollowOptions, RouteEvent } from './routes.ts'
export type { FailoverTimes } from './failover.ts'
export { FederationClient, RealmClient } from './realm.ts'
export type { AuditOptions, DrainOptions } from './operator.ts'
export { defaultDataDir } from './discover.ts'
export { GodelError, hasCode } from '../base/errors.ts'
export type { ErrorCode, ErrorDetail } from '../base/errors.ts'
export type { Agent, AgentStatus, ExecEvent, Requirements } from '../base/agent.ts'
export type { Decision } from '../base/need.ts'
export type { ForeignRealm, IssuerReport, Pin, RevocationReport } from '../base/federation.ts'
export type { Role, Scope } from '../base/standing.ts'
export type {
  AuditRecord,
  DrainReport,
  Health,
  IdentityReport,
  Invitation,
  InvitationRequest,
  NodeStatusReport,
  PeerReport,
  PinRequest,
  RealmReport,
  Upload,
} from '../base/report.ts'
