import { create } from '@bufbuild/protobuf'
import { GetServerInfoResponseSchema } from '@millrace/proto/millrace/server/v1/server_info_pb'
import { GetLoggedModelResponseSchema } from '@millrace/proto/millrace/tracking/v1/logged_models_pb'
import { GetMetricHistoryBulkResponseSchema, MetricSchema } from '@millrace/proto/millrace/tracking/v1/metrics_pb'
import { RunSchema } from '@millrace/proto/millrace/tracking/v1/runs_pb'
import { expect, test } from 'vitest'
import { encoderOf } from '../src/rest/codec/encode.ts'

test('names are snake_case, integers are numbers, enums have MLflow names, empty lists are left out', () => {
  const run = create(RunSchema, {
    info: { runUuid: 'r', runName: 'quote " and \n', userId: '', status: 1, startTime: 0n, endTime: 9007199254740993n },
    data: {
      tags: [
        { key: 'k', value: 'é😀' },
        { key: 'empty', value: '' },
      ],
    },
    inputs: {},
  })
  const text = encoderOf(RunSchema)(run)
  expect(text).toBe(
    '{"info":{"run_uuid":"r","run_name":"quote \\" and \\n","user_id":"","status":"RUNNING","start_time":0,"end_time":9007199254740993},' +
      '"data":{"tags":[{"key":"k","value":"é😀"},{"key":"empty","value":""}]},"inputs":{}}',
  )
})

test.each([
  [Number.NaN, '"NaN"'],
  [Number.POSITIVE_INFINITY, '"Infinity"'],
  [Number.NEGATIVE_INFINITY, '"-Infinity"'],
  [1.7976931348623157e308, '1.7976931348623157e+308'],
  [0, '0.0'],
  [-0, '-0.0'],
  [2, '2.0'],
  [1e16, '10000000000000000'],
])('the float %d is %s', (value, expected) => {
  expect(encoderOf(MetricSchema)(create(MetricSchema, { value }))).toBe(`{"value":${expected}}`)
})

test('the bulk history has bare NaN tokens', () => {
  const message = create(GetMetricHistoryBulkResponseSchema, {
    metrics: [{ key: 'k', value: Number.NaN, timestamp: 1n, step: 0n, runId: 'r' }],
  })
  const text = encoderOf(GetMetricHistoryBulkResponseSchema, { plain: true })(message)
  expect(text).toBe('{"metrics":[{"key":"k","value":NaN,"timestamp":1,"step":0,"run_id":"r"}]}')
})

test('the bulk history has its list when there is no point', () => {
  expect(encoderOf(GetMetricHistoryBulkResponseSchema, { plain: true })(create(GetMetricHistoryBulkResponseSchema))).toBe('{"metrics":[]}')
})

test('maps and false are written, an enum that has the prefix keeps it', () => {
  const info = create(GetServerInfoResponseSchema, {
    storeType: 'SqlStore',
    workspacesEnabled: false,
    featuresEnabled: { a: true, 'b"': false },
  })
  expect(encoderOf(GetServerInfoResponseSchema)(info)).toBe(
    '{"store_type":"SqlStore","workspaces_enabled":false,"features_enabled":{"a":true,"b\\"":false}}',
  )
  const model = create(GetLoggedModelResponseSchema, { model: { info: { status: 2 } } })
  expect(encoderOf(GetLoggedModelResponseSchema)(model)).toBe('{"model":{"info":{"status":"LOGGED_MODEL_READY"}}}')
})

test('unpaired surrogates are escaped', () => {
  expect(encoderOf(MetricSchema)(create(MetricSchema, { key: 'a\ud800' }))).toBe('{"key":"a\\ud800"}')
})
