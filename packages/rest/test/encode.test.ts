import { create, type DescMessage, type MessageShape } from '@bufbuild/protobuf'
import { GetServerInfoResponseSchema } from '@millrace/proto/millrace/server/v1/server_info_pb'
import { GetLoggedModelResponseSchema } from '@millrace/proto/millrace/tracking/v1/logged_models_pb'
import { GetMetricHistoryBulkResponseSchema, MetricSchema } from '@millrace/proto/millrace/tracking/v1/metrics_pb'
import { RunSchema } from '@millrace/proto/millrace/tracking/v1/runs_pb'
import { expect, test } from 'vitest'
import { type EncodeOptions, encoderOf } from '../src/codec/encode.ts'

const jsonOf = <D extends DescMessage>(desc: D, message: MessageShape<D>, options?: EncodeOptions) =>
  Buffer.concat(encoderOf(desc, options)(message)).toString()

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
  const text = jsonOf(RunSchema, run)
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
  [1e16, '1e+16'],
  [-(2 ** 63), '-9.223372036854776e+18'],
  [1e300, '1e+300'],
])('the float %d is %s', (value, expected) => {
  expect(jsonOf(MetricSchema, create(MetricSchema, { value }))).toBe(`{"value":${expected}}`)
})

test('the bulk history has bare NaN tokens', () => {
  const message = create(GetMetricHistoryBulkResponseSchema, {
    metrics: [{ key: 'k', value: Number.NaN, timestamp: 1n, step: 0n, runId: 'r' }],
  })
  const text = jsonOf(GetMetricHistoryBulkResponseSchema, message, { plain: true })
  expect(text).toBe('{"metrics":[{"key":"k","value":NaN,"timestamp":1,"step":0,"run_id":"r"}]}')
})

test('the bulk history has its list when there is no point', () => {
  expect(jsonOf(GetMetricHistoryBulkResponseSchema, create(GetMetricHistoryBulkResponseSchema), { plain: true })).toBe('{"metrics":[]}')
})

test('maps and false are written, an enum that has the prefix keeps it', () => {
  const info = create(GetServerInfoResponseSchema, {
    storeType: 'SqlStore',
    workspacesEnabled: false,
    featuresEnabled: { a: true, 'b"': false },
  })
  expect(jsonOf(GetServerInfoResponseSchema, info)).toBe(
    '{"store_type":"SqlStore","workspaces_enabled":false,"features_enabled":{"a":true,"b\\"":false}}',
  )
  const model = create(GetLoggedModelResponseSchema, { model: { info: { status: 2 } } })
  expect(jsonOf(GetLoggedModelResponseSchema, model)).toBe('{"model":{"info":{"status":"LOGGED_MODEL_READY"}}}')
})

test('unpaired surrogates are escaped', () => {
  expect(jsonOf(MetricSchema, create(MetricSchema, { key: 'a\ud800' }))).toBe('{"key":"a\\ud800"}')
})

test('texts of any length and script, in answers of any length, arrive whole', () => {
  const values = ['é', 'x'.repeat(64), 'x'.repeat(65), `${'x'.repeat(70)}"`, '😀'.repeat(30_000), '\u007f', 'y'.repeat(200_000), '']
  const tags = Array.from({ length: 5_000 }, (_, i) => ({ key: `k${i}`, value: values[i % 500] ?? 'z' }))
  const run = create(RunSchema, { data: { tags } })
  expect(JSON.parse(jsonOf(RunSchema, run))).toEqual({ data: { tags } })
})

test('a message that can not be written leaves nothing in the next one', () => {
  const encode = encoderOf(RunSchema)
  const broken = create(RunSchema, { data: { tags: [{ key: 'a', value: 'b' }] } })
  Object.assign(broken, { outputs: { modelOutputs: undefined } })
  expect(() => encode(broken)).toThrow(TypeError)
  expect(Buffer.concat(encode(create(RunSchema, { inputs: {} }))).toString()).toBe('{"inputs":{}}')
})
