import type { IncomingMessage, ServerResponse } from 'node:http'
import type { Histogram, Registry } from 'prom-client'

/** Something that a part of the process counts, asked for when it is looked at. */
export interface Metric {
  /** As Prometheus names it, with its unit. */
  readonly name: string
  readonly help: string
  /** A counter only grows. */
  readonly type: 'gauge' | 'counter'
  values(): readonly { readonly labels?: Readonly<Record<string, string>>; readonly value: number }[]
}

/** How often something took how much. */
export interface Distribution {
  /** As Prometheus names it, with its unit. */
  readonly name: string
  readonly help: string
  readonly type: 'histogram'
  /** Upper bounds of the buckets but the last one, which has none, in growing order. */
  readonly bounds: readonly number[]
  /** `counts` has those that fell into each bucket, one more than there are bounds. */
  values(): readonly { readonly labels: Readonly<Record<string, string>>; readonly counts: readonly number[]; readonly sum: number }[]
}

/** Answers with the metrics and those of the process itself, in Prometheus' text format. */
export type MetricsHandler = (request: IncomingMessage, response: ServerResponse) => Promise<void>

/** The library is loaded with the first request: a process that nobody watches pays nothing. */
export function metricsHandler(metrics: readonly (Metric | Distribution)[]): MetricsHandler {
  let opening: Promise<Registry> | undefined
  return async (_request, response) => {
    opening ??= openRegistry(metrics)
    const registry = await opening
    const text = await registry.metrics()
    response.writeHead(200, { 'Content-Type': registry.contentType, 'Content-Length': Buffer.byteLength(text) }).end(text)
  }
}

async function openRegistry(metrics: readonly (Metric | Distribution)[]): Promise<Registry> {
  const { Counter, collectDefaultMetrics, Gauge, Registry } = await import('prom-client')
  const registry = new Registry()
  collectDefaultMetrics({ register: registry })
  for (const metric of metrics) {
    if (metric.type === 'histogram') {
      registry.registerMetric(histogramOf(metric))
      continue
    }
    const { name, help, type, values } = metric
    const labelNames = [...new Set(values().flatMap(({ labels = {} }) => Object.keys(labels)))]
    const about = { name, help, labelNames, registers: [registry] }
    const collect = (add: (labels: Readonly<Record<string, string>>, value: number) => void) => {
      for (const { labels = {}, value } of values()) add(labels, value)
    }
    if (type === 'gauge') {
      const gauge = new Gauge({ ...about, collect: () => collect((labels, value) => gauge.set(labels, value)) })
    } else {
      const counter = new Counter({
        ...about,
        collect() {
          counter.reset()
          collect((labels, value) => counter.inc(labels, value))
        },
      })
    }
  }
  return registry
}

/** What the registry asks of a histogram: the library's own would have to be told of every observation, and so loaded at the start. */
function histogramOf({ name, help, bounds, values }: Distribution): Histogram {
  const get = async () => ({
    name,
    help,
    type: 'histogram',
    values: values().flatMap(({ labels, counts, sum }) => {
      let total = 0
      const buckets = counts.map((count, i) => {
        total += count
        return { metricName: `${name}_bucket`, labels: { ...labels, le: String(bounds[i] ?? '+Inf') }, value: total }
      })
      return [...buckets, { metricName: `${name}_sum`, labels, value: sum }, { metricName: `${name}_count`, labels, value: total }]
    }),
  })
  return { name, get } as unknown as Histogram
}
