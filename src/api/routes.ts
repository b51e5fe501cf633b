/** What every group of routes is given. */
import type { TypeBoxTypeProvider } from '@fastify/type-provider-typebox'
import type {
  FastifyBaseLogger,
  FastifyInstance,
  RawReplyDefaultExpression,
  RawRequestDefaultExpression,
  RawServerDefault,
} from 'fastify'
import type { Clock } from '../base/clock.ts'
import type { Limits } from '../base/limits.ts'
import type { ExecInputs } from './exec-inputs.ts'
import type { NodeServices } from './services.ts'
import type { Streams } from './streams.ts'
import type { BodyDeadlines } from './body.ts'

declare module 'fastify' {
  interface FastifyContextConfig {
    /** Answered without the API key. */
    open?: boolean
  }
  interface FastifySchema {
    /** The type of a body of bytes, for the document. */
    'x-consumes'?: string
  }
}

export type App = FastifyInstance<
  RawServerDefault,
  RawRequestDefaultExpression,
  RawReplyDefaultExpression,
  FastifyBaseLogger,
  TypeBoxTypeProvider
>

export interface RouteDeps {
  services: NodeServices
  clock: Clock
  limits: Limits
  streams: Streams
  inputs: ExecInputs
  deadlines: BodyDeadlines
}
