/** Waiting for a condition with a deadline: the only way in which a test waits. */
export const waitFor = async <T>(
  what: string,
  probe: () => Promise<T | undefined | false> | T | undefined | false,
  { withinMs = 15_000, everyMs = 50 }: { withinMs?: number; everyMs?: number } = {},
): Promise<T> => {
  const giveUpAt = performance.now() + withinMs
  let last: unknown
  for (;;) {
    try {
      const value = await probe()
      if (value !== undefined && value !== false) return value
      last = value
    } catch (error) {
      last = error
    }
    if (performance.now() > giveUpAt) throw new Error(`${what}: not within ${withinMs} ms; last: ${String(last)}`)
    await new Promise((resolve) => setTimeout(resolve, everyMs))
  }
}
