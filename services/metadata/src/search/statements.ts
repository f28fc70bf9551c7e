import { group } from './grouping.ts'
import { tokenize } from './lexer.ts'
import { isSpace, isWord, type Node, type Token } from './token.ts'

/**
 * The statements of `source`: one alone as grouped nodes, several as they are, which nobody takes. Semicolons part them outside
 * parentheses; what is only space is no statement.
 * @throws RangeError for too many tokens or parentheses.
 */
export function statements(source: string): Node[][] {
  const found = split(tokenize(source))
  return found.length === 1 ? found.map(group) : found
}

function split(tokens: readonly Token[]): Token[][] {
  const found: Token[][] = []
  let current: Token[] = []
  let level = 0
  let ended = false
  for (const token of tokens) {
    if (ended && token.kind !== 'space' && !(token.kind === 'comment' && !token.text.startsWith('/*'))) {
      found.push(current)
      current = []
      level = 0
      ended = false
    }
    level += levelChange(token)
    current.push(token)
    if (token.kind === 'punct' && token.text === ';') ended ||= level <= 0
    else if (token.kind === 'keyword' && /^GO(\s|$)/.test(token.text)) ended = true
  }
  if (current.some(token => !isSpace(token))) found.push(current)
  return found
}

function levelChange(token: Token): number {
  if (token.kind === 'punct') return token.text === '(' ? 1 : token.text === ')' ? -1 : 0
  return isWord(token, 'BEGIN') ? 1 : isWord(token, 'END') ? -1 : 0
}
