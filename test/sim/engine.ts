/**
 * Simulated time: events in the order of their times, and of one time in the order in which they were made. After each event
 * that ran the product's code its promises are let run to their end, so that all they set off happens at that very time.
 * What happens is folded into a hash, by which two runs can be told apart.
 */
export interface SimEvent {
  readonly atMs: number
  readonly order: number
  /** Gives `quiet` where no promise can have been set off. Undefined once cancelled. */
  run: (() => 'quiet' | void) | undefined
}

export interface Engine {
  nowMs(): number
  at(atMs: number, run: () => 'quiet' | void): SimEvent
  /** Runs all events up to `untilMs`; ends early where `done` says so. */
  runUntil(untilMs: number, done?: () => boolean): Promise<void>
  /** Folds numbers into the hash of the trace. */
  note(a: number, b: number, c: number): void
  traceHash(): string
  events(): number
}

/** Lets promises run to their end: nothing in the simulation waits for anything outside the process. */
export const settle = (): Promise<void> => new Promise((resolve) => setImmediate(resolve))

export const createEngine = (): Engine => {
  const heap: SimEvent[] = []
  let now = 0
  let order = 0
  let count = 0
  let low = 0x811c9dc5
  let high = 0x9dc5811c

  const isBefore = (a: SimEvent, b: SimEvent) => a.atMs < b.atMs || (a.atMs === b.atMs && a.order < b.order)

  const push = (event: SimEvent): void => {
    let at = heap.length
    heap.push(event)
    while (at > 0) {
      const parent = (at - 1) >> 1
      if (!isBefore(event, heap[parent]!)) break
      heap[at] = heap[parent]!
      at = parent
    }
    heap[at] = event
  }

  const pop = (): SimEvent => {
    const first = heap[0]!
    const last = heap.pop()!
    if (heap.length === 0) return first
    let at = 0
    for (;;) {
      let child = 2 * at + 1
      if (child >= heap.length) break
      if (child + 1 < heap.length && isBefore(heap[child + 1]!, heap[child]!)) child++
      if (!isBefore(heap[child]!, last)) break
      heap[at] = heap[child]!
      at = child
    }
    heap[at] = last
    return first
  }

  return {
    nowMs: () => now,
    at(atMs, run) {
      const event: SimEvent = { atMs: Math.max(now, atMs), order: order++, run }
      push(event)
      return event
    },
    async runUntil(untilMs, done) {
      await settle()
      while (heap.length > 0 && heap[0]!.atMs <= untilMs) {
        const event = pop()
        const { run } = event
        if (run === undefined) continue
        now = event.atMs
        count++
        event.run = undefined
        if (run() === 'quiet') continue
        await settle()
        if (done?.()) return
      }
      if (!done?.()) now = Math.max(now, untilMs)
    },
    note(a, b, c) {
      low = Math.imul(low ^ Math.round(now * 1_000), 0x01000193) ^ a
      high = Math.imul(high ^ low ^ b, 0x85ebca6b) ^ c
    },
    traceHash: () => [low, high].map((part) => (part >>> 0).toString(16).padStart(8, '0')).join(''),
    events: () => count,
  }
}
