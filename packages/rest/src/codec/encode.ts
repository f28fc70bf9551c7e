import { type DescEnum, type DescField, type DescMessage, ScalarType } from '@bufbuild/protobuf'
import { pythonFloat } from '@millrace/kit/python-json'
import { JsonBytes } from './json-bytes.ts'
import { enumNames } from './names.ts'

/** The message's JSON in UTF-8, in one chunk or more. */
export type Encoder = (message: object) => Buffer[]

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
  let out: JsonBytes | undefined
  return message => {
    out ??= new JsonBytes()
    try {
      link.write(out, message)
      return out.take()
    } finally {
      out.reset()
    }
  }
}

type Link = (value: unknown) => string

type Write = (out: JsonBytes, message: object) => void

const writers = [new Map<DescMessage, { write: Write }>(), new Map<DescMessage, { write: Write }>()] as const

function linkOf(desc: DescMessage, plain: boolean): { write: Write } {
  const cache = writers[plain ? 1 : 0]
  const known = cache.get(desc)
  if (known) return known
  const link: { write: Write } = { write: () => {} }
  cache.set(desc, link)
  link.write = compile(desc, plain)
  return link
}

function compile(desc: DescMessage, plain: boolean): Write {
  const links: unknown[] = [plain ? bareFloat : float]
  const link: Link = value => `l${links.push(value) - 1}`
  const fields = [...desc.fields].sort((a, b) => a.number - b.number)
  const body = `return (o, m) => {
    o.raw('{')
    let first = true, v
    ${fields.map(field => write(field, link, plain)).join('\n')}
    o.raw('}')
  }`
  const names = links.map((_, i) => `l${i}`)
  return new Function(...names, body)(...links) as Write
}

/** Source that writes one field to `o`; `first` says that no comma is needed. */
function write(field: DescField, link: Link, plain: boolean): string {
  const name = (open = '') => {
    const text = `${JSON.stringify(field.name)}:${open}`
    return `o.raw(first ? ${JSON.stringify(text)} : ${JSON.stringify(`,${text}`)}); first = false`
  }
  const append = (v: string) => one(field, v, link, plain)
  const get = `v = m.${field.localName}`
  switch (field.fieldKind) {
    case 'list':
      return `${get}; if (${plain} || v.length > 0) { ${name('[')}; for (let i = 0; i < v.length; i++) { if (i > 0) o.raw(','); ${append('v[i]')} } o.raw(']') }`
    case 'map':
      return `${get}; { let n = 0; for (const k in v) { if (n++ === 0) { ${name('{')} } else o.raw(','); o.text(k); o.raw(':'); ${append('v[k]')} } if (n > 0) o.raw('}') }`
    default:
      return `${get}; if (v !== undefined) { ${name()}; ${append('v')} }`
  }
}

function one(field: DescField, v: string, link: Link, plain: boolean): string {
  if (field.message) return `${link(linkOf(field.message, plain))}.write(o, ${v})`
  if (field.enum) return `o.raw(${link(enumWriter(field.enum))}(${v}))`
  switch (field.scalar) {
    case ScalarType.STRING:
      return `o.text(${v})`
    case ScalarType.BYTES:
      return `o.text(${link((value: Uint8Array) => Buffer.from(value).toString('base64'))}(${v}))`
    case ScalarType.DOUBLE:
    case ScalarType.FLOAT:
      return `o.raw(l0(${v}))`
    default:
      return `o.raw(String(${v}))`
  }
}

function enumWriter(desc: DescEnum): (value: number) => string {
  const quoted = Object.fromEntries(Object.entries(enumNames(desc)).map(([number, name]) => [number, JSON.stringify(name)]))
  return value => quoted[value] ?? String(value)
}

function float(value: number): string {
  return Number.isFinite(value) ? bareFloat(value) : `"${value}"`
}

/** A whole number keeps its fraction or exponent, as in Python: 1.0, -0.0, 1e+16. Without one it would be read as an exact integer. */
function bareFloat(value: number): string {
  if (!Number.isInteger(value)) return `${value}`
  if (Math.abs(value) >= 1e16) return pythonFloat(value)
  return Object.is(value, -0) ? '-0.0' : `${value}.0`
}
