import { invalidParameter } from '@millrace/kit/errors'
import { shorten } from '@millrace/kit/shown'
import { parseInteger, parseTuple, tupleRepr } from './python.ts'
import type { Node } from './token.ts'

/** Largest and smallest values of the integer columns. */
const INT64_MAX = 2n ** 63n - 1n

/** A list of quoted texts in parentheses. */
export function listValue(node: Node): string[] {
  const values = parseTuple(node.text)
  if (!values) {
    throw invalidParameter('While parsing a list in the query, expected a non-empty list of string values, but got ill-formed list.')
  }
  if (values.length === 0) {
    throw invalidParameter('While parsing a list in the query, expected a non-empty list of string values, but got empty list')
  }
  if (!values.every(value => typeof value === 'string')) {
    throw invalidParameter(
      `While parsing a list in the query, expected string value, punctuation, or whitespace, but got different type in list: ${tupleRepr(values)}`,
    )
  }
  return values
}

export const isNumber = (node: Node) => node.kind === 'integer' || node.kind === 'float'

/** The number of an attribute: integers stay exact. */
export function numberValue(node: Node): bigint | number {
  const number = node.kind === 'float' ? Number(node.text) : parseInteger(node.text)
  if (number === undefined || Number.isNaN(number)) throw invalidParameter(`Invalid value '${shorten(node.text)}': digits are 0 to 9`)
  return typeof number === 'bigint' ? int64(number, node.text) : number
}

/** What follows the first digits is optional as a whole: two groups of digits beside each other would be tried in every division. */
const FLOAT = /^[+-]?(?:\d+(?:_\d+)*(?:\.(?:\d+(?:_\d+)*)?)?|\.\d+(?:_\d+)*)(?:e[+-]?\d+(?:_\d+)*)?$/i
const FLOAT_WORD = /^([+-]?)(?:(inf(?:inity)?)|nan)$/i

/** The number that Python's float() reads from a text without blanks around it. */
export function parseFloatText(text: string): number | undefined {
  const [word, sign, infinite] = FLOAT_WORD.exec(text) ?? []
  if (word !== undefined) return infinite === undefined ? Number.NaN : sign === '-' ? -Infinity : Infinity
  return FLOAT.test(text) ? Number(text.replaceAll('_', '')) : undefined
}

/** The id of an experiment, which filters and requests give as text; it may be larger than any that exists. */
export function experimentId(text: string): bigint {
  const id = parseInteger(text)
  if (id === undefined) throw invalidId(text)
  return id
}

/** An experiment's id that a database can compare with; a larger one is refused, where MLflow fails. */
export function comparableExperimentId(text: string): bigint {
  const id = experimentId(text)
  if (id > INT64_MAX || id < -INT64_MAX - 1n) throw invalidId(text)
  return id
}

const invalidId = (text: string) => invalidParameter(`Invalid experiment ID '${shorten(text)}'. Experiment ID must be a valid integer.`)

function int64(value: bigint, text: string): bigint {
  if (value > INT64_MAX || value < -INT64_MAX - 1n) throw invalidParameter(`Invalid value '${shorten(text)}': not a 64-bit integer`)
  return value
}
