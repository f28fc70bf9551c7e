import type { Query } from '../raw/route.ts'

/** Percent-decoding as Python's `unquote`: broken escapes stay, bytes that aren't UTF-8 become U+FFFD. */
export function percentDecode(text: string): string {
  if (!text.includes('%')) return text
  return text.replace(/(?:%[0-9a-fA-F]{2})+/g, run => Buffer.from(run.replaceAll('%', ''), 'hex').toString('utf8'))
}

/** The parameters of a query string; `+` is a space, a name without `=` has the value "". */
export function parseQuery(text: string): Query {
  const found = new Map<string, string[]>()
  for (const pair of text.split('&')) {
    if (pair === '') continue
    const plain = pair.includes('+') ? pair.replaceAll('+', ' ') : pair
    const equals = plain.indexOf('=')
    const name = percentDecode(equals < 0 ? plain : plain.slice(0, equals))
    const value = equals < 0 ? '' : percentDecode(plain.slice(equals + 1))
    const values = found.get(name)
    if (values) values.push(value)
    else found.set(name, [value])
  }
  return found
}
