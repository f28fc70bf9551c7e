const REDACTED = '***'

/** Ends the user of a URL, or shows that it has none. */
const USER_END = /[\s:@/"]/g
/** A password may be written wrongly and hold @ and / itself: it goes on to the last @ before one of these. */
const RUN_END = /[\s"]/g
/** Digits alone are a port, unless they end in @ or go on as a word. */
const PORT = /\d+(?:[^\w@]|$)/y
const PORT_SO_FAR = /\d+[^\w@]/y

/** What makes a URL valid that a store signed: S3's, Cloud Storage's and Azure's. */
const SIGNATURE = /([?&](?:X-Amz-(?:Signature|Security-Token|Credential)|X-Goog-(?:Signature|Credential)|sig)=)[^&\s"'<>]+/gi

/** `text` with the passwords and signatures of URLs in it replaced, in one pass over it. */
export const redact = (text: string): string => withoutPasswords(text, false).replace(SIGNATURE, `$1${REDACTED}`)

/**
 * The same for the beginning of a longer text, which may end amid a password: the @ that would tell may come later, so that whatever
 * could be a password in the last word goes.
 */
export const redactBeginning = (text: string): string => withoutPasswords(text, true).replace(SIGNATURE, `$1${REDACTED}`)

function withoutPasswords(text: string, goesOn: boolean): string {
  let shown = ''
  let taken = 0
  let runEnd = -1
  let lastAt = -1
  for (let colon = text.indexOf('://'); colon >= 0; colon = text.indexOf('://', colon + 1)) {
    if (colon < taken || !endsScheme(text, colon, taken)) continue
    const user = find(USER_END, text, colon + 3)
    if (text[user] !== ':') continue
    const password = user + 1
    PORT.lastIndex = password
    PORT_SO_FAR.lastIndex = password
    if ((goesOn ? PORT_SO_FAR : PORT).test(text)) continue
    if (password > runEnd) {
      runEnd = find(RUN_END, text, password)
      lastAt = password + text.slice(password, runEnd).lastIndexOf('@')
    }
    const isOpen = goesOn && runEnd === text.length
    if (!isOpen && (lastAt < password || text[lastAt] !== '@')) continue
    shown += text.slice(taken, password) + REDACTED + (isOpen ? '' : '@')
    taken = isOpen ? runEnd : lastAt + 1
  }
  return taken === 0 ? text : shown + text.slice(taken)
}

/** Whether the letters, digits and signs before `end`, back to `start`, hold the letter that a scheme begins with. */
function endsScheme(text: string, end: number, start: number): boolean {
  for (let at = end - 1; at >= start; at--) {
    const code = text.charCodeAt(at) | 0x20
    if (code >= 0x61 && code <= 0x7a && text.charCodeAt(at) < 0x7b) return true
    if (!/[0-9+.-]/.test(text[at] ?? '')) return false
  }
  return false
}

/** Where `end` matches first from `from` on, or the text's end. */
function find(end: RegExp, text: string, from: number): number {
  end.lastIndex = from
  return end.exec(text)?.index ?? text.length
}
