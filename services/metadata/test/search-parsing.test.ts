import { describe, expect, test } from 'vitest'
import { parseExperimentFilter, parseExperimentOrder } from '../src/search/experiment-filter.ts'
import { tokenize } from '../src/search/lexer.ts'
import { SEARCH_CHARACTERS_MAX } from '../src/search/limits.ts'
import { parseLoggedModelFilter } from '../src/search/logged-model-filter.ts'
import { parseRunOrder } from '../src/search/order-by.ts'
import { createPageToken, parsePageToken } from '../src/search/page-token.ts'
import { bytesRepr, floatRepr, parseInteger, parseTuple, repr, shellWords } from '../src/search/python.ts'
import { parseRunFilter, type RunCondition } from '../src/search/run-filter.ts'

const encoded = (text: string) => Buffer.from(text).toString('base64')

describe('filters of runs', () => {
  const cases: [string, RunCondition[]][] = [
    ['', []],
    ['metrics.acc > 0.5', [{ on: 'metric', key: 'acc', operator: '>', value: 0.5 }]],
    ['metric.`a b/c`<=-1e-3', [{ on: 'metric', key: 'a b/c', operator: '<=', value: -0.001 }]],
    ["params.lr = 'it''s'", [{ on: 'param', key: 'lr', operator: '=', value: "it''s" }]],
    ['parameter.a.b.c ilike "x%"', [{ on: 'param', key: 'a.b.c', operator: 'ILIKE', value: 'x%' }]],
    ['tags."note one" is  not null', [{ on: 'tag', key: 'note one', operator: 'IS NOT NULL' }]],
    ['tags.日本 is null', [{ on: 'tag', key: '日本', operator: 'IS NULL' }]],
    ['tags.select.order != "x"', [{ on: 'tag', key: 'select.order', operator: '!=', value: 'x' }]],
    ["attr.`Run name` LIKE 'r%'", [{ on: 'text-attribute', name: 'run_name', operator: 'LIKE', value: 'r%' }]],
    ['Created >= 9007199254740993', [{ on: 'number-attribute', name: 'start_time', operator: '>=', value: 9007199254740993n }]],
    ['run.end_time < 1.5', [{ on: 'number-attribute', name: 'end_time', operator: '<', value: 1.5 }]],
    ['run_id NOT IN (\'a\', "b",)', [{ on: 'text-attribute', name: 'run_id', operator: 'NOT IN', value: ['a', 'b'] }]],
    ["dataset.context in ('it' 's')", [{ on: 'dataset', field: 'context', operator: 'IN', value: ['its'] }]],
    [
      "metrics.m = 1 and tags.t = 'x' AND status = 'FAILED'",
      [
        { on: 'metric', key: 'm', operator: '=', value: 1 },
        { on: 'tag', key: 't', operator: '=', value: 'x' },
        { on: 'text-attribute', name: 'status', operator: '=', value: 'FAILED' },
      ],
    ],
  ]
  test.each(cases)('%j', (input, conditions) => {
    expect(parseRunFilter(input).conditions()).toEqual(conditions)
  })

  test('operators are looked at after the form of all clauses, as MLflow looks at order_by in between', () => {
    expect(() => parseRunFilter("metrics.m LIKE 5 AND foo = 'x'")).toThrow(/Invalid attribute key 'foo'/)
    expect(() => parseRunFilter('metrics.m LIKE 5')).not.toThrow()
  })
})

test('filters and orders of experiments', () => {
  expect(parseExperimentFilter("name LIKE 'a%' AND tags.k IS NULL AND experiment_id IN ('1', '2') AND creation_time > 5")).toEqual([
    { on: 'name', operator: 'LIKE', value: 'a%' },
    { on: 'tag', key: 'k', operator: 'IS NULL' },
    { on: 'id', operator: 'IN', value: [1n, 2n] },
    { on: 'time', field: 'creation_time', operator: '>', value: 5n },
  ])
  expect(parseExperimentOrder([])).toEqual([
    { field: 'creation_time', ascending: false },
    { field: 'experiment_id', ascending: true },
  ])
  expect(parseExperimentOrder(['attribute.name desc'])).toEqual([{ field: 'name', ascending: false }])
})

test('orders of runs', () => {
  expect(parseRunOrder(['metrics.`a b` DESC', 'param.p', 'attributes.Created asc', 'tags."x y"'])).toEqual([
    { by: 'metric', key: 'a b', ascending: false },
    { by: 'param', key: 'p', ascending: true },
    { by: 'attribute', name: 'start_time', ascending: true },
    { by: 'tag', key: 'x y', ascending: true },
  ])
})

