import { type Group, type GroupKind, isKeyword, isSpace, isWord, type Node, type Token } from './token.ts'

/** More tokens than this in one statement are refused, as in MLflow: grouping is quadratic at worst. */
export const STATEMENT_TOKENS_MAX = 10_000
/** Deeper nesting of parentheses than this is refused, as in MLflow. */
export const NESTING_MAX = 100

/**
 * Groups the neighbours of one statement the way MLflow's grammar sees them: names around dots are an identifier, two values around
 * an operator a comparison, and so on. What stays ungrouped, or ends in another group, is what MLflow's errors quote, so the order of
 * the steps below is part of the contract with clients. Only the outermost level is grouped: text in parentheses stays as written.
 * @throws RangeError for more tokens or deeper nesting than MLflow takes.
 */
export function group(tokens: readonly Token[]): Node[] {
  const list: Node[] = [...tokens]
  if (list.length > STATEMENT_TOKENS_MAX || nesting(tokens) > NESTING_MAX) throw new RangeError('statement too large')
  groupComments(list)
  groupEnclosed(
    list,
    'brackets',
    n => n.text === '[' && n.kind === 'punct',
    n => n.text === ']' && n.kind === 'punct',
  )
  groupEnclosed(
    list,
    'parenthesis',
    n => n.text === '(' && n.kind === 'punct',
    n => n.text === ')' && n.kind === 'punct',
  )
  groupEnclosed(
    list,
    'case',
    n => isWord(n, 'CASE'),
    n => isWord(n, 'END'),
  )
  groupEnclosed(
    list,
    'if',
    n => isWord(n, 'IF'),
    n => isWord(n, 'END IF'),
  )
  groupEnclosed(
    list,
    'for',
    n => isWord(n, 'FOR') || isWord(n, 'FOREACH'),
    n => isWord(n, 'END LOOP'),
  )
  groupEnclosed(
    list,
    'begin',
    n => isWord(n, 'BEGIN'),
    n => isWord(n, 'END'),
  )
  groupFunctions(list)
  groupWhere(list)
  groupAround(list, PERIOD)
  groupAround(list, ARRAY)
  for (let i = 0; i < list.length; i++) if (oneOf(list[i], 'name', 'symbol')) join(list, 'identifier', i, i)
  groupOrder(list)
  groupAround(list, TYPE_CAST)
  groupAround(list, TYPED_LITERAL)
  groupAround(list, TYPED_LITERAL_UNIT)
  groupAround(list, OPERATION)
  groupAround(list, COMPARISON)
  groupAround(list, ALIAS)
  groupAliased(list)
  groupAround(list, ASSIGNMENT)
  alignComments(list)
  groupAround(list, IDENTIFIER_LIST)
  groupValues(list)
  return list
}

const oneOf = (node: Node | undefined, ...kinds: Node['kind'][]) => node !== undefined && kinds.includes(node.kind)

/** Replaces list[from..to] by one group; with `extend` a first member that is such a group already takes the others in. */
function join(list: Node[], kind: GroupKind, from: number, to: number, extend = false): Group {
  const taken = list.slice(from, to + 1)
  const first = taken[0] as Node
  const parts = extend && first.kind === kind && first.parts ? [...first.parts, ...taken.slice(1)] : taken
  const grouped: Group = { kind, text: taken.map(n => n.text).join(''), at: first.at, parts }
  list.splice(from, taken.length, grouped)
  return grouped
}

function nextIndex(list: readonly Node[], after: number): number {
  for (let i = after + 1; i < list.length; i++) if (!isSpace(list[i] as Node)) return i
  return -1
}

function previousIndex(list: readonly Node[], before: number): number {
  for (let i = before - 1; i >= 0; i--) if (!isSpace(list[i] as Node)) return i
  return -1
}

/** A group made of a middle, what stands before it and, mostly, what follows it. */
interface Around {
  kind: GroupKind
  middle: (node: Node) => boolean
  before: (node: Node) => boolean
  after: (node: Node | undefined) => boolean
  /** Whether the group ends with the middle itself, although it is valid. */
  endsAtMiddle?: (after: Node | undefined) => boolean
  /** Whether the group starts with the middle. */
  startsAtMiddle?: boolean
  extend: boolean
}

