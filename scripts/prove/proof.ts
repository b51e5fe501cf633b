/** What a proof is and what it gives: figures with their bounds, and aloud what could not be run. */

export interface Figure {
  readonly what: string
  readonly unit: string
  readonly values: readonly number[]
  /** What none of the values may exceed. */
  readonly bound?: number
}

export interface Outcome {
  /** One line: what was run, with its numbers. */
  readonly ran: string
  readonly notRun: readonly string[]
  readonly figures: readonly Figure[]
}

export interface ProofOptions {
  /** Small enough for every change to the program to be tried by it. */
  readonly quick: boolean
  readonly seed: number
  readonly random: () => number
  /** What goes on, for the one who waits. */
  readonly say: (line: string) => void
}

export interface Proof {
  readonly claim: string
  run(options: ProofOptions): Promise<Outcome>
}

/** The figures that are beyond their bounds; a proof without figures has shown nothing. */
export const broken = ({ figures }: Outcome): Figure[] =>
  figures.filter(({ values, bound }) => values.length === 0 || (bound !== undefined && Math.max(...values) > bound))

/** What the outcome shows of the claim: all of it, a part, where something could not be run, or nothing. */
export const verdictOf = (outcome: Outcome): 'held' | 'held in part' | 'did not hold' | 'not run' => {
  if (outcome.figures.length === 0) return 'not run'
  if (broken(outcome).length > 0) return 'did not hold'
  return outcome.notRun.length > 0 ? 'held in part' : 'held'
}

export const elapsed = async (work: () => Promise<unknown>): Promise<number> => {
  const fromMs = performance.now()
  await work()
  return performance.now() - fromMs
}
