import { type Group, type GroupKind, isSpace, type Node } from './token.ts'

export const oneOf = (node: Node | undefined, ...kinds: Node['kind'][]) => node !== undefined && kinds.includes(node.kind)

/** Replaces list[from..to] by one group; with `extend` a first member that is such a group already takes the others in. */
export function join(list: Node[], kind: GroupKind, from: number, to: number, extend = false): Group {
  const taken = list.slice(from, to + 1)
  const first = taken[0] as Node
  const parts = extend && first.kind === kind && first.parts ? [...first.parts, ...taken.slice(1)] : taken
  const grouped: Group = { kind, text: taken.map(n => n.text).join(''), at: first.at, parts }
  list.splice(from, taken.length, grouped)
  return grouped
}

export function nextIndex(list: readonly Node[], after: number): number {
  for (let i = after + 1; i < list.length; i++) if (!isSpace(list[i] as Node)) return i
  return -1
}

export function previousIndex(list: readonly Node[], before: number): number {
  for (let i = before - 1; i >= 0; i--) if (!isSpace(list[i] as Node)) return i
  return -1
}
