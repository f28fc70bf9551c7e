import type { Transport } from '@connectrpc/connect'
import {
  type GetMetricHistoryRequest,
  MetricService,
  type StreamMetricHistoryResponse,
  StreamMetricHistoryResponseSchema,
} from '@millrace/proto/millrace/tracking/v1/metrics_pb'
import { encoderOf } from './codec/encode.ts'

const encode = encoderOf(StreamMetricHistoryResponseSchema)
const OPEN = Buffer.from('{"metrics":[')
const CLOSE = Buffer.from(']}')
const COMMA = Buffer.from(',')

/** JSON that is made while it is written. Disposing gives back what wasn't. */
export interface LongAnswer extends AsyncIterable<Buffer>, AsyncDisposable {}

type Parts = AsyncIterator<StreamMetricHistoryResponse>

/** A history up to this size is answered at once, with its length. */
const WHOLE_BYTES_MAX = 2 * 1024 * 1024
/** Of what is written at once of a longer one. */
const CHUNK_BYTES_MIN = 128 * 1024

/**
 * The JSON of a history that is asked for as a whole. MLflow has no limit for it: what is too long for one answer is written while it is
 * read, so that a million points are never objects and JSON at once.
 */
export async function wholeHistory(
  transport: Transport,
  { runId, runUuid, metricKey = '', pageToken = '' }: Partial<GetMetricHistoryRequest>,
): Promise<Buffer[] | LongAnswer> {
  const request = { runId: runId || runUuid || '', metricKey, pageToken }
  const answer = await transport.stream(MetricService.method.streamMetricHistory, undefined, undefined, undefined, only(request))
  const parts = answer.message[Symbol.asyncIterator]() as Parts
  const first = await takePoints(parts, WHOLE_BYTES_MAX)
  if (first.isLast) return first.points.length === 0 ? [Buffer.from('{}')] : [Buffer.concat([OPEN, first.points, CLOSE])]
  const chunks = joined(first.points, parts)
  return {
    [Symbol.asyncIterator]: () => chunks,
    async [Symbol.asyncDispose]() {
      await parts.return?.()
    },
  }
}

async function* joined(first: Buffer, parts: Parts): AsyncGenerator<Buffer> {
  yield Buffer.concat([OPEN, first])
  for (let isLast = false; !isLast; ) {
    const next = await takePoints(parts, CHUNK_BYTES_MIN)
    isLast = next.isLast
    if (next.points.length > 0) yield Buffer.concat([COMMA, next.points])
  }
  yield CLOSE
}

/** Points with commas between, until there are so many bytes of them or no more. */
async function takePoints(parts: Parts, bytesMin: number): Promise<{ points: Buffer; isLast: boolean }> {
  const taken: Buffer[] = []
  let bytes = 0
  while (bytes < bytesMin) {
    const next = await parts.next()
    if (next.done) return { points: Buffer.concat(taken), isLast: true }
    if (taken.length > 0) taken.push(COMMA)
    const points = Buffer.concat(encode(next.value)).subarray(OPEN.length, -CLOSE.length)
    taken.push(points)
    bytes += points.length
  }
  return { points: Buffer.concat(taken), isLast: false }
}

async function* only<T>(value: T): AsyncGenerator<T> {
  yield value
}
