/** One row of a benchmark: a figure, and where there is a peer to compare with, the peer's figure and the ratio. */
export interface BenchRow {
  bench: string
  case: string
  value: number
  unit: string
  peer?: string
  peerValue?: number
  ratio?: number
  runs: number
  spread: number
}

/** The middle of the values, or the mean of the two in the middle. */
export const median = (values: readonly number[]): number => {
  const sorted = values.toSorted((a, b) => a - b)
  const middle = sorted.length >>> 1
  return sorted.length % 2 === 1 ? sorted[middle]! : (sorted[middle - 1]! + sorted[middle]!) / 2
}

/** How far the values lie apart: the range between the quartiles as a part of the median (0.1: a tenth). */
export const spread = (values: readonly number[]): number => {
  const sorted = values.toSorted((a, b) => a - b)
  const at = (part: number): number => sorted[Math.min(sorted.length - 1, Math.floor(part * sorted.length))]!
  const middle = median(values)
  return middle === 0 ? 0 : (at(0.75) - at(0.25)) / middle
}
