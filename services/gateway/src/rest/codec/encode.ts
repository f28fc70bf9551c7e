import { type DescEnum, type DescField, type DescMessage, ScalarType } from '@bufbuild/protobuf'
import { enumNames } from './names.ts'

export type Encoder = (message: object) => string

export interface EncodeOptions {
  /** As Python's json module writes a dict: the bare tokens NaN, Infinity and -Infinity instead of strings, and empty lists too. */
  plain?: boolean
}

/**
 * The function that writes a message as MLflow's JSON: snake_case names, 64-bit integers as numbers, enums by MLflow's name,
 * fields that are set (defaults too), no empty lists or maps. Generated source, like `decoderOf`.
 */
export function encoderOf(desc: DescMessage, options: EncodeOptions = {}): Encoder {
  const link = linkOf(desc, options.plain ?? false)
  return message => link.append('', message)
}

type Link = (value: unknown) => string

/** Appends a message to the text so far: a result that grows in one place is joined once, at the end. */
type Append = (text: string, message: object) => string

const appenders = [new Map<DescMessage, { append: Append }>(), new Map<DescMessage, { append: Append }>()] as const

function linkOf(desc: DescMessage, plain: boolean): { append: Append } {
  const cache = appenders[plain ? 1 : 0]
  const known = cache.get(desc)
  if (known) return known
  const link: { append: Append } = { append: text => text }
  cache.set(desc, link)
  link.append = compile(desc, plain)
  return link
}

function compile(desc: DescMessage, plain: boolean): Append {
  const links: unknown[] = [text, plain ? bareFloat : float]
  const link: Link = value => `l${links.push(value) - 1}`
  const fields = [...desc.fields].sort((a, b) => a.number - b.number)
  const body = `return (s, m) => {
    s += '{'
    let first = true, v
    ${fields.map(field => write(field, link, plain)).join('\n')}
    return s + '}'
  }`
  const names = links.map((_, i) => `l${i}`)
  return new Function(...names, body)(...links) as Append
}

/** Source that appends one field to `s`; `first` says that no comma is needed. */
function write(field: DescField, link: Link, plain: boolean): string {
  const name = (open = '') => {
    const text = `${JSON.stringify(field.name)}:${open}`
    return `s += first ? ${JSON.stringify(text)} : ${JSON.stringify(`,${text}`)}; first = false`
  }
  const append = (v: string) => one(field, v, link, plain)
  const get = `v = m.${field.localName}`
  switch (field.fieldKind) {
    case 'list':
      return `${get}; if (${plain} || v.length > 0) { ${name('[')}; for (let i = 0; i < v.length; i++) { if (i > 0) s += ','; ${append('v[i]')} } s += ']' }`
    case 'map':
      return `${get}; { let n = 0; for (const k in v) { if (n++ === 0) { ${name('{')} } else s += ','; s += l0(k) + ':'; ${append('v[k]')} } if (n > 0) s += '}' }`
    default:
      return `${get}; if (v !== undefined) { ${name()}; ${append('v')} }`
  }
}

function one(field: DescField, v: string, link: Link, plain: boolean): string {
  if (field.message) return `s = ${link(linkOf(field.message, plain))}.append(s, ${v})`
  if (field.enum) return `s += ${link(enumWriter(field.enum))}(${v})`
  switch (field.scalar) {
    case ScalarType.STRING:
      return `s += l0(${v})`
    case ScalarType.BYTES:
      return `s += ${link((value: Uint8Array) => `"${Buffer.from(value).toString('base64')}"`)}(${v})`
    case ScalarType.DOUBLE:
    case ScalarType.FLOAT:
      return `s += l1(${v})`
    default:
      return `s += ${v}`
  }
}

function enumWriter(desc: DescEnum): (value: number) => string {
  const quoted = Object.fromEntries(Object.entries(enumNames(desc)).map(([number, name]) => [number, JSON.stringify(name)]))
  return value => quoted[value] ?? String(value)
}

const UNSAFE = /["\\\p{Cc}\p{Cs}]/u

function text(value: string): string {
  return UNSAFE.test(value) ? JSON.stringify(value) : `"${value}"`
}

function float(value: number): string {
  return Number.isFinite(value) ? bareFloat(value) : `"${value}"`
}

/** A whole number keeps its fraction, as in Python: 1.0, -0.0. */
function bareFloat(value: number): string {
  if (!Number.isInteger(value) || Math.abs(value) >= 1e16) return `${value}`
  return Object.is(value, -0) ? '-0.0' : `${value}.0`
}
