import {
  ALIAS,
  ARRAY,
  ASSIGNMENT,
  COMPARISON,
  groupAround,
  IDENTIFIER_LIST,
  OPERATION,
  PERIOD,
  TYPE_CAST,
  TYPED_LITERAL,
  TYPED_LITERAL_UNIT,
} from './around.ts'
import { join, nextIndex, oneOf, previousIndex } from './node-list.ts'
import { type GroupKind, isWord, type Node, type Token } from './token.ts'

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
  for (const [kind, opens, closes] of ENCLOSED) groupEnclosed(list, kind, opens, closes)
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

function groupComments(list: Node[]): void {
  for (let at = 0; at < list.length; at++) {
    if (list[at]?.kind !== 'comment') continue
    let end = at
    while (end < list.length && oneOf(list[end], 'comment', 'newline')) end++
    if (end === list.length) return
    join(list, 'comments', at, end - 1)
  }
}

type Is = (node: Node) => boolean

function punct(text: string): Is {
  return node => node.kind === 'punct' && node.text === text
}

function word(...words: string[]): Is {
  return node => words.some(one => isWord(node, one))
}

/** What opens and closes a group, in the order in which they are looked for. */
const ENCLOSED: readonly [kind: GroupKind, opens: Is, closes: Is][] = [
  ['brackets', punct('['), punct(']')],
  ['parenthesis', punct('('), punct(')')],
  ['case', word('CASE'), word('END')],
  ['if', word('IF'), word('END IF')],
  ['for', word('FOR', 'FOREACH'), word('END LOOP')],
  ['begin', word('BEGIN'), word('END')],
]

function groupEnclosed(list: Node[], kind: GroupKind, opens: Is, closes: Is): void {
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
