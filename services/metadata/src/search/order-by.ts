import { invalidParameter } from '@millrace/kit/errors'
import { shorten } from '@millrace/kit/shown'
import { checkOrderBy } from './limits.ts'
import { repr, shellWords } from './python.ts'
import { type NumberAttribute, ORDER_ATTRIBUTES, runIdentifier, type TextAttribute } from './run-filter.ts'
import { statements } from './statements.ts'
import { isSpace, type Node } from './token.ts'

export type RunOrder =
  | { by: 'attribute'; name: TextAttribute | NumberAttribute; ascending: boolean }
  | { by: 'metric' | 'param' | 'tag'; key: string; ascending: boolean }

/**
 * Reads the order of a search for runs. Fields are unique; the order does not hold the tie-breakers.
 * @throws INVALID_PARAMETER_VALUE in MLflow's words.
 */
export function parseRunOrder(orderBy: readonly string[]): RunOrder[] {
  checkOrderBy(orderBy)
  const seen = new Set<string>()
  return orderBy.map(item => {
    const { field, ascending } = parseOrderItem(item)
    const { entity, key } = runIdentifier(field, ORDER_ATTRIBUTES)
    if (entity === 'dataset') throw invalidParameter(`Invalid identifier type '${entity}'`)
    const order: RunOrder =
      entity === 'attribute'
        ? { by: 'attribute', name: ORDER_ATTRIBUTES[key] as TextAttribute, ascending }
        : { by: entity === 'parameter' ? 'param' : entity, key, ascending }
    const name = `${order.by} ${order.by === 'attribute' ? order.name : order.key}`
    if (seen.has(name)) throw invalidParameter(`\`order_by\` contains duplicate fields: ${repr(orderBy)}`)
    seen.add(name)
    return order
  })
}

/** One item of order_by: a field and, after it, ASC or DESC in any case. Ascending unless it says otherwise. */
export function parseOrderItem(item: string): { field: string; ascending: boolean } {
  const unreadable = () => invalidParameter(`Invalid order_by clause '${shorten(item)}'. Could not be parsed.`)
  const text = orderText(item)
  if (text === undefined) throw unreadable()
  const words = shellWords(text.replaceAll('`', '"'))
  if (!words || words.length > 2) throw unreadable()
  const [field, direction] = words
  if (field === undefined || direction === undefined) return { field: text.trim(), ascending: true }
  if (!['asc', 'desc'].includes(direction.toLowerCase()))
    throw invalidParameter(`Invalid ordering key in order_by clause '${shorten(item)}'.`)
  return { field: field.trim(), ascending: direction.toLowerCase() === 'asc' }
}

function orderText(item: string): string | undefined {
  let parsed: Node[][]
  try {
    parsed = statements(item)
  } catch (cause) {
    throw invalidParameter(`Error on parsing order_by clause '${shorten(item)}'`, { cause })
  }
  const [nodes] = parsed
  const [first] = nodes ?? []
  if (parsed.length !== 1 || !nodes || !first) return undefined
  if (nodes.length === 1 && first.kind === 'identifier') return first.text
  if (first.kind !== 'builtin' || first.text !== 'timestamp') return undefined
  if (nodes.length === 1) return first.text
  const last = nodes.at(-1) as Node
  return last.kind === 'order' && nodes.slice(1, -1).every(isSpace) ? `timestamp ${last.text}` : undefined
}
