import { type IncomingMessage, METHODS as METHODS_OF_HTTP, type ServerResponse } from 'node:http'
import type { Distribution, Metric } from '@millrace/kit/metrics'
import { MLFLOW_VERSION } from './probes.ts'

/** Buckets of MLflow's exporter, in seconds. */
const BOUNDS = [0.005, 0.01, 0.025, 0.05, 0.075, 0.1, 0.25, 0.5, 0.75, 1, 2.5, 5, 7.5, 10]

/** The status that nginx logs when a client disconnects before the response. */
const CLIENT_WENT_AWAY = 499

const NAME = 'mlflow_http_request'

/** Over HTTP/2 a method may be any word, and each would become a series. */
const METHODS = new Set(METHODS_OF_HTTP)
const OTHER_METHOD = 'OTHER'

interface Series {
  readonly labels: Readonly<Record<string, string>>
  readonly counts: number[]
  total: number
  sum: number
}

/** Counts requests of the public port and measures their time including bodies, with the names and labels of MLflow's exporter. */
export class RequestMeter {
  readonly #series = new Map<string, Map<number, Series>>()
  #inProgress = 0

  /** Number of requests in progress. */
  get inProgress(): number {
    return this.#inProgress
  }

  /** Counts a request when it is over. */
  watch({ method = 'GET' }: IncomingMessage, response: ServerResponse): void {
    const begun = performance.now()
    this.#inProgress++
    response.once('close', () => {
      this.#inProgress--
      const status = response.headersSent ? response.statusCode : CLIENT_WENT_AWAY
      this.#count(this.#seriesOf(METHODS.has(method) ? method : OTHER_METHOD, status), (performance.now() - begun) / 1000)
    })
  }

  get metrics(): readonly [Metric, Distribution] {
    const all = () => [...this.#series.values()].flatMap(byStatus => [...byStatus.values()])
    return [
      {
        name: `${NAME}_total`,
        help: 'Requests by method and status',
        type: 'counter',
        values: () => all().map(({ labels, total }) => ({ labels, value: total })),
      },
      {
        name: `${NAME}_duration_seconds`,
        help: 'Time from the request to the end of its answer',
        type: 'histogram',
        bounds: BOUNDS,
        values: all,
      },
    ]
  }

  #count(series: Series, seconds: number): void {
    let bucket = 0
    while (bucket < BOUNDS.length && seconds > (BOUNDS[bucket] ?? 0)) bucket++
    series.counts[bucket] = (series.counts[bucket] ?? 0) + 1
    series.total++
    series.sum += seconds
  }

  #seriesOf(method: string, status: number): Series {
    const byStatus = this.#series.get(method) ?? new Map<number, Series>()
    const known = byStatus.get(status)
    if (known) return known
    const labels = { method, status: String(status), mlflow_version: MLFLOW_VERSION }
    const series = { labels, counts: new Array<number>(BOUNDS.length + 1).fill(0), total: 0, sum: 0 }
    this.#series.set(method, byStatus.set(status, series))
    return series
  }
}
