import { type Group, type GroupKind, isSpace, type Node } from './token.ts'

export const oneOf = (node: Node | undefined, ...kinds: Node['kind'][]) => node !== undefined && kinds.includes(node.kind)

/**
 * One group of `taken`; with `extend` a first member that is such a group already takes the others in. It gives up its list for that, so
 * that a long chain costs its length and not the square of it.
 */
export function groupOf(kind: GroupKind, taken: Node[], extend = false): Group {
  const [first, ...others] = taken as [Node, ...Node[]]
  let { text } = first
  for (const other of others) text += other.text
  if (!extend || first.kind !== kind || !first.parts) return { kind, text, at: first.at, parts: taken }
  const parts = first.parts as Node[]
  for (const other of others) parts.push(other)
  return { kind, text, at: first.at, parts }
}

export function nextIndex(list: readonly Node[], after: number): number {
  for (let i = after + 1; i < list.length; i++) if (!isSpace(list[i] as Node)) return i
  return -1
}

export function previousIndex(list: readonly Node[], before: number): number {
  for (let i = before - 1; i >= 0; i--) if (!isSpace(list[i] as Node)) return i
  return -1
}
