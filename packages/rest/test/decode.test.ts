import type { DescMessage } from '@bufbuild/protobuf'
import { GetServerInfoResponseSchema } from '@millrace/proto/millrace/server/v1/server_info_pb'
import { FinalizeLoggedModelRequestSchema } from '@millrace/proto/millrace/tracking/v1/logged_models_pb'
import { LogMetricRequestSchema } from '@millrace/proto/millrace/tracking/v1/metrics_pb'
import {
  CreateRunRequestSchema,
  LogInputsRequestSchema,
  SearchRunsRequestSchema,
  UpdateRunRequestSchema,
} from '@millrace/proto/millrace/tracking/v1/runs_pb'
import { describe, expect, test } from 'vitest'
import { parseBody } from '../src/body.ts'
import { decoderOf } from '../src/codec/decode.ts'

function read(desc: DescMessage, text: string) {
  const reading = { failed: false, camelCase: false, unknown: false }
  const all = decoderOf(desc)(parseBody(Buffer.from(text)).json, reading)
  const set = Object.fromEntries(Object.entries(all).filter(([name, value]) => name !== '$typeName' && value !== undefined))
  return { set, ...reading }
}

describe('reading a message from JSON', () => {
  // What MLflow 3.17.2 does with each, seen on a running server or in protobuf's json_format.
  const fits: [DescMessage, string, Record<string, unknown>][] = [
    [
      LogMetricRequestSchema,
      '{"run_id":"r","key":"k","value":1.5,"timestamp":5,"step":-3}',
      { runId: 'r', key: 'k', value: 1.5, timestamp: 5n, step: -3n },
    ],
    [LogMetricRequestSchema, '{"timestamp":"5","step":"7"}', { timestamp: 5n, step: 7n }],
    [LogMetricRequestSchema, '{"timestamp":5.0,"step":"1e2"}', { timestamp: 5n, step: 100n }],
    [
      LogMetricRequestSchema,
      '{"step":9223372036854775807,"timestamp":-9223372036854775808}',
      { step: 2n ** 63n - 1n, timestamp: -(2n ** 63n) },
    ],
    [LogMetricRequestSchema, '{"step":9007199254740993}', { step: 9007199254740993n }],
    [LogMetricRequestSchema, '{"value":"NaN"}', { value: Number.NaN }],
    [LogMetricRequestSchema, '{"value":"-Infinity"}', { value: Number.NEGATIVE_INFINITY }],
    [LogMetricRequestSchema, '{"value":"1.5"}', { value: 1.5 }],
    [LogMetricRequestSchema, '{"value":true}', { value: 1 }],
    [LogMetricRequestSchema, '{"value":12345678901234567890123}', { value: 1.2345678901234568e22 }],
    [LogMetricRequestSchema, '{"runId":"r","metricKey":"x","nonsense":{"a":[1]}}', { runId: 'r' }],
    [LogMetricRequestSchema, '{"key":null,"step":null}', {}],
    [LogMetricRequestSchema, '{"key":"a","key":"b"}', { key: 'b' }],
    [UpdateRunRequestSchema, '{"status":"FINISHED"}', { status: 3 }],
    [UpdateRunRequestSchema, '{"status":3}', { status: 3 }],
    [UpdateRunRequestSchema, '{"status":"3"}', { status: 3 }],
    [UpdateRunRequestSchema, '{"status":true}', { status: 1 }],
    [UpdateRunRequestSchema, '{"status":"finished","run_name":"x"}', { runName: 'x' }],
    [FinalizeLoggedModelRequestSchema, '{"status":"LOGGED_MODEL_READY"}', { status: 2 }],
    [FinalizeLoggedModelRequestSchema, '{"status":"LOGGED_MODEL_STATUS_UNSPECIFIED"}', { status: 0 }],
    [SearchRunsRequestSchema, '{"experiment_ids":["1","2"],"order_by":[]}', { experimentIds: ['1', '2'], orderBy: [] }],
    [GetServerInfoResponseSchema, '{"features_enabled":{"a":true}}', { featuresEnabled: { a: true } }],
  ]
  test.each(fits)('%s %s', (desc, text, expected) => {
    const { set, failed } = read(desc, text)
    expect(failed).toBe(false)
    expect(set).toMatchObject(expected)
    const empty = Object.entries(set).filter(([name, value]) => !(name in expected) && Object.keys(value as object).length > 0)
    expect(empty).toEqual([])
  })

  const misfits: [DescMessage, string, Record<string, unknown>][] = [
    [LogMetricRequestSchema, '{"key":"k","value":NaN,"timestamp":5}', { key: 'k' }],
    [LogMetricRequestSchema, '{"key":"k","value":1e400,"timestamp":5}', { key: 'k' }],
    [LogMetricRequestSchema, '{"key":"k","timestamp":1.5,"step":3}', { key: 'k' }],
    [LogMetricRequestSchema, '{"key":"k","step":"1.5"}', { key: 'k' }],
    [LogMetricRequestSchema, '{"key":"k","step":true}', { key: 'k' }],
    [LogMetricRequestSchema, '{"key":"k","step":9223372036854775808}', { key: 'k' }],
    [LogMetricRequestSchema, '{"value":"nan","key":"k"}', {}],
    [LogMetricRequestSchema, '{"key":5,"run_id":"r"}', {}],
    [LogMetricRequestSchema, '{"key":"\\ud800","run_id":"r"}', {}],
    [SearchRunsRequestSchema, '{"max_results":2147483648}', {}],
    [SearchRunsRequestSchema, '{"experiment_ids":"1","filter":"x"}', {}],
    [SearchRunsRequestSchema, '{"experiment_ids":["1",null,"2"],"filter":"x"}', { experimentIds: ['1'] }],
    [UpdateRunRequestSchema, '{"run_id":"r","status":0}', { runId: 'r' }],
    [UpdateRunRequestSchema, '{"run_id":"r","status":99}', { runId: 'r' }],
    [UpdateRunRequestSchema, '{"run_id":"r","status":[]}', { runId: 'r' }],
  ]
  test.each(misfits)('%s %s stops at the value that does not fit', (desc, text, before) => {
    const { set, failed } = read(desc, text)
    expect(failed).toBe(true)
    expect(set).toMatchObject(before)
    const later = Object.entries(set).filter(([name, value]) => !(name in before) && Object.keys(value as object).length > 0)
    expect(later).toEqual([])
  })

  test('a misfit inside a list keeps the items before it and the part read of its own', () => {
    const { set, failed } = read(
      CreateRunRequestSchema,
      '{"tags":[{"key":"a","value":"1"},{"key":"b","value":2},{"key":"c"}],"run_name":"n"}',
    )
    expect(failed).toBe(true)
    expect(set.tags).toMatchObject([{ key: 'a', value: '1' }, { key: 'b' }])
    expect(set.runName).toBeUndefined()
  })

  test.each([
    [UpdateRunRequestSchema, '{"status":"\\ud800"}', 'a text is not Unicode'],
    [UpdateRunRequestSchema, '{"status":Infinity}', 'an infinity has no name'],
    [CreateRunRequestSchema, '{"tags":["\\ud800"]}', 'a text is not Unicode'],
    [LogMetricRequestSchema, `{"value":1${'0'.repeat(400)}}`, 'an integer is too large for a double'],
  ])('%# what breaks MLflow is refused', (desc, text, reason) => {
    expect(() => read(desc, text)).toThrow(`The request body cannot be read: ${reason}.`)
  })

  test('NaN in the place of a name is passed over like an unknown name', () => {
    expect(read(UpdateRunRequestSchema, '{"status":NaN,"run_id":"r"}')).toMatchObject({ set: { runId: 'r' }, failed: false })
  })

  test('nested messages are read with their type names', () => {
    const { set } = read(
      LogInputsRequestSchema,
      '{"datasets":[{"tags":[{"key":"k","value":"v"}],"dataset":{"name":"d","sourceType":"s"}}]}',
    )
    expect(set.datasets).toMatchObject([
      { $typeName: 'millrace.tracking.v1.DatasetInput', tags: [{ key: 'k' }], dataset: { name: 'd', sourceType: 's' } },
    ])
  })
})

