import type { Transport } from '@connectrpc/connect'
import {
  type GetMetricHistoryRequest,
  MetricService,
  type StreamMetricHistoryResponse,
  StreamMetricHistoryResponseSchema,
} from '@millrace/proto/millrace/tracking/v1/metrics_pb'
import { encoderOf } from './codec/encode.ts'

const encode = encoderOf(StreamMetricHistoryResponseSchema)
const OPEN = '{"metrics":['
const CLOSE = ']}'

/** JSON that is made while it is written. Disposing gives back what wasn't. */
export interface LongAnswer extends AsyncIterable<Buffer>, AsyncDisposable {}

type Parts = AsyncIterator<StreamMetricHistoryResponse>

/**
 * The JSON of a history that is asked for as a whole. MLflow has no limit for it: what is longer than one part is written while it is read,
 * so that a million points are never objects and JSON at once.
 */
export async function wholeHistory(
  transport: Transport,
  { runId, runUuid, metricKey = '', pageToken = '' }: Partial<GetMetricHistoryRequest>,
): Promise<Buffer[] | LongAnswer> {
  const request = { runId: runId || runUuid || '', metricKey, pageToken }
  const answer = await transport.stream(MetricService.method.streamMetricHistory, undefined, undefined, undefined, only(request))
  const parts = answer.message[Symbol.asyncIterator]() as Parts
  const first = await parts.next()
  if (first.done) return [Buffer.from('{}')]
  const second = await parts.next()
  if (second.done) return encode(first.value)
  const chunks = joined([first.value, second.value], parts)
  return {
    [Symbol.asyncIterator]: () => chunks,
    async [Symbol.asyncDispose]() {
      await parts.return?.()
    },
  }
}

async function* joined(read: readonly StreamMetricHistoryResponse[], parts: Parts): AsyncGenerator<Buffer> {
  let head = OPEN
  for (const part of read) {
    yield Buffer.concat([Buffer.from(head), points(part)])
    head = ','
  }
  for (let next = await parts.next(); !next.done; next = await parts.next()) yield Buffer.concat([Buffer.from(','), points(next.value)])
  yield Buffer.from(CLOSE)
}

/** The points of a part without what is around them. */
const points = (part: StreamMetricHistoryResponse) => Buffer.concat(encode(part)).subarray(OPEN.length, -CLOSE.length)

async function* only<T>(value: T): AsyncGenerator<T> {
  yield value
}
