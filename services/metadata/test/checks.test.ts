import { create } from '@bufbuild/protobuf'
import { MlflowError } from '@millrace/kit/errors'
import { LogBatchRequestSchema } from '@millrace/proto/millrace/tracking/v1/runs_pb'
import { describe, expect, test } from 'vitest'
import { checkBatch } from '../src/rpc/batch.ts'
import { checkKey } from '../src/rpc/checks.ts'
import { checkMetric } from '../src/rpc/entries.ts'

const characters = 'Names may only contain alphanumerics, underscores (_), dashes (-), periods (.), spaces ( ), colon(:) and slashes (/).'
const other =
  'Names may be treated as files in certain cases, and must not resolve to other names when treated as such. This name would resolve to '

function refusalOf(work: () => unknown): string | undefined {
  try {
    work()
    return undefined
  } catch (reason) {
    if (reason instanceof MlflowError) return reason.rawMessage
    throw reason
  }
}

describe('keys', () => {
  test.each(['a', 'a b', 'a:b', 'a/b/c', 'é', '日本', '.hidden', 'k'.repeat(300), 'a\n', '_', 'a...'])('%j is taken', key => {
    expect(refusalOf(() => checkKey(key, 'key'))).toBeUndefined()
  })

  test.each([
    ['a*b', `Invalid value "a*b" for parameter 'key' supplied: ${characters}`],
    ['🎉', `Invalid value "\\ud83c\\udf89" for parameter 'key' supplied: ${characters}`],
    ['a//b', `Invalid value "a//b" for parameter 'key' supplied: ${other}'a/b'`],
    ['../x', `Invalid value "../x" for parameter 'key' supplied: ${other}'../x'`],
    ['/a', `Invalid value "/a" for parameter 'key' supplied: ${other}'/a'`],
    ['.', `Invalid value "." for parameter 'key' supplied: ${other}'.'`],
    ['...', `Invalid value "..." for parameter 'key' supplied: ${other}'...'`],
    ['', `Invalid value "" for parameter 'key' supplied: ${other}'.'`],
    ['a/', `Invalid value "a/" for parameter 'key' supplied: ${other}'a'`],
    ['a/../b', `Invalid value "a/../b" for parameter 'key' supplied: ${other}'b'`],
  ])('%j is refused', (key, expected) => {
    expect(refusalOf(() => checkKey(key, 'key'))).toBe(expected)
  })
})

describe('metrics', () => {
  test('a negative timestamp is refused', () => {
    expect(refusalOf(() => checkMetric({ key: 'm', value: 1, timestamp: -1n }, ''))).toBe(
      "Invalid value -1 for parameter 'timestamp' supplied: metric 'm' (value=1.0). Timestamp must be a nonnegative long (64-bit integer) ",
    )
  })

  test('a long name is refused', () => {
    expect(refusalOf(() => checkMetric({ key: 'm'.repeat(251), value: 1, timestamp: 1n }, ''))).toBe(
      "'Metric name' exceeds the maximum length of 250 characters",
    )
  })
})

describe('batches', () => {
  const items = (n: number) => Array.from({ length: n }, (_, i) => ({ key: `k${i}`, value: 'v' }))
  const points = (n: number) => Array.from({ length: n }, (_, i) => ({ key: `k${i}`, value: 1, timestamp: 1n }))
  const tooMany = (max: number, got: number, what: string) =>
    `A batch logging request can contain at most ${max} ${what}. Got ${got} ${what}. Please split up ${what} across multiple requests and try again.`

  test.each([
    [{ metrics: points(1001) }, tooMany(1000, 1001, 'metrics')],
    [{ params: items(101) }, tooMany(100, 101, 'params')],
    [{ tags: items(101) }, tooMany(100, 101, 'tags')],
    [{ metrics: points(900), params: items(50), tags: items(51) }, tooMany(1000, 1001, 'metrics, params, and tags')],
    [
      { metrics: [...points(1), { key: 'a*', value: 1, timestamp: 1n }] },
      `Invalid value "a*" for parameter 'metrics[1].name' supplied: ${characters}`,
    ],
    [{ params: [{ key: 'k'.repeat(251) }] }, "'Param key' exceeds the maximum length of 250 characters"],
    [{ tags: [{ key: 'k'.repeat(251) }] }, "'tags[0].key' exceeds the maximum length of 250 characters"],
    [{ runId: '../zz' }, `Invalid value "../zz" for parameter 'run_id' supplied.`],
  ])('case %#', (batch, expected) => {
    expect(refusalOf(() => checkBatch(create(LogBatchRequestSchema, { runId: 'r', ...batch }), true))).toBe(expected)
  })
})
