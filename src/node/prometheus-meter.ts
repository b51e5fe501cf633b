/**
 * Metrics in Prometheus form: every metric of the project is named `godel_…` and described by its use here. Those of the
 * process itself are collected from the first look at them on: to measure the lag of the loop, they wake it a hundred times a
 * second, which is more than an idle node does of its own.
 */
import { collectDefaultMetrics, Counter, Gauge, Histogram, Registry } from 'prom-client'
import type { Labels, Meter } from '../base/meter.ts'

const TIMING_BUCKETS_MS = [0.1, 0.3, 1, 3, 10, 30, 100, 300, 1_000, 3_000, 10_000, 60_000]

type Metric = Counter | Gauge | Histogram

/** A meter and the text of all that it has counted. */
export const createPrometheusMeter = (): { meter: Meter; text: () => Promise<string> } => {
  const registry = new Registry()
  let ofProcess = false
  const metrics = new Map<string, Metric>()

  const metric = <M extends Metric>(name: string, labels: Labels, make: (options: MetricOptions) => M): M => {
    const known = metrics.get(name)
    if (known) return known as M
    const help = name.replaceAll('_', ' ')
    const made = make({ name: `godel_${name}`, help, labelNames: Object.keys(labels), registers: [registry] })
    metrics.set(name, made)
    return made
  }

  return {
    text: () => {
      if (!ofProcess) collectDefaultMetrics({ register: registry, prefix: 'godel_' })
      ofProcess = true
      return registry.metrics()
    },
    meter: {
      count: (name, labels = {}, by = 1) => metric(name, labels, (options) => new Counter(options)).inc(labels, by),
      gauge: (name, value, labels = {}) => metric(name, labels, (options) => new Gauge(options)).set(labels, value),
      timing: (name, durationMs, labels = {}) =>
        metric(name, labels, (options) => new Histogram({ ...options, buckets: TIMING_BUCKETS_MS })).observe(
          labels,
          durationMs,
        ),
    },
  }
}

interface MetricOptions {
  name: string
  help: string
  labelNames: string[]
  registers: Registry[]
}
