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

/** Answers with the metrics and those of the process itself, in Prometheus' text format. */
export type MetricsHandler = (request: IncomingMessage, response: ServerResponse) => Promise<void>

/** The library is loaded with the first request: a process that nobody watches pays nothing. */
export function metricsHandler(metrics: readonly Metric[]): MetricsHandler {
  let opening: Promise<Registry> | undefined
  return async (_request, response) => {
    opening ??= openRegistry(metrics)
    const registry = await opening
    const text = await registry.metrics()
    response.writeHead(200, { 'Content-Type': registry.contentType, 'Content-Length': Buffer.byteLength(text) }).end(text)
  }
}

async function openRegistry(metrics: readonly Metric[]): Promise<Registry> {
  const { Counter, collectDefaultMetrics, Gauge, Registry } = await import('prom-client')
  const registry = new Registry()
  collectDefaultMetrics({ register: registry })
  for (const { name, help, type, values } of metrics) {
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
