import { type DescEnum, type DescField, type DescMessage, ScalarType } from '@bufbuild/protobuf'
import type { Random } from './random.ts'

/** Names of things that exist, by the field that names them. */
export type Known = Readonly<Record<string, readonly string[]>>

const LONG = 'x'.repeat(5_001)
const VERY_LONG = 'é'.repeat(60_000)
const TEXTS = [
  '',
  ' ',
  '0',
  '-1',
  'a',
  'ab/c',
  '.',
  '..',
  '../../etc/passwd',
  '/etc/passwd',
  '%00',
  '%2e%2e/',
  'a#b',
  'a?b',
  'a\u0000b',
  '\u001f',
  '😀',
  '\ud800',
  'ｆｕｌｌ',
  "it's",
  '"',
  '\\',
  '`',
  "'; DROP TABLE runs; --",
  'NaN',
  'inf',
  'true',
  'null',
  '[]',
  '{}',
  '1e309',
  '9223372036854775808',
  'mlflow.runName',
  'file:///etc',
  's3://b//k',
  'mlflow-artifacts:/x',
  'http://127.0.0.1:1/x',
  LONG,
  VERY_LONG,
]
const FILTERS = [
  "params.a = 'b'",
  "tags.`x y` != 'z'",
  'metrics.m > 1',
  'metrics.m >= 1e999',
  "attributes.status = 'RUNNING'",
  "name LIKE '%'",
  "run_id IN ('a','b')",
  "params.a = 'b' AND params.c = 'd'",
  "params.a = 'b' OR 1 = 1",
  'metrics.m',
  'metrics.m >',
  "params.'a = 1",
  '((((((((((',
  'a = b = c',
  "dataset.name = 'd'",
  "experiment_id = '0'",
  'creation_time > 1 AND creation_time > 99999999999999999999',
  "tags.a RLIKE '('",
  '`',
  '"',
  ';;;;',
  "params.a = '\u0000'",
  'metrics.m DESC',
  'start_time ASC',
  'attribute.end_time',
  'tag."a" desc',
  'params.a IS NULL',
  "params.a = 'b' ".repeat(60),
  'AND '.repeat(500),
  `${'metrics.a < 1 and '.repeat(40)}metrics.a < 1`,
]
const NUMBERS = [0, 1, -1, 5, 1000, 50_000, 2 ** 31, -(2 ** 31) - 1, 2 ** 53, 2 ** 63, -(2 ** 63), 1e18, 1e300, 1.5, -0]
const WRONG = [null, true, 0, 'x', [], {}, [[]], [{}], { a: { b: {} } }, [null], '\ud800', Infinity, [1, 'a', null]]
const DEPTH_MAX = 4

/** What a client might send for a message: mostly of the right types with odd values, sometimes not. */
export class Values {
  readonly #random: Random
  readonly #known: Known

  constructor(random: Random, known: Known) {
    this.#random = random
    this.#known = known
  }

  message(desc: DescMessage, depth = 0): Record<string, unknown> {
    const random = this.#random
    const json: Record<string, unknown> = {}
    for (const field of desc.fields) {
      if (random.chance(0.25)) continue
      const name = random.chance(0.03) ? field.jsonName : field.name
      json[name] = random.chance(0.05) ? random.pick(WRONG) : this.field(field, depth)
    }
    if (random.chance(0.05)) json.unknown_field = random.pick(WRONG)
    return json
  }

  field(field: DescField, depth: number): unknown {
    const random = this.#random
    switch (field.fieldKind) {
      case 'list': {
        const count = random.chance(0.05) ? 300 : random.below(4)
        return Array.from({ length: count }, () => this.#one(field, depth))
      }
      case 'map':
        return Object.fromEntries(Array.from({ length: random.below(4) }, () => [random.pick(TEXTS), this.#one(field, depth)]))
      default:
        return this.#one(field, depth)
    }
  }

  text(name: string): string {
    const random = this.#random
    const known = this.#known[name] ?? this.#known[name.replace(/s$/, '')]
    if (known?.length && random.chance(0.7)) return random.pick(known)
    if (/filter|order_by/.test(name) && random.chance(0.8)) return random.pick(FILTERS)
    if (/token/.test(name) && random.chance(0.5)) return Buffer.from(JSON.stringify({ offset: random.pick(NUMBERS) })).toString('base64')
    return random.pick(TEXTS)
  }

  #one(field: DescField, depth: number): unknown {
    const random = this.#random
    if (field.message) return depth >= DEPTH_MAX ? {} : this.message(field.message, depth + 1)
    if (field.enum) return this.#enumValue(field.enum)
    switch (field.scalar) {
      case ScalarType.STRING:
        return this.text(field.name)
      case ScalarType.BYTES:
        return random.pick(['', 'AAAA', '%', 'A'])
      case ScalarType.BOOL:
        return random.pick([true, false, 'true', 0])
      default:
        return random.chance(0.2) ? String(random.pick(NUMBERS)) : random.pick(NUMBERS)
    }
  }

  #enumValue({ values, sharedPrefix = '' }: DescEnum): unknown {
    const { name, number } = this.#random.pick(values)
    return this.#random.pick([name.slice(sharedPrefix.length), name, number, 'NOPE', 99, ''])
  }
}