/** A node that a group has taken in still counts as the left neighbour of the next middle: `a = b = c` nests to the left. */
function groupAround(list: Node[], rule: Around): void {
  let offset = 0
  let previous: Node | undefined
  let previousAt = -1
  const before = [...list]
  for (let index = 0; index < before.length; index++) {
    const at = index - offset
    const node = before[index] as Node
    if (at < 0 || isSpace(node)) continue
    if (rule.middle(node) && previous && rule.before(previous)) {
      const next = nextIndex(list, at)
      const following = next < 0 ? undefined : list[next]
      if (rule.after(following)) {
        const from = rule.startsAtMiddle ? at : previousAt
        const to = next < 0 || rule.endsAtMiddle?.(following) ? at : next
        previous = join(list, rule.kind, from, to, rule.extend)
        previousAt = from
        offset += to - from
        continue
      }
    }
    previous = node
    previousAt = at
  }
}

const VALUE_KINDS: readonly Node['kind'][] = ['integer', 'float', 'string', 'symbol', 'name', 'placeholder']
const PERIOD: Around = {
  kind: 'identifier',
  middle: n => (n.kind === 'punct' && n.text === '.') || (n.kind === 'operator' && (n.text === '->' || n.text === '->>')),
  before: n => oneOf(n, 'brackets', 'identifier', 'name', 'symbol'),
  after: () => true,
  endsAtMiddle: n => !oneOf(n, 'brackets', 'function', 'name', 'symbol', 'wildcard', 'string'),
  extend: true,
}
const ARRAY: Around = {
  kind: 'identifier',
  middle: n => n.kind === 'brackets',
  before: n => oneOf(n, 'brackets', 'identifier', 'function', 'name', 'symbol'),
  after: () => true,
  endsAtMiddle: () => true,
  extend: true,
}
const TYPE_CAST: Around = {
  kind: 'identifier',
  middle: n => n.kind === 'punct' && n.text === '::',
  before: () => true,
  after: n => n !== undefined,
  extend: true,
}
const TYPED_LITERAL: Around = {
  kind: 'typed-literal',
  middle: n => n.kind === 'builtin' || isWord(n, 'TIMESTAMP'),
  before: () => true,
  after: n => oneOf(n, 'string'),
  startsAtMiddle: true,
  extend: false,
}
const UNITS = ['DAY', 'HOUR', 'MINUTE', 'MONTH', 'SECOND', 'YEAR']
const TYPED_LITERAL_UNIT: Around = {
  kind: 'typed-literal',
  middle: n => n.kind === 'typed-literal',
  before: () => true,
  after: n => n !== undefined && UNITS.some(unit => isWord(n, unit)),
  startsAtMiddle: true,
  extend: true,
}
const isOperand = (n: Node | undefined) =>
  n !== undefined &&
  (oneOf(n, 'brackets', 'parenthesis', 'function', 'identifier', 'operation', 'typed-literal', ...VALUE_KINDS) ||
    ['CURRENT_DATE', 'CURRENT_TIME', 'CURRENT_TIMESTAMP'].some(word => isWord(n, word)))
const OPERATION: Around = {
  kind: 'operation',
  middle: n => oneOf(n, 'operator', 'wildcard'),
  before: isOperand,
  after: isOperand,
  extend: false,
}
const isComparable = (n: Node | undefined) =>
  n !== undefined &&
  (oneOf(n, 'parenthesis', 'function', 'identifier', 'operation', 'typed-literal', ...VALUE_KINDS) ||
    (isKeyword(n) && n.text.toUpperCase() === 'NULL'))
const COMPARISON: Around = {
  kind: 'comparison',
  middle: n => n.kind === 'compare',
  before: isComparable,
  after: isComparable,
  extend: false,
}
const ALIAS: Around = {
  kind: 'identifier',
  middle: n => isWord(n, 'AS'),
  before: n => !isKeyword(n) || n.text.toUpperCase() === 'NULL',
  after: n => n !== undefined && !oneOf(n, 'dml', 'ddl', 'cte'),
  extend: true,
}
const ASSIGNMENT: Around = {
  kind: 'assignment',
  middle: n => n.kind === 'assign',
  before: n => n.kind !== 'keyword',
  after: n => n !== undefined && n.kind !== 'keyword',
  extend: true,
}
const isListed = (n: Node | undefined) =>
  oneOf(n, 'function', 'case', 'identifier', 'comparison', 'identifier-list', 'operation', 'keyword', 'wildcard', ...VALUE_KINDS)