test('tokens are the whole text and know where they stand', () => {
  const source = "metrics.`a b` >= -1.5e3 -- c\n/* x */ $$t$$ 'un"
  const tokens = tokenize(source)
  expect(tokens.map(token => token.text).join('')).toBe(source)
  for (const { text, at } of tokens) expect(source.startsWith(text, at)).toBe(true)
  expect(tokens.filter(token => token.kind !== 'space').map(token => token.kind)).toEqual(
    'name punct name compare float comment comment literal error name'.split(' '),
  )
})

function answer(read: () => unknown): string {
  try {
    read()
    return 'read'
  } catch (reason) {
    return String(reason)
  }
}

test('a long text of any kind is read, or refused in few words, in time that grows with its length', () => {
  const pieces = [
    "'",
    '"',
    '`',
    '(',
    '/*',
    '/* ',
    '$a',
    '$a ',
    "\\'",
    'a.',
    'a=',
    'a+',
    '--',
    '#',
    ';',
    'LEFT ',
    'NOT ',
    'WHERE LIMIT ',
    '1',
  ]
  for (const piece of pieces) {
    const text = `metrics.a > ${piece.repeat(SEARCH_CHARACTERS_MAX)}`.slice(0, SEARCH_CHARACTERS_MAX - 1)
    for (const input of [text, text.slice(0, 9_000), `${text}x`]) {
      const start = performance.now()
      for (const read of [parseRunFilter, parseLoggedModelFilter, parseExperimentFilter])
        expect(answer(() => read(input)).length, piece).toBeLessThan(2000)
      expect(performance.now() - start, piece).toBeLessThan(3000)
    }
  }
})

describe('page tokens', () => {
  test.each([
    [undefined, 0],
    ['', 0],
    ['eyJvZmZzZXQiOiAyfQ==', 2],
    ['eyJv ZmZz!ZXQiOiAyfQ==xx', 2],
    [encoded('{"offset": "7"}'), 7],
    [encoded('{"offset": 2.7}'), 2],
    [encoded('{"offset": -3}'), 0],
    [createPageToken(12), 12],
    [createPageToken(12, ['id', '5']), 12],
  ])('%j skips %d', (token, offset) => {
    expect(parsePageToken(token).offset).toBe(offset)
  })

  test('ours is the one MLflow makes, or one with more in it', () => {
    expect(createPageToken(2)).toBe('eyJvZmZzZXQiOiAyfQ==')
    expect(parsePageToken(createPageToken(2, ['id', null])).after).toEqual(['id', null])
  })

  test.each([
    ['garbage', 'Invalid page token, could not base64-decode'],
    ['!!', "Invalid page token, decoded value=b''"],
    [encoded("it's"), 'Invalid page token, decoded value=b"it\'s"'],
    ['/w==', "Invalid page token, decoded value=b'\\xff'"],
    ['e30=', 'Invalid page token, parsed value={}'],
    [
      encoded('{"offset": 0, "a": [1, 2.5, null, true, "x\'y"]}'),
      `Invalid page token, parsed value={'offset': 0, 'a': [1, 2.5, None, True, "x'y"]}`,
    ],
    [encoded('{"offset": {}}'), "Invalid page token, parsed value={'offset': {}}"],
    [encoded('{"offset": "x"}'), 'Invalid page token, not stringable x'],
    [encoded('{"offset": [2]}'), 'Invalid page token, not stringable [2]'],
  ])('%j is refused', (token, message) => {
    expect(() => parsePageToken(token)).toThrow(message)
  })
})

test("Python's texts and literals", () => {
  expect(repr('it\'s "q"\n\u00e9\u200b\u{1f600}')).toBe(`'it\\'s "q"\\n\u00e9\\u200b\u{1f600}'`)
  expect(bytesRepr(Buffer.from("a'\x00é"))).toBe(`b"a'\\x00\\xc3\\xa9"`)
  expect([1, 1e16, 1e-5, 0.1, -0, 1e22, Number.NaN].map(value => floatRepr(value))).toEqual([
    '1.0',
    '1e+16',
    '1e-05',
    '0.1',
    '-0.0',
    '1e+22',
    'nan',
  ])
  expect([' 12 ', '1_000', '+5', '-0', '1.5', '', '1__0', '0x1'].map(parseInteger)).toEqual([
    12n,
    1000n,
    5n,
    0n,
    ...Array(4).fill(undefined),
  ])
  expect(shellWords(`a "b c" d\\ e 'f'g`)).toEqual(['a', 'b c', 'd e', 'fg'])
  expect(shellWords('a "b')).toBeUndefined()
  expect(parseTuple('(\'a\', 1, -2.5, None, True, "b\\x41\\n")')).toEqual(['a', 1n, -2.5, null, true, 'bA\n'])
  expect(parseTuple("(('a', 'b'))")).toEqual(['a', 'b'])
  for (const text of ['(a)', "('a' b)", '(,)', "('a',,'b')"]) expect(parseTuple(text)).toBeUndefined()
})
