/** What the lexer calls a piece of text. `compare` is a comparison operator, `symbol` a text in double quotes. */
export type TokenKind =
  | 'space'
  | 'newline'
  | 'comment'
  | 'name'
  | 'builtin'
  | 'placeholder'
  | 'command'
  | 'literal'
  | 'integer'
  | 'float'
  | 'hex'
  | 'string'
  | 'symbol'
  | 'keyword'
  | 'order'
  | 'dml'
  | 'ddl'
  | 'dcl'
  | 'cte'
  | 'zone'
  | 'compare'
  | 'operator'
  | 'wildcard'
  | 'assign'
  | 'punct'
  | 'error'

/** What the grouping calls a run of neighbours. */
export type GroupKind =
  | 'comments'
  | 'brackets'
  | 'parenthesis'
  | 'case'
  | 'if'
  | 'for'
  | 'begin'
  | 'function'
  | 'where'
  | 'identifier'
  | 'typed-literal'
  | 'operation'
  | 'comparison'
  | 'assignment'
  | 'identifier-list'
  | 'values'

export interface Token {
  readonly kind: TokenKind
  readonly text: string
  /** Offset of the first character in the source, in UTF-16 units. */
  readonly at: number
  readonly parts?: undefined
}

export interface Group {
  readonly kind: GroupKind
  readonly text: string
  readonly at: number
  readonly parts: readonly Node[]
}

export type Node = Token | Group

export const isSpace = (node: Node) => node.kind === 'space' || node.kind === 'newline'

const KEYWORD_KINDS: ReadonlySet<string> = new Set(['keyword', 'order', 'dml', 'ddl', 'dcl', 'cte', 'zone'])

export const isKeyword = (node: Node) => KEYWORD_KINDS.has(node.kind)

/** Whether `node` is the plain keyword `word`, which is written in upper case. */
export const isWord = (node: Node, word: string) => node.kind === 'keyword' && node.text.toUpperCase() === word
