import { MlflowError } from '@millrace/kit/errors'
import { shorten } from '@millrace/kit/shown'
import { describe, expect, test } from 'vitest'
import { parseExperimentFilter, parseExperimentOrder } from '../src/search/experiment-filter.ts'
import { parseLoggedModelFilter } from '../src/search/logged-model-filter.ts'
import { parseLoggedModelOrder } from '../src/search/logged-model-order.ts'
import { parseRunOrder } from '../src/search/order-by.ts'
import { repr } from '../src/search/python.ts'
import { parseRunFilter } from '../src/search/run-filter.ts'
import {
  EXPERIMENT_FILTERS,
  EXPERIMENT_ORDERS,
  MODEL_FILTERS,
  MODEL_FILTERS_OF_OTHER_FORM,
  MODEL_ORDERS,
  RUN_FILTERS,
  RUN_ORDERS,
} from './search-rejections.ts'

const sorted = (text: string) => text.replace(/\{('[^'{}]*'(?:, '[^'{}]*')+)\}/g, (_, names) => `{${names.split(', ').sort().join(', ')}}`)

function refusalOf(read: () => unknown): string | undefined {
  try {
    read()
    return undefined
  } catch (reason) {
    if (reason instanceof MlflowError && reason.errorCode === 'INVALID_PARAMETER_VALUE') return sorted(reason.rawMessage)
    throw reason
  }
}

describe('what a search refuses is worded as by MLflow', () => {
  test.each(RUN_FILTERS)('filter of runs %j', (input, message) => {
    expect(refusalOf(() => parseRunFilter(input).conditions())).toBe(message)
  })
  test.each(RUN_ORDERS)('order of runs %j', (input, message) => {
    expect(refusalOf(() => parseRunOrder([input]))).toBe(message)
  })
  test.each(EXPERIMENT_FILTERS)('filter of experiments %j', (input, message) => {
    expect(refusalOf(() => parseExperimentFilter(input))).toBe(message)
  })
  test.each(EXPERIMENT_ORDERS)('order of experiments %j', (input, message) => {
    expect(refusalOf(() => parseExperimentOrder([input]))).toBe(message)
  })
  test.each(MODEL_FILTERS)('filter of logged models %j', (input, message) => {
    expect(refusalOf(() => parseLoggedModelFilter(input))).toBe(message)
  })
  test.each(MODEL_FILTERS_OF_OTHER_FORM)('filter of logged models %j, which is no list of comparisons', input => {
    expect(refusalOf(() => parseLoggedModelFilter(input))).toBe(
      `Invalid filter string: ${repr(input)}. Expected a list of comparisons separated by 'AND' ` +
        "(e.g. 'metrics.loss > 0.1 AND params.lr = 0.01').",
    )
  })
  test.each(MODEL_ORDERS)('order of logged models %j', (fieldName, message) => {
    expect(refusalOf(() => parseLoggedModelOrder({ fieldName, ascending: true }))).toBe(message)
  })
  test('a field may be ordered by once', () => {
    expect(refusalOf(() => parseRunOrder(['start_time', 'Created DESC']))).toBe(
      "`order_by` contains duplicate fields: ['start_time', 'Created DESC']",
    )
  })
  test('more tokens or deeper parentheses than MLflow takes', () => {
    const long = `${"tags.a = 'b' AND ".repeat(2000)}tags.a = 'b'`
    const deep = `tags.a = ${'('.repeat(200)}1${')'.repeat(200)}`
    for (const input of [long, deep]) expect(refusalOf(() => parseRunFilter(input))).toBe(`Error on parsing filter '${shorten(input)}'`)
  })
})
