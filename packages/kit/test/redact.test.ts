import { redact, redactBeginning } from '@millrace/kit/redact'
import { expect, test } from 'vitest'

/** What `redact` promises, as expressions that are quadratic. */
const PASSWORD = /([a-z][a-z0-9+.-]*:\/\/[^\s:@/"]*:)(?!\d+(?:[^\w@]|$))[^\s"]*@/gi
const SIGNATURE = /([?&](?:X-Amz-(?:Signature|Security-Token|Credential)|X-Goog-(?:Signature|Credential)|sig)=)[^&\s"'<>]+/gi
const slowly = (text: string) => text.replace(PASSWORD, '$1***@').replace(SIGNATURE, '$1***')

const PARTS = ['a', 'Z', '1', '+', '.', '://', ':', '//', '/', '@', '"', ' ', '\n', '_', 's3://', 'u:', 'p@', 'é', '[', '?sig=', '&', ':80']

/** A Lehmer generator: the same texts in every run. */
function* texts(count: number): Generator<string> {
  let state = 16
  const next = (below: number) => {
    state = (state * 48_271) % 2_147_483_647
    return state % below
  }
  for (let i = 0; i < count; i++) yield Array.from({ length: 1 + next(14) }, () => PARTS[next(PARTS.length)]).join('')
}

test('what is replaced is what the expressions say', () => {
  for (const text of texts(10_000)) expect(redact(text), JSON.stringify(text)).toBe(slowly(text))
})

test.each(['x', 'x://a:', 'x://a: ', 'x://a:"', 'x://a:@', 'x://a:1', '1://', 'x://', '?sig=', 'a.', ':'])(
  'a megabyte of %j is one pass',
  part => {
    const text = part.repeat(1_000_000 / part.length)
    const begun = performance.now()
    redact(text)
    redactBeginning(text)
    expect(performance.now() - begun).toBeLessThan(2_000)
  },
)

test('wherever a text is cut, no part of a password or signature is left', () => {
  const text = 'to postgresql://u:1SS/S@S:S@host/db and redis://:SSS@h?sig=SSS&x=1 "http://a:80/S" http://b:SS'
  expect(redact(text)).toContain('redis://:***@h?sig=***&x=1')
  const shown = 'to postgresql://u:***@host/db and redis://:***@h?sig=***&x=1 "http://a:80/S" http://b:***'
  expect(redactBeginning(text)).toBe(shown)
  for (let end = 0; end < text.indexOf('"'); end++) expect(redactBeginning(text.slice(0, end))).not.toContain('S')
})
