/** The realm from a program: who is in, who is out, other realms; and the nodes that this one has pinned. */
import type { ForeignRealm, IssuerReport, Pin, RevocationReport } from '../base/federation.ts'
import type { Invitation, InvitationRequest, PinRequest, RealmReport } from '../base/report.ts'
import type { Role, Scope } from '../base/standing.ts'
import type { Http } from './http.ts'

/** `node` is a name or a PeerId everywhere, `realm` the name or the id of another realm. */
export class RealmClient {
  readonly #http: Http

  constructor(http: Http) {
    this.#http = http
  }

  /** NOT_FOUND on a node without a realm. */
  show(): Promise<RealmReport> {
    return this.#http.call('GET', '/v1/realm')
  }

  /** A join token; FORBIDDEN where this node may not invite. */
  invite(request: InvitationRequest = {}): Promise<Invitation> {
    return this.#http.call('POST', '/v1/realm/invitations', { body: request })
  }

  /** Makes a member an issuer, for members and observers unless told. FORBIDDEN without a root key, NOT_FOUND. */
  async promote(node: string, { roles }: { roles?: Role[] } = {}): Promise<IssuerReport[]> {
    const body = { node, ...(roles && { roles }) }
    return (await this.#http.call<{ issuers: IssuerReport[] }>('POST', '/v1/realm/issuers', { body })).issuers
  }

  async demote(node: string): Promise<IssuerReport[]> {
    const path = `/v1/realm/issuers/${encodeURIComponent(node)}`
    return (await this.#http.call<{ issuers: IssuerReport[] }>('DELETE', path)).issuers
  }

  /** Puts a peer out, at once and until lifted. FORBIDDEN where this node is no issuer, CONFLICT for itself. */
  async revoke(node: string, { sinceMs }: { sinceMs?: number } = {}): Promise<RevocationReport[]> {
    const body = { node, ...(sinceMs !== undefined && { sinceMs }) }
    return (await this.#http.call<Revocations>('POST', '/v1/realm/revocations', { body })).revocations
  }

  /** Takes a revocation back. NOT_FOUND, FORBIDDEN. */
  async lift(node: string): Promise<RevocationReport[]> {
    const path = `/v1/realm/revocations/${encodeURIComponent(node)}`
    return (await this.#http.call<Revocations>('DELETE', path)).revocations
  }

  async revocations(): Promise<RevocationReport[]> {
    return (await this.#http.call<Revocations>('GET', '/v1/realm/revocations')).revocations
  }

  /** A new root key in the place of the node's; gives the roots from then on, in base64url. FORBIDDEN without one. */
  rotateRoot(): Promise<{ roots: string[] }> {
    return this.#http.call('POST', '/v1/realm/root/rotation', { body: {} })
  }

  /** `GDR1.…`: what the operator of another realm needs to trust this one. No secret. */
  async card(): Promise<string> {
    return (await this.#http.call<{ card: string }>('GET', '/v1/realm/card')).card
  }

  /** Names another realm by its card; `out` lets agents of this realm go there. */
  trust(card: string, { out = false }: { out?: boolean } = {}): Promise<ForeignRealm> {
    return this.#http.call('POST', '/v1/realm/realms', { body: { card, out } })
  }

  /** What the nodes of a named realm may do here, in the place of what they might before. NOT_FOUND. */
  share(realm: string, { scopes, agentsPerNode }: { scopes: Scope[]; agentsPerNode?: number }): Promise<ForeignRealm> {
    const body = { scopes, agentsPerNode: agentsPerNode ?? this.#http.limits.guestAgentsPerNode }
    return this.#http.call('PUT', `/v1/realm/realms/${encodeURIComponent(realm)}/grant`, { body })
  }

  /** Ends everything with a realm: its grant and its name. NOT_FOUND. */
  async withdraw(realm: string): Promise<ForeignRealm[]> {
    const path = `/v1/realm/realms/${encodeURIComponent(realm)}`
    return (await this.#http.call<{ realms: ForeignRealm[] }>('DELETE', path)).realms
  }

  /** The other realms that this one names. */
  async realms(): Promise<ForeignRealm[]> {
    return (await this.#http.call<{ realms: ForeignRealm[] }>('GET', '/v1/realm/realms')).realms
  }
}

type Revocations = { revocations: RevocationReport[] }

/** Nodes that are pinned by their PeerId on both sides, across realms or without any. */
export class FederationClient {
  readonly #http: Http

  constructor(http: Http) {
    this.#http = http
  }

  /** Pins a node, or changes a pin. Without scopes it may do nothing here. INVALID_ARGUMENT for the node itself. */
  register(pin: PinRequest): Promise<Pin> {
    return this.#http.call('POST', '/v1/federation/peers', { body: pin })
  }

  /** Ends a pin and what goes on by it. NOT_FOUND. */
  async unregister(peer: string): Promise<Pin[]> {
    const path = `/v1/federation/peers/${encodeURIComponent(peer)}`
    return (await this.#http.call<{ peers: Pin[] }>('DELETE', path)).peers
  }

  async list(): Promise<Pin[]> {
    return (await this.#http.call<{ peers: Pin[] }>('GET', '/v1/federation/peers')).peers
  }
}
