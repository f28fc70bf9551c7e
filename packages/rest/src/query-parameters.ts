import { type DescField, type DescMessage, getOption, ScalarType } from '@bufbuild/protobuf'
import { invalidParameter } from '@millrace/kit/errors'
import { shorten } from '@millrace/kit/shown'
import { flag } from '@millrace/proto/millrace/options/v1/rest_pb'
import type { Parameters } from './body.ts'
import { int32, MISFIT, pythonIntOf } from './codec/scalars.ts'
import { parseQuery } from './query.ts'

type ReadValues = (values: readonly string[]) => unknown

const INT32_MAX = 2n ** 31n - 1n

/**
 * Parameters of a query string by field name; text stays text, except booleans and where Python's `int()` reads it.
 * @param pythonIntegers the option `python_integers` of the method.
 */
export function queryReaderOf(desc: DescMessage, pythonIntegers: boolean): (query: string) => Parameters {
  const fields = desc.fields.map(field => ({ name: field.name, read: readerOf(field, pythonIntegers) }))
  return text => {
    const query = parseQuery(text)
    const json: Record<string, unknown> = {}
    for (const { name, read } of fields) {
      const values = query.get(name)
      if (values !== undefined) json[name] = read(values)
    }
    return { json, exact: () => json }
  }
}

function readerOf(field: DescField, pythonIntegers: boolean): ReadValues {
  if (field.fieldKind === 'list') return values => values
  if (isScalar(field, ScalarType.BOOL)) return getOption(field, flag) ? isTrue : ([first = '']) => booleanOf(first)
  return pythonIntegers && isScalar(field, ScalarType.INT32) ? ([first = '']) => nearestInt32(first) : ([first = '']) => first
}

const isScalar = (field: DescField, type: ScalarType) => field.fieldKind === 'scalar' && field.scalar === type

const isTrue: ReadValues = ([first = '']) => first.toLowerCase() === 'true'

/** The integer as the field can hold it; text that is none stays for the checks to name. @throws where only protobuf takes it for one. */
function nearestInt32(text: string): number | string {
  const found = pythonIntOf(text)
  if (found === undefined) {
    if (int32(text) !== MISFIT) throw invalidParameter(`'${shorten(text)}' is no integer.`)
    return text
  }
  return Number(found > INT32_MAX ? INT32_MAX : found < -INT32_MAX ? -INT32_MAX : found)
}

function booleanOf(text: string): boolean {
  const lower = text.toLowerCase()
  if (lower !== 'true' && lower !== 'false') throw invalidParameter(`Invalid boolean value: ${shorten(text)}, must be 'true' or 'false'.`)
  return lower === 'true'
}
