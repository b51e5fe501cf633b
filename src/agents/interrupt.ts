/** One event that ends whatever is being waited for. Unlike `Promise.race`, a wait that is over leaves nothing behind. */
export interface Interrupt {
  /** Ends the present wait and every later one with `reason`; the first reason stays. */
  raise(reason: Error): void
  /** The outcome of `wait`, or a rejection with the reason, whichever comes first. */
  guard<T>(wait: Promise<T>): Promise<T>
}

export const createInterrupt = (): Interrupt => {
  let raised: Error | undefined
  const waits = new Set<(reason: Error) => void>()
  return {
    raise(reason) {
      raised ??= reason
      for (const reject of waits) reject(raised)
    },
    async guard(wait) {
      const { promise, resolve, reject } = Promise.withResolvers<unknown>()
      if (raised) reject(raised)
      waits.add(reject)
      wait.then(resolve, reject)
      try {
        await promise
        return await wait
      } finally {
        waits.delete(reject)
      }
    },
  }
}
