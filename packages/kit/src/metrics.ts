import type { IncomingMessage, ServerResponse } from 'node:http'
import type { Registry } from 'prom-client'

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
  const { collectDefaultMetrics, Registry } = await import('prom-client')
  const registry = new Registry()
  collectDefaultMetrics({ register: registry })
  for (const metric of metrics) registry.registerMetric(registered(metric))
  return registry
}

type Registered = Parameters<Registry['registerMetric']>[0]

/** What the registry asks of a metric. Those of the library have to be told of every observation, and so loaded at the start. */
function registered(metric: Metric | Distribution): Registered {
  const { name, help, type } = metric
  const get = async () => ({ name, help, type, values: metric.type === 'histogram' ? bucketsOf(metric) : metric.values() })
  return { name, get } as unknown as Registered
}

function bucketsOf({ name, bounds, values }: Distribution) {
  return values().flatMap(({ labels, counts, sum }) => {
    let total = 0
    const buckets = counts.map((count, i) => {
      total += count
      return { metricName: `${name}_bucket`, labels: { ...labels, le: String(bounds[i] ?? '+Inf') }, value: total }
    })
    return [...buckets, { metricName: `${name}_sum`, labels, value: sum }, { metricName: `${name}_count`, labels, value: total }]
  })
}
