/** Placement decisions from a program: the kept ones, the coming ones, and what one would be now. */
import { sleep } from '../base/clock.ts'
import { hasCode } from '../base/errors.ts'
import type { Requirements } from '../base/agent.ts'
import type { Decision } from '../base/need.ts'
import { linkSignal, type Http } from './http.ts'
import { eventsOf, linesOf } from './lines.ts'

/** `gap`: decisions after the named one were made and are not kept any more. */
export type RouteEvent = { type: 'decision'; decision: Decision } | { type: 'gap'; after: string }

export interface FollowOptions {
  signal?: AbortSignal
  /** The request id of the last decision that was seen; what came after it is sent first. */
  after?: string
}

/** The parts of a spawn that decide where it goes. */
export interface ExplainOptions {
  runtime?: string
  model?: string
  role?: string
  labels?: Record<string, string>
  requirements?: Requirements
}

export class RoutesClient {
  readonly #http: Http

  constructor(http: Http) {
    this.#http = http
  }

  /** The newest first. */
  async list({ limit }: { limit?: number } = {}): Promise<Decision[]> {
    const query = limit === undefined ? '' : `?limit=${limit}`
    const { decisions } = await this.#http.call<{ decisions: Decision[] }>('GET', `/v1/routes${query}`)
    return decisions
  }

  /** Where a spawn would go now, and what keeps it from the rest; nothing is placed. */
  explain(request: ExplainOptions = {}): Promise<Decision> {
    return this.#http.call('POST', '/v1/routes/explain', { body: request })
  }

  /** Decisions as they are made. A broken stream is taken up where it was, until the node stays away. */
  async *follow(options: FollowOptions = {}): AsyncGenerator<RouteEvent> {
    const { clock, limits } = this.#http
    const link = linkSignal(options.signal, 'the stream')
    let after = options.after
    let failures = 0
    try {
      for (;;) {
        try {
          for await (const event of this.#events(after, link.signal)) {
            failures = 0
            if (event.type === 'decision') after = event.decision.requestId
            yield event
          }
        } catch (error) {
          if (link.signal.aborted && options.signal?.aborted) return
          const broken = hasCode(error, 'STREAM_LOST', 'NODE_UNREACHABLE', 'NODE_STOPPING')
          if (!broken || failures >= limits.clientAttemptsMax) throw error
        }
        await sleep(clock, limits.clientRetryMs * 2 ** failures++, link.signal)
      }
    } finally {
      link.release()
      link.abort()
    }
  }

  async *#events(after: string | undefined, signal: AbortSignal): AsyncGenerator<RouteEvent> {
    const headers = { accept: 'text/event-stream', ...(after !== undefined && { 'last-event-id': after }) }
    const answer = await this.#http.open('GET', '/v1/routes/events', { headers, signal })
    for await (const event of eventsOf(linesOf(answer, this.#http.limits.clientLineBytesMax))) {
      if (event.event === 'decision') yield { type: 'decision', decision: JSON.parse(event.data) as Decision }
      if (event.event === 'gap') yield { type: 'gap', after: (JSON.parse(event.data) as { after: string }).after }
    }
  }
}
