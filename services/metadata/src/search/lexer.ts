import type { Token, TokenKind } from './token.ts'
import { kindOfWord } from './words.ts'

const SPACE = '[\\t-\\r\\x1c-\\x20\\x85\\xa0\\u1680\\u2000-\\u200a\\u2028\\u2029\\u202f\\u205f\\u3000]'
const WORD = '[\\p{L}\\p{N}_]'
const LETTER = '[A-ZÀ-ÖØ-Ü×]'
const DIGIT = '\\p{Nd}'
const NO_NAME = '(?![_A-ZÀ-Ü])'

type Rule = readonly [kind: TokenKind | 'word', source: string]

/** Builds a rule; in `source` S is a space, W a word character, L a letter, D a digit, and `~` the end of a word. */
function rule(kind: Rule[0], source: string): Rule {
  const full = source
    .replaceAll('<S>', SPACE)
    .replaceAll('<W>', WORD)
    .replaceAll('<L>', LETTER)
    .replaceAll('<D>', DIGIT)
    .replaceAll('<!N>', NO_NAME)
    .replaceAll('<~>', `(?!${WORD})`)
  return [kind, full]
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

/** More tokens are refused, as in MLflow, which counts those of a statement. */
const TOKENS_MAX = 10_000

/**
 * Cuts `source` into tokens that together are the whole of it; what no rule knows is an `error` token of one character.
 * @throws RangeError for too many tokens.
 */
export function tokenize(source: string): Token[] {
  const tokens: Token[] = []
  const closers = closersOf(source)
  let at = 0
  while (at < source.length) {
    const token = delimited(source, at, closers) ?? match(source, at)
    if (tokens.length === TOKENS_MAX) throw new RangeError('too many tokens')
    tokens.push(token)
    at += token.text.length
  }
  return tokens
}

/** All rules in one: a token costs one look instead of one for each rule. The group that holds something is the rule that matched. */
const ANY_RULE = new RegExp(RULES.map(([, source]) => `(${source})`).join('|'), 'iuy')

/** No rule but one begins with these. */
const ALONE = new Map<string, TokenKind>([[' ', 'space'], ...[...';,()'].map(mark => [mark, 'punct'] as const)])

function match(source: string, at: number): Token {
  const alone = ALONE.get(source[at] as string)
  if (alone) return { kind: alone, text: source[at] as string, at }
  ANY_RULE.lastIndex = at
  const found = ANY_RULE.exec(source)
  if (!found) return { kind: 'error', text: String.fromCodePoint(source.codePointAt(at) as number), at }
  const text = found[0]
  const [kind] = RULES[found.indexOf(text, 1) - 1] as Rule
  return { kind: kind === 'word' ? kindOfWord(text) : kind, text, at }
}

/** Where a text that closes something stands last: nobody looks to the end, again and again, for what isn't there. */
type Closers = ReadonlyMap<string, number>

function closersOf(source: string): Closers {
  const closers = new Map([['*/', source.lastIndexOf('*/')]])
  for (const { 0: tag, index } of source.matchAll(/\$[\p{L}\p{N}_]*(?=\$)/gu)) closers.set(`${tag}$`, index)
  return closers
}

/** A block comment or a dollar-quoted text, when one starts at `at` and is closed. */
function delimited(source: string, at: number, closers: Closers): Token | undefined {
  const isComment = source.startsWith('/*', at)
  if (!isComment && source[at] !== '$') return undefined
  DOLLAR_QUOTE.lastIndex = at
  const tag = isComment ? '*/' : DOLLAR_QUOTE.exec(source)?.[0]
  const from = at + (isComment ? 2 : (tag?.length ?? 0))
  if (tag === undefined || (closers.get(tag) ?? -1) < from) return undefined
  return { kind: isComment ? 'comment' : 'literal', text: source.slice(at, source.indexOf(tag, from) + tag.length), at }
}