const IDENTIFIER_LIST: Around = {
  kind: 'identifier-list',
  middle: n => n.kind === 'punct' && n.text === ',',
  before: isListed,
  after: isListed,
  extend: true,
}

function groupComments(list: Node[]): void {
  for (let at = 0; at < list.length; at++) {
    if (list[at]?.kind !== 'comment') continue
    let end = at
    while (end < list.length && oneOf(list[end], 'comment', 'newline')) end++
    if (end === list.length) return
    join(list, 'comments', at, end - 1)
  }
}

function groupEnclosed(list: Node[], kind: GroupKind, opens: (n: Node) => boolean, closes: (n: Node) => boolean): void {
  const open: number[] = []
  for (let at = 0; at < list.length; at++) {
    const node = list[at] as Node
    if (opens(node)) open.push(at)
    else if (closes(node)) {
      const from = open.pop()
      if (from === undefined) continue
      join(list, kind, from, at)
      at = from
    }
  }
}

function groupFunctions(list: Node[]): void {
  const has = (word: string) => list.some(n => n.text.toUpperCase() === word)
  if (has('CREATE') && has('TABLE') && !has('AS')) return
  for (let at = 0; at < list.length; at++) {
    if (!oneOf(list[at], 'name', 'builtin', 'placeholder')) continue
    const next = nextIndex(list, at)
    if (next >= 0 && list[next]?.kind === 'parenthesis') join(list, 'function', at, next)
  }
}

const AFTER_WHERE = ['ORDER BY', 'GROUP BY', 'LIMIT', 'UNION', 'UNION ALL', 'EXCEPT', 'INTERSECT', 'HAVING', 'RETURNING', 'INTO']

function groupWhere(list: Node[]): void {
  for (let at = 0; at < list.length; at++) {
    if (!isWord(list[at] as Node, 'WHERE')) continue
    const end = list.findIndex((n, i) => i > at && AFTER_WHERE.some(word => isWord(n, word)))
    join(list, 'where', at, end < 0 ? list.length - 1 : end - 1)
  }
}

function groupOrder(list: Node[]): void {
  for (let at = 0; at < list.length; at++) {
    if (list[at]?.kind !== 'order') continue
    const previous = previousIndex(list, at)
    if (previous < 0 || !oneOf(list[previous], 'identifier', 'integer', 'float', 'hex')) continue
    join(list, 'identifier', previous, at)
    at = previous
  }
}

function groupAliased(list: Node[]): void {
  const named: Node['kind'][] = ['parenthesis', 'function', 'case', 'identifier', 'operation', 'comparison', 'integer', 'float', 'hex']
  for (let at = 0; at < list.length; at++) {
    if (!oneOf(list[at], ...named)) continue
    const next = nextIndex(list, at)
    if (next >= 0 && list[next]?.kind === 'identifier') join(list, 'identifier', at, next, true)
  }
}

/** A comment becomes part of the group it follows. */
function alignComments(list: Node[]): void {
  for (let at = 0; at < list.length; at++) {
    if (list[at]?.kind !== 'comments') continue
    const previous = previousIndex(list, at)
    const owner = list[previous]
    if (!owner?.parts) continue
    join(list, owner.kind, previous, at, true)
    at = previous
  }
}

function groupValues(list: Node[]): void {
  const from = list.findIndex(n => isWord(n, 'VALUES'))
  const to = list.findLastIndex(n => n.kind === 'parenthesis')
  if (from >= 0 && to > from) join(list, 'values', from, to)
}

function nesting(tokens: readonly Token[]): number {
  let depth = 0
  let deepest = 0
  for (const token of tokens) {
    if (token.text === '(' || token.text === '[') deepest = Math.max(deepest, ++depth)
    else if (token.text === ')' || token.text === ']') depth = Math.max(0, depth - 1)
  }
  return deepest
}
