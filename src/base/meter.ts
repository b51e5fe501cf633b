/** Metrics as a port: monotone counters, gauges, and timings in milliseconds. Label values come from small fixed sets. */
export type Labels = Record<string, string>

export interface Meter {
  count(name: string, labels?: Labels, by?: number): void
  gauge(name: string, value: number, labels?: Labels): void
  timing(name: string, durationMs: number, labels?: Labels): void
}

/** A meter that keeps nothing. */
export const silentMeter: Meter = { count() {}, gauge() {}, timing() {} }
