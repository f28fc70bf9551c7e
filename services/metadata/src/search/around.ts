import { groupOf, nextIndex, oneOf } from './node-list.ts'
import { type GroupKind, isKeyword, isSpace, isWord, type Node } from './token.ts'

/** A group made of a middle, what stands before it and, mostly, what follows it. */
export interface Around {
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
export function groupAround(list: readonly Node[], rule: Around): Node[] {
  const out: Node[] = []
  let previous: Node | undefined
  let previousAt = -1
  /** The last index that a group has taken in. */
  let taken = -1
  for (const [index, node] of list.entries()) {
    if (index > taken) out.push(node)
    if (isSpace(node)) continue
    const at = out.length - 1
    if (rule.middle(node) && previous && rule.before(previous)) {
      const next = nextIndex(list, index)
      const following = next < 0 ? undefined : list[next]
      if (rule.after(following)) {
        const from = rule.startsAtMiddle ? at : previousAt
        taken = next < 0 || rule.endsAtMiddle?.(following) ? index : next
        previous = groupOf(rule.kind, [...out.splice(from), ...list.slice(index + 1, taken + 1)], rule.extend)
        previousAt = from
        out.push(previous)
        continue
      }
    }
    previous = node
    previousAt = at
  }
  return out
}

const VALUE_KINDS: readonly Node['kind'][] = ['integer', 'float', 'string', 'symbol', 'name', 'placeholder']
export const PERIOD: Around = {
  kind: 'identifier',
  middle: n => (n.kind === 'punct' && n.text === '.') || (n.kind === 'operator' && (n.text === '->' || n.text === '->>')),
  before: n => oneOf(n, 'brackets', 'identifier', 'name', 'symbol'),
  after: () => true,
  endsAtMiddle: n => !oneOf(n, 'brackets', 'function', 'name', 'symbol', 'wildcard', 'string'),
  extend: true,
}
export const ARRAY: Around = {
  kind: 'identifier',
  middle: n => n.kind === 'brackets',
  before: n => oneOf(n, 'brackets', 'identifier', 'function', 'name', 'symbol'),
  after: () => true,
  endsAtMiddle: () => true,
  extend: true,
}
export const TYPE_CAST: Around = {
  kind: 'identifier',
  middle: n => n.kind === 'punct' && n.text === '::',
  before: () => true,
  after: n => n !== undefined,
  extend: true,
}
export const TYPED_LITERAL: Around = {
  kind: 'typed-literal',
  middle: n => n.kind === 'builtin' || isWord(n, 'TIMESTAMP'),
  before: () => true,
  after: n => oneOf(n, 'string'),
  startsAtMiddle: true,
  extend: false,
}
const UNITS = ['DAY', 'HOUR', 'MINUTE', 'MONTH', 'SECOND', 'YEAR']
export const TYPED_LITERAL_UNIT: Around = {
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
export const OPERATION: Around = {
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
export const COMPARISON: Around = {
  kind: 'comparison',
  middle: n => n.kind === 'compare',
  before: isComparable,
  after: isComparable,
  extend: false,
}
export const ALIAS: Around = {
  kind: 'identifier',
  middle: n => isWord(n, 'AS'),
  before: n => !isKeyword(n) || n.text.toUpperCase() === 'NULL',
  after: n => n !== undefined && !oneOf(n, 'dml', 'ddl', 'cte'),
  extend: true,
}
export const ASSIGNMENT: Around = {
  kind: 'assignment',
  middle: n => n.kind === 'assign',
  before: n => n.kind !== 'keyword',
  after: n => n !== undefined && n.kind !== 'keyword',
  extend: true,
}
const isListed = (n: Node | undefined) =>
  oneOf(n, 'function', 'case', 'identifier', 'comparison', 'identifier-list', 'operation', 'keyword', 'wildcard', ...VALUE_KINDS)
export const IDENTIFIER_LIST: Around = {
  kind: 'identifier-list',
  middle: n => n.kind === 'punct' && n.text === ',',
  before: isListed,
  after: isListed,
  extend: true,
}
