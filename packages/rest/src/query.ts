import { isUtf8 } from 'node:buffer'
import { percentDecode } from '@millrace/kit/python-urls'

/** Query parameters in order of first appearance, decoded; a parameter given more than once keeps every value. */
export type Query = ReadonlyMap<string, readonly string[]>

const UTF8_BYTES_MAX = 4

/** Percent-decodes text of a query string. As in MLflow's web framework, escapes of bytes that aren't UTF-8 stay. */
function queryDecode(text: string): string {
  const decoded = percentDecode(text)
  if (!decoded.includes('\ufffd')) return decoded
  return text.replace(/(?:%[0-9a-fA-F]{2})+/g, run => validText(Buffer.from(run.replaceAll('%', ''), 'hex')))
}

function validText(bytes: Buffer): string {
  let text = ''
  for (let at = 0; at < bytes.length; ) {
    let end = at + 1
    while (end - at < UTF8_BYTES_MAX && end < bytes.length && !isUtf8(bytes.subarray(at, end))) end++
    if (!isUtf8(bytes.subarray(at, end))) end = at
    text += end > at ? bytes.toString('utf8', at, end) : `%${bytes.toString('hex', at, at + 1).toUpperCase()}`
    at = Math.max(end, at + 1)
  }
  return text
}

/** The parameters of a query string; `+` is a space, a name without `=` has the value "". */
export function parseQuery(text: string): Query {
  const found = new Map<string, string[]>()
  for (const pair of text.split('&')) {
    if (pair === '') continue
    const plain = pair.includes('+') ? pair.replaceAll('+', ' ') : pair
    const equals = plain.indexOf('=')
    const name = queryDecode(equals < 0 ? plain : plain.slice(0, equals))
    const value = equals < 0 ? '' : queryDecode(plain.slice(equals + 1))
    const values = found.get(name)
    if (values) values.push(value)
    else found.set(name, [value])
  }
  return found
}
