import type { Token, TokenKind } from './token.ts'
import { kindOfWord } from './words.ts'

const SPACE = '[\\t-\\r\\x1c-\\x20\\x85\\xa0\\u1680\\u2000-\\u200a\\u2028\\u2029\\u202f\\u205f\\u3000]'
const WORD = '[\\p{L}\\p{N}_]'
const LETTER = '[A-ZÀ-ÖØ-Ü×]'
const DIGIT = '\\p{Nd}'
const NO_NAME = '(?![_A-ZÀ-Ü])'

type Rule = readonly [kind: TokenKind | 'word', pattern: RegExp]

/** Builds a rule; in `source` S is a space, W a word character, L a letter, D a digit, and `~` the end of a word. */
function rule(kind: Rule[0], source: string): Rule {
  const full = source
    .replaceAll('<S>', SPACE)
    .replaceAll('<W>', WORD)
    .replaceAll('<L>', LETTER)
    .replaceAll('<D>', DIGIT)
    .replaceAll('<!N>', NO_NAME)
    .replaceAll('<~>', `(?!${WORD})`)
  return [kind, new RegExp(full, 'iuy')]
}

/** The first rule that matches at a position wins: the order carries meaning (a name before a dot is never a keyword). */
const RULES: readonly Rule[] = [
  rule('comment', '(?:--|# )[^\\n]*?(?:\\r\\n|\\r|\\n|$)'),
  rule('newline', '\\r\\n|\\r|\\n'),
  rule('space', '<S>'),
  rule('assign', ':='),
  rule('punct', '::'),
  rule('wildcard', '\\*'),
  rule('name', '`(?:``|[^`])*`'),
  rule('name', '´(?:´´|[^´])*´'),
  rule('placeholder', '\\?'),
  rule('placeholder', '%(?:\\(<W>+\\))?s'),
  rule('placeholder', '(?<!<W>)[$:?]<W>+'),
  rule('command', '\\\\<W>+'),
  rule('keyword', '(?:CASE|IN|VALUES|USING|FROM|AS)<~>'),
  rule('name', '(?:@|##|#)<L><W>+'),
  rule('name', '<L><W>*(?=<S>*\\.(?!<D>))'),
  rule('name', '(?<=\\.)<L><W>*'),
  rule('name', '<L><W>*(?=\\()'),
  rule('hex', '-?0x[\\p{Nd}A-F]+'),
  rule('float', '-?<D>+(?:\\.<D>+)?E-?<D>+'),
  rule('float', '<!N>-?(?:<D>+\\.<D>*|\\.<D>+)<!N>'),
  rule('integer', '<!N>-?<D>+<!N>'),
  rule('string', "'(?:''|\\\\'|[^'])*'"),
  rule('symbol', '"(?:""|\\\\"|[^"])*"'),
  rule('symbol', '""|"[^\\n]*?[^\\\\]"'),
  rule('name', '(?<![\\p{L}\\p{N}_\\])])\\[[^\\]\\[]+\\]'),
  rule('keyword', '(?:(?:LEFT|RIGHT|FULL)<S>+)?(?:(?:INNER|OUTER|STRAIGHT)<S>+)?JOIN<~>'),
  rule('keyword', '(?:(?:CROSS|NATURAL)<S>+)?JOIN<~>'),
  rule('keyword', 'END(?:<S>+(?:IF|LOOP|WHILE|FOR|CASE))?<~>'),
  rule('keyword', 'IF<S>+(?:NOT<S>+)?EXISTS<~>'),
  rule('keyword', 'NOT<S>+NULL<~>'),
  rule('order', '(?:ASC|DESC)(?:<S>+NULLS<S>+(?:FIRST|LAST))?<~>'),
  rule('order', 'NULLS<S>+(?:FIRST|LAST)<~>'),
  rule('keyword', '(?:UNION<S>+ALL|GROUP<S>+BY|ORDER<S>+BY|PRIMARY<S>+KEY|HANDLER<S>+FOR|GO<S><D>+)<~>'),
  rule('ddl', 'CREATE(?:<S>+OR<S>+REPLACE)?<~>'),
  rule('builtin', 'DOUBLE<S>+PRECISION<~>'),
  rule('keyword', 'LATERAL<S>+VIEW<S>+(?:EXPLODE|INLINE|PARSE_URL_TUPLE|POSEXPLODE|STACK)<~>'),
  rule('zone', "(?:AT|WITH')<S>+TIME<S>+ZONE<S>+'[^']+'"),
  rule('compare', '(?:NOT<S>+)?(?:LIKE|ILIKE|RLIKE)<~>'),
  rule('compare', '(?:NOT<S>+)?REGEXP(?:<S>+BINARY)?<~>'),
  rule('word', '<W>[$#\\p{L}\\p{N}_]*'),
  rule('punct', '[;:()\\[\\],.]'),
  rule('operator', '->>?|#>>?|@>|<@|\\?\\|?|\\?&|-|#-'),
  rule('compare', '[<>=~!]+'),
  rule('operator', '[+/@#%^&|^-]+'),
]

const DOLLAR_QUOTE = /(?<![\p{L}\p{N}_"$])\$(?:[_A-ZÀ-Ü][\p{L}\p{N}_]*)?\$/iuy

/** Cuts `source` into tokens that together are the whole of it; what no rule knows is an `error` token of one character. */
export function tokenize(source: string): Token[] {
  const tokens: Token[] = []
  let at = 0
  while (at < source.length) {
    const token = delimited(source, at) ?? match(source, at)
    tokens.push(token)
    at += token.text.length
  }
  return tokens
}

function match(source: string, at: number): Token {
  for (const [kind, pattern] of RULES) {
    pattern.lastIndex = at
    const text = pattern.exec(source)?.[0]
    if (text) return { kind: kind === 'word' ? kindOfWord(text) : kind, text, at }
  }
  return { kind: 'error', text: String.fromCodePoint(source.codePointAt(at) as number), at }
}

/** A block comment or a dollar-quoted text, when one starts at `at` and is closed. */
function delimited(source: string, at: number): Token | undefined {
  if (source.startsWith('/*', at)) {
    const end = source.indexOf('*/', at + 2)
    return end < 0 ? undefined : { kind: 'comment', text: source.slice(at, end + 2), at }
  }
  if (source[at] !== '$') return undefined
  DOLLAR_QUOTE.lastIndex = at
  const tag = DOLLAR_QUOTE.exec(source)?.[0]
  const end = tag ? source.indexOf(tag, at + tag.length) : -1
  return tag && end >= 0 ? { kind: 'literal', text: source.slice(at, end + tag.length), at } : undefined
}
