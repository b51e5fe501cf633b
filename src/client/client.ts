/** The client of one node. It holds no connection and needs no closing. */
import type { Clock } from '../base/clock.ts'
import { limits as defaultLimits, type Limits } from '../base/limits.ts'
import type { AuditRecord, DrainReport, Health, IdentityReport, NodeStatusReport, PeerReport } from '../base/report.ts'
import type { FailoverChange, FailoverReport } from '../base/failover.ts'
import { AgentsClient } from './agents.ts'
import { systemClock } from './clock.ts'
import { discover, type Hints } from './discover.ts'
import { changeOf, type FailoverTimes } from './failover.ts'
import { createHttp, type Http } from './http.ts'
import { drainNode, followAudit, readAudit, type AuditOptions, type DrainOptions } from './operator.ts'
import { FederationClient, RealmClient } from './realm.ts'
import { RoutesClient } from './routes.ts'

export interface GodelClientOptions extends Hints {
  clock?: Clock
  limits?: Limits
}

/**
 * Speaks to a node: the one at `url`, the one of `dataDir`, the one that GODEL_URL and GODEL_API_KEY name, or the one of this
 * user's default data directory, in this order. It is looked for at the first call.
 */
export class GodelClient {
  readonly agents: AgentsClient
  readonly routes: RoutesClient
  readonly peers: { list(): Promise<PeerReport[]> }
  readonly realm: RealmClient
  readonly federation: FederationClient
  readonly audit: {
    /** The newest entries of the audit log, oldest first. */
    list(options?: AuditOptions): Promise<AuditRecord[]>
    /** The newest, and then those that come. */
    follow(options?: AuditOptions & { signal?: AbortSignal }): AsyncGenerator<AuditRecord>
  }
  readonly #http: Http

  constructor(options: GodelClientOptions = {}) {
    const { clock = systemClock, limits = defaultLimits, ...hints } = options
    const http = createHttp({ clock, limits, find: () => discover(hints) })
    this.#http = http
    this.agents = new AgentsClient(http)
    this.routes = new RoutesClient(http)
    this.peers = { list: async () => (await http.call<{ peers: PeerReport[] }>('GET', '/v1/peers')).peers }
    this.realm = new RealmClient(http)
    this.federation = new FederationClient(http)
    this.audit = {
      list: (options) => readAudit(http, options),
      follow: (options) => followAudit(http, options),
    }
  }

  /** A client whose node has been found and has answered. NODE_UNREACHABLE. */
  static async connect(options: GodelClientOptions = {}): Promise<GodelClient> {
    const client = new GodelClient(options)
    await client.health()
    return client
  }

  /** The address of the node. */
  url(): Promise<string> {
    return this.#http.url()
  }

  /** Whether the node lives and takes work; a node that does not take any answers too. */
  health(): Promise<Health> {
    return this.#http.ask('/v1/health')
  }

  identity(): Promise<IdentityReport> {
    return this.#http.call('GET', '/v1/identity')
  }

  /** The state of the node. */
  node(): Promise<NodeStatusReport> {
    return this.#http.call('GET', '/v1/node')
  }

  /** When a peer counts as gone and as back. */
  failover(): Promise<FailoverReport> {
    return this.#http.call('GET', '/v1/settings/failover')
  }

  /**
   * Changes settings of the running node, or of its whole realm where a root key of it is there. Times are milliseconds or such
   * as `1s`. INVALID_ARGUMENT; FORBIDDEN for the scope `realm` without a root key.
   */
  async configure({ failover }: { failover: FailoverTimes }): Promise<FailoverReport> {
    const body: FailoverChange = changeOf(failover)
    return this.#http.call('PUT', '/v1/settings/failover', { body })
  }

  /** Takes nothing new there, and waits until nothing runs; see operator.ts. DEADLINE_EXCEEDED. */
  drain(options?: DrainOptions): Promise<DrainReport> {
    return drainNode(this.#http, options)
  }

  /** Lets the node take agents again. */
  undrain(): Promise<DrainReport> {
    return this.#http.call('DELETE', '/v1/node/drain')
  }

  /** The metrics of the node in Prometheus' text format. */
  metrics(): Promise<string> {
    return this.#http.text('/metrics')
  }
}