describe('the JSON of a body', () => {
  test.each(['', '{', "{'a':1}", 'nonsense', '{"a":}', '{"a":1,}', 'null', '"null"', '"{}"', '[1', '{"a":01}', '{"a":"\n"}'])(
    '%j counts as an empty object',
    text => {
      expect(parseBody(Buffer.from(text)).json).toEqual({})
    },
  )

  test('UTF-16 and UTF-32 are read too, with a byte order mark and without', () => {
    const text = '{"a":"é🎉"}'
    const little = Buffer.from(text, 'utf16le')
    const wide = Buffer.concat([...text].map(c => Buffer.from(Uint32Array.of(c.codePointAt(0) ?? 0).buffer)))
    const marked = (bytes: Buffer, ...mark: number[]) => Buffer.concat([Buffer.from(mark), bytes])
    const encodings = [little, marked(little, 0xff, 0xfe), wide, marked(wide, 0xff, 0xfe, 0, 0)]
    const swapped = [Buffer.from(little).swap16(), marked(little, 0xff, 0xfe).swap16()]
    const reversed = [Buffer.from(wide).swap32(), marked(wide, 0xff, 0xfe, 0, 0).swap32()]
    for (const bytes of [...encodings, ...swapped, ...reversed]) expect(parseBody(bytes).json).toEqual({ a: 'é🎉' })
    for (const bytes of [little.subarray(1), wide.subarray(0, -1), Buffer.from([0, 0, 0]), Buffer.from([0, 0x7f, 0, 0])]) {
      expect(parseBody(bytes).json).toEqual({})
    }
  })

  test('bytes that are not UTF-8 count as an empty object', () => {
    expect(parseBody(Buffer.from([0xff, 0xfe])).json).toEqual({})
  })

  test.each(['[]', '5', 'true', '"x"', '"[1]"', '1e400', 'NaN'])('%j is refused', text => {
    expect(() => parseBody(Buffer.from(text))).toThrow('must be a JSON object')
  })

  test('a byte order mark is skipped and an encoded string is read again', () => {
    expect(parseBody(Buffer.from('\ufeff{"a":1}')).json).toEqual({ a: 1 })
    expect(parseBody(Buffer.from(JSON.stringify('{"a":1}'))).json).toEqual({ a: 1 })
  })

  test('long integers stay exact, a key named __proto__ is only a key', () => {
    expect(parseBody(Buffer.from('{"a":[12345678901234567890,0.1234567890123456],"__proto__":{"x":1}}')).json).toEqual(
      Object.defineProperty({ a: [12345678901234567890n, 0.1234567890123456] }, '__proto__', { value: { x: 1n }, enumerable: true }),
    )
  })

  test('where no parameter is required a list and a text count as an empty object', () => {
    for (const text of ['[]', '[1]', '"[]"', '"\\"x\\""']) expect(parseBody(Buffer.from(text), true).json).toEqual({})
    for (const text of ['5', 'true', '"5"', '"x"']) expect(() => parseBody(Buffer.from(text), true)).toThrow('must be a JSON object')
  })

  test('ten thousand brackets neither overflow the stack nor pass', () => {
    expect(() => parseBody(Buffer.from(`{"a":NaN,"b":${'['.repeat(10_000)}`))).toThrow('nested too deeply')
  })
})
