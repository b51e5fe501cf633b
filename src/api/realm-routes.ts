/** What an operator changes about the realm: issuers, revocations, the root key, other realms. */
import type { IssuerReport } from '../base/federation.ts'
import { audited } from './audited.ts'
import type { App, RouteDeps } from './routes.ts'
import {
  ForeignRealm,
  ForeignRealms,
  GrantRequest,
  Issuers,
  NodeParams,
  NoBody,
  NoQuery,
  Promotion,
  RealmCard,
  RealmParams,
  RevocationRequest,
  Revocations,
  Roots,
  TrustRequest,
} from './schemas.ts'

export const addRealmRoutes = (app: App, deps: RouteDeps): void => {
  addIssuerRoutes(app, deps)
  addRevocationRoutes(app, deps)
  addRootRoutes(app, deps)
  addForeignRoutes(app, deps)
}

const addIssuerRoutes = (app: App, { services }: RouteDeps): void => {
  const { governance, audit } = services
  const issuers = (): { issuers: IssuerReport[] } => ({ issuers: services.realm()?.issuers ?? [] })

  app.get(
    '/v1/realm/issuers',
    { schema: { summary: 'Who may admit members', querystring: NoQuery, response: { 200: Issuers } } },
    async () => issuers(),
  )

  app.post(
    '/v1/realm/issuers',
    {
      schema: {
        summary: 'Makes a member an issuer',
        description: 'For the roles member and observer, unless told. It takes a root key of the realm on this node.',
        querystring: NoQuery,
        body: Promotion,
        response: { 200: Issuers },
      },
    },
    async ({ body }) => {
      const peer = services.peerOf(body.node)
      const roles = body.roles ?? ['member', 'observer']
      const action = `promote for ${roles.join(', ')}`
      await audited(audit, { action, subject: peer }, () => governance.promote(peer, roles))
      return issuers()
    },
  )

  app.delete(
    '/v1/realm/issuers/:node',
    {
      schema: {
        summary: 'Takes the right to admit members from a node',
        params: NodeParams,
        querystring: NoQuery,
        response: { 200: Issuers },
      },
    },
    async ({ params }) => {
      const peer = services.peerOf(params.node)
      await audited(audit, { action: 'demote', subject: peer }, () => governance.demote(peer))
      return issuers()
    },
  )
}

const addRevocationRoutes = (app: App, { services }: RouteDeps): void => {
  const { governance, audit } = services
  const revocations = () => ({ revocations: governance.revocations() })

  app.get(
    '/v1/realm/revocations',
    { schema: { summary: 'Peers that are put out', querystring: NoQuery, response: { 200: Revocations } } },
    async () => revocations(),
  )

  app.post(
    '/v1/realm/revocations',
    {
      schema: {
        summary: 'Puts a peer out, at once and until lifted',
        querystring: NoQuery,
        body: RevocationRequest,
        response: { 200: Revocations },
      },
    },
    async ({ body: { node, sinceMs } }) => {
      const peer = services.peerOf(node)
      const options = sinceMs === undefined ? {} : { sinceMs }
      await audited(audit, { action: 'revoke', subject: peer }, () => governance.revoke(peer, options))
      return revocations()
    },
  )

  app.delete(
    '/v1/realm/revocations/:node',
    {
      schema: {
        summary: 'Takes a revocation back',
        params: NodeParams,
        querystring: NoQuery,
        response: { 200: Revocations },
      },
    },
    async ({ params }) => {
      const peer = services.peerOf(params.node)
      await audited(audit, { action: 'lift', subject: peer }, () => governance.lift(peer))
      return revocations()
    },
  )
}

const addRootRoutes = (app: App, { services: { governance, audit } }: RouteDeps): void => {
  app.post(
    '/v1/realm/root/rotation',
    {
      schema: {
        summary: 'Puts a new root key in the place of the one of this node',
        querystring: NoQuery,
        body: NoBody,
        response: { 200: Roots },
      },
    },
    () => audited(audit, { action: 'rotate-root' }, () => governance.rotateRoot()),
  )

  app.get(
    '/v1/realm/card',
    {
      schema: {
        summary: 'What the operator of another realm needs to trust this one',
        querystring: NoQuery,
        response: { 200: RealmCard },
      },
    },
    async () => ({ card: await governance.card() }),
  )
}

const addForeignRoutes = (app: App, { services: { governance, audit } }: RouteDeps): void => {
  const realms = () => ({ realms: governance.foreignRealms() })

  app.get(
    '/v1/realm/realms',
    {
      schema: {
        summary: 'The other realms that this one names',
        querystring: NoQuery,
        response: { 200: ForeignRealms },
      },
    },
    async () => realms(),
  )

  app.post(
    '/v1/realm/realms',
    {
      schema: {
        summary: 'Names another realm by its card',
        description: 'Its nodes may show themselves and do nothing more; with out, agents of this realm may go there.',
        querystring: NoQuery,
        body: TrustRequest,
        response: { 200: ForeignRealm },
      },
    },
    ({ body: { card, out = false } }) =>
      audited(audit, { action: out ? 'trust with out' : 'trust' }, () => governance.trust(card.trim(), { out })),
  )

  app.put(
    '/v1/realm/realms/:realm/grant',
    {
      schema: {
        summary: 'What the nodes of another realm may do here',
        params: RealmParams,
        querystring: NoQuery,
        body: GrantRequest,
        response: { 200: ForeignRealm },
      },
    },
    ({ params: { realm }, body }) => {
      const action = `share ${body.scopes.join(', ') || 'nothing'}, ${body.agentsPerNode} agents a node`
      return audited(audit, { action, subject: realm }, () => governance.share(realm, body))
    },
  )

  app.delete(
    '/v1/realm/realms/:realm',
    {
      schema: {
        summary: 'Ends everything with another realm',
        params: RealmParams,
        querystring: NoQuery,
        response: { 200: ForeignRealms },
      },
    },
    async ({ params: { realm } }) => {
      await audited(audit, { action: 'withdraw', subject: realm }, () => governance.withdraw(realm))
      return realms()
    },
  )
}
