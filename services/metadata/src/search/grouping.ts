import {
  ALIAS,
  ARRAY,
  type Around,
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
import { groupOf, nextIndex, oneOf, previousIndex } from './node-list.ts'
import { type GroupKind, isWord, type Node, type Token } from './token.ts'

/** Deeper nesting of parentheses than this is refused, as in MLflow. */
const NESTING_MAX = 100

/**
 * Groups the neighbours of one statement the way MLflow's grammar sees them: names around dots are an identifier, two values around
 * an operator a comparison, and so on. What stays ungrouped, or ends in another group, is what MLflow's errors quote, so the order of
 * the steps below is part of the contract with clients. Only the outermost level is grouped: text in parentheses stays as written.
 * @throws RangeError for deeper nesting than MLflow takes.
 */
export function group(tokens: readonly Token[]): Node[] {
  if (nesting(tokens) > NESTING_MAX) throw new RangeError('parentheses nest too deeply')
  return STEPS.reduce<Node[]>((list, step) => step(list), [...tokens])
}

function groupComments(list: readonly Node[]): Node[] {
  const out: Node[] = []
  for (let at = 0; at < list.length; at++) {
    const node = list[at] as Node
    let end = at
    while (node.kind === 'comment' && end < list.length && oneOf(list[end], 'comment', 'newline')) end++
    if (end === list.length) return [...out, ...list.slice(at)]
    out.push(end > at ? groupOf('comments', list.slice(at, end)) : node)
    at = Math.max(at, end - 1)
  }
  return out
}

type Is = (node: Node) => boolean

function punct(text: string): Is {
  return node => node.kind === 'punct' && node.text === text
}

function word(...words: string[]): Is {
  return node => words.some(one => isWord(node, one))
}

const groupEnclosed = (kind: GroupKind, opens: Is, closes: Is) => (list: readonly Node[]) => {
  const out: Node[] = []
  const open: number[] = []
  for (const node of list) {
    const from = !opens(node) && closes(node) ? open.pop() : undefined
    if (opens(node)) open.push(out.length)
    out.push(node)
    if (from !== undefined) out.push(groupOf(kind, out.splice(from)))
  }
  return out
}

function groupFunctions(list: readonly Node[]): Node[] {
  const has = (word: string) => list.some(n => n.text.length === word.length && n.text.toUpperCase() === word)
  if (has('CREATE') && has('TABLE') && !has('AS')) return [...list]
  return groupPairs(list, 'function', node => oneOf(node, 'name', 'builtin', 'placeholder'), 'parenthesis')
}

const ALIASED: readonly Node['kind'][] = [
  'parenthesis',
  'function',
  'case',
  'identifier',
  'operation',
  'comparison',
  'integer',
  'float',
  'hex',
]

const groupAliased = (list: readonly Node[]) => groupPairs(list, 'identifier', node => ALIASED.includes(node.kind), 'identifier', true)

/** A node and, after blanks, one of the kind `second`. */
function groupPairs(list: readonly Node[], kind: GroupKind, first: Is, second: Node['kind'], extend = false): Node[] {
  const out: Node[] = []
  for (let at = 0; at < list.length; at++) {
    const node = list[at] as Node
    const next = first(node) ? nextIndex(list, at) : -1
    const isPair = next >= 0 && list[next]?.kind === second
    out.push(isPair ? groupOf(kind, list.slice(at, next + 1), extend) : node)
    if (isPair) at = next
  }
  return out
}

const isAfterWhere = word('ORDER BY', 'GROUP BY', 'LIMIT', 'UNION', 'UNION ALL', 'EXCEPT', 'INTERSECT', 'HAVING', 'RETURNING', 'INTO')

function groupWhere(list: readonly Node[]): Node[] {
  const out: Node[] = []
  for (let at = 0; at < list.length; at++) {
    const node = list[at] as Node
    let end = at + 1
    if (isWord(node, 'WHERE')) {
      while (end < list.length && !isAfterWhere(list[end] as Node)) end++
      out.push(groupOf('where', list.slice(at, end)))
    } else out.push(node)
    at = end - 1
  }
  return out
}

const groupNames = (list: readonly Node[]) => list.map(node => (oneOf(node, 'name', 'symbol') ? groupOf('identifier', [node]) : node))

const groupOrder = (list: readonly Node[]) =>
  groupWithPrevious(
    list,
    'order',
    () => 'identifier',
    previous => oneOf(previous, 'identifier', 'integer', 'float', 'hex'),
    false,
  )

/** A comment becomes part of the group it follows. */
const alignComments = (list: readonly Node[]) =>
  groupWithPrevious(
    list,
    'comments',
    previous => previous.kind as GroupKind,
    previous => previous.parts !== undefined,
    true,
  )

/** A node of the kind `second` joins what stands before it. */
function groupWithPrevious(
  list: readonly Node[],
  second: Node['kind'],
  kindOf: (previous: Node) => GroupKind,
  takes: Is,
  extend: boolean,
): Node[] {
  const out: Node[] = []
  for (const node of list) {
    out.push(node)
    if (node.kind !== second) continue
    const from = previousIndex(out, out.length - 1)
    const previous = out[from]
    if (previous && takes(previous)) out.push(groupOf(kindOf(previous), out.splice(from), extend))
  }
  return out
}

function groupValues(list: readonly Node[]): Node[] {
  const from = list.findIndex(n => isWord(n, 'VALUES'))
  const to = list.findLastIndex(n => n.kind === 'parenthesis')
  if (from < 0 || to <= from) return [...list]
  return [...list.slice(0, from), groupOf('values', list.slice(from, to + 1)), ...list.slice(to + 1)]
}

const around = (rule: Around) => (list: readonly Node[]) => groupAround(list, rule)

const STEPS: readonly ((list: readonly Node[]) => Node[])[] = [
  groupComments,
  groupEnclosed('brackets', punct('['), punct(']')),
  groupEnclosed('parenthesis', punct('('), punct(')')),
  groupEnclosed('case', word('CASE'), word('END')),
  groupEnclosed('if', word('IF'), word('END IF')),
  groupEnclosed('for', word('FOR', 'FOREACH'), word('END LOOP')),
  groupEnclosed('begin', word('BEGIN'), word('END')),
  groupFunctions,
  groupWhere,
  around(PERIOD),
  around(ARRAY),
  groupNames,
  groupOrder,
  around(TYPE_CAST),
  around(TYPED_LITERAL),
  around(TYPED_LITERAL_UNIT),
  around(OPERATION),
  around(COMPARISON),
  around(ALIAS),
  groupAliased,
  around(ASSIGNMENT),
  alignComments,
  around(IDENTIFIER_LIST),
  groupValues,
]

function nesting(tokens: readonly Token[]): number {
  let depth = 0
  let deepest = 0
  for (const token of tokens) {
    if (token.text === '(' || token.text === '[') deepest = Math.max(deepest, ++depth)
    else if (token.text === ')' || token.text === ']') depth = Math.max(0, depth - 1)
  }
  return deepest
}
