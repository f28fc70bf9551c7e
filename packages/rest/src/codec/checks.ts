import { type DescMessage, getOption } from '@bufbuild/protobuf'
import { invalidParameter } from '@millrace/kit/errors'
import { type PyJson, pythonType, shownPython } from '@millrace/kit/python-json'
import { check, check_order, old_name } from '@millrace/proto/millrace/options/v1/rest_pb'
import { pythonFloatOf, pythonIntOf } from './scalars.ts'

/** JSON as it was read fast (numbers only) or exactly (bigint and number). */
export type Json = Readonly<Record<string, unknown>>

/** A failed check: a message of its own, or undefined for the general "Invalid value". */
type Failure = { message: string | undefined }
type Check = { readonly isType: boolean; run(value: unknown): Failure | undefined }
type FieldChecks = {
  readonly name: string
  /** Where old clients send the value. */
  readonly oldName: string
  readonly required: boolean
  readonly checks: readonly Check[]
}

/** The checks of a request message's fields, in MLflow's order. */
export type Checks = readonly FieldChecks[]

const SEE_DOCS = ' See the API docs for more information about request parameters.'
const GENERAL: Failure = { message: undefined }

export function checksOf(desc: DescMessage): Checks {
  const first = getOption(desc, check_order)
  const rank = (name: string) => (first.includes(name) ? first.indexOf(name) : first.length)
  return [...desc.fields]
    .sort((a, b) => rank(a.name) - rank(b.name) || a.number - b.number)
    .flatMap(field => {
      const texts = getOption(field, check)
      if (texts.length === 0) return []
      const rpc = desc.name.replace(/Request$/, '')
      return {
        name: field.name,
        oldName: getOption(field, old_name),
        required: texts.includes('required'),
        checks: texts.map(text => parse(text, field.name, rpc)),
      }
    })
}

/**
 * Runs the checks as MLflow does: absent fields only when required, types only when the message couldn't be read.
 * @param exact the JSON read with Python's types, for the words of the error.
 * @throws MlflowError INVALID_PARAMETER_VALUE
 */
export function validate(checks: Checks, json: Json, readFailed: boolean, exact: () => Json): void {
  for (let i = 0; i < checks.length; i++) {
    const field = checks[i] as FieldChecks
    const value = given(json, field)
    if (value === undefined && !field.required) continue
    for (const one of field.checks) {
      if (one.isType && !readFailed) continue
      const failure = one.run(value)
      if (failure) throw invalidParameter((failure.message ?? misfit(field.name, given(exact(), field))) + SEE_DOCS)
    }
  }
}

function given(json: Json, { name, oldName }: FieldChecks): unknown {
  const value = json[name]
  return oldName !== '' && (value === undefined || value === null) && json[oldName] !== undefined ? json[oldName] : value
}

function misfit(name: string, value: unknown = null): string {
  const shown = value as PyJson
  return `Invalid value ${shownPython(shown)} for parameter '${name}' supplied:  Hint: Value was of type '${pythonType(shown)}'.`
}

const missing = (path: string): Failure => ({ message: `Missing value for required parameter '${path}'.` })
const isMissing = (value: unknown) => value === undefined || value === null || value === ''

function type(test: (value: unknown) => boolean): Check {
  return { isType: true, run: value => (test(value) ? undefined : GENERAL) }
}

function rule(run: (value: unknown) => Failure | undefined): Check {
  return { isType: false, run }
}

/** `int(value)` of Python, undefined where it fails. */
function intOf(value: unknown): number | bigint | undefined {
  switch (typeof value) {
    case 'bigint':
      return value
    case 'number':
      return Number.isFinite(value) ? Math.trunc(value) : undefined
    case 'boolean':
      return Number(value)
    case 'string':
      return pythonIntOf(value)
    default:
      return undefined
  }
}

/** Whether Python's `float(value)` gives a float. */
function isFloatLike(value: unknown): boolean {
  switch (typeof value) {
    case 'string':
      return pythonFloatOf(value) !== undefined
    case 'bigint':
      return Number.isFinite(Number(value))
    default:
      return typeof value === 'number' || typeof value === 'boolean'
  }
}

const TYPES: Readonly<Record<string, Check>> = {
  string: type(value => typeof value === 'string'),
  intlike: type(value => intOf(value) !== undefined),
  floatlike: type(isFloatLike),
  bool: type(value => typeof value === 'boolean'),
  array: type(Array.isArray),
  item_type_string: type(value => Array.isArray(value) && value.every(item => typeof item === 'string')),
  dict: { isType: false, run: value => (typeof value === 'object' && value !== null && !Array.isArray(value) ? undefined : GENERAL) },
}

function parse(text: string, name: string, rpc: string): Check {
  const [kind = '', argument = ''] = text.split(':')
  const known = TYPES[kind]
  if (known) return known
  switch (kind) {
    case 'required':
      return rule(value => (isMissing(value) ? missing(name) : undefined))
    case 'max':
      return rule(value => {
        const found = intOf(value)
        return found === undefined || found > Number(argument) ? GENERAL : undefined
      })
    case 'range': {
      const [least = 0, most = 0] = argument.split('..').map(Number)
      const message = `${name} must be between ${least} and ${most}.`
      return rule(value => {
        const found = intOf(value)
        return found === undefined ? GENERAL : found < least || found > most ? { message } : undefined
      })
    }
    case 'max_items':
      return rule(value => {
        if (!Array.isArray(value)) return GENERAL
        const message = `${rpc} request must specify at most ${argument} ${name}. Received ${value.length} ${name}.`
        return value.length > Number(argument) ? { message } : undefined
      })
    case 'items_have':
      return itemsHave(name, argument.split(','))
    default:
      throw new Error(`unknown check '${text}' on ${rpc}.${name}`)
  }
}

function itemsHave(list: string, names: readonly string[]): Check {
  return rule(value => {
    if (!Array.isArray(value)) return GENERAL
    for (let i = 0; i < value.length; i++) {
      const item = value[i]
      if (typeof item !== 'object' || item === null) return GENERAL
      for (const name of names) if (isMissing(item[name])) return missing(`${list}[${i}].${name}`)
    }
    return undefined
  })
}
