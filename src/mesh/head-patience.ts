/** What a peer may make this node fetch by saying that there is something newer: one thing at a time, and not for nothing. */
import type { Clock } from '../base/clock.ts'
import type { Limits } from '../base/limits.ts'

/** A peer whose heads had nothing behind them is not asked for a while: a chain is long to fetch and to check. */
export const createPatience = ({
  clock,
  limits,
}: {
  clock: Clock
  limits: Pick<Limits, 'headPatienceMs' | 'connectionsMax'>
}) => {
  const emptyUntilMs = new Map<string, number>()
  return {
    has: (peer: string): boolean => clock.monotonicMs() >= (emptyUntilMs.get(peer) ?? 0),
    wasEmpty(peer: string): void {
      emptyUntilMs.delete(peer)
      emptyUntilMs.set(peer, clock.monotonicMs() + limits.headPatienceMs)
      if (emptyUntilMs.size > limits.connectionsMax) emptyUntilMs.delete(emptyUntilMs.keys().next().value!)
    },
  }
}

/** Work by key, one at a time; of what comes meanwhile only the last is done, which stands for all of it. */
export const createLatest = () => {
  const running = new Map<string, Promise<void>>()
  const waiting = new Map<string, { work: () => Promise<void>; done: Promise<void> }>()

  const run = (key: string, work: () => Promise<void>): Promise<void> => {
    const done = work().finally(() => {
      if (running.get(key) === done) running.delete(key)
    })
    running.set(key, done)
    return done
  }

  return (key: string, work: () => Promise<void>): Promise<void> => {
    const before = running.get(key)
    if (!before) return run(key, work)
    const stands = waiting.get(key)
    if (stands) {
      stands.work = work
      return stands.done
    }
    const next = () => {
      const { work: last } = waiting.get(key)!
      waiting.delete(key)
      return run(key, last)
    }
    const entry = { work, done: before.then(next, next) }
    waiting.set(key, entry)
    return entry.done
  }
}
