/** An element of a document without mixed content; a name keeps its prefix. */
export interface Element {
  name: string
  attributes: string
  children: Element[]
  text: string
}

const TOKEN = /<(\/?)([A-Za-z_][\w.:-]*)([^<>]*?)(\/?)>([^<]*)/g
const COMMENT = /<!--.*?-->/gs
const NAMED: Record<string, string> = { lt: '<', gt: '>', amp: '&', quot: '"', apos: "'" }

/** The root element of a document. @throws when its elements aren't closed in order. */
export function parseXml(document: string): Element {
  const root: Element = { name: '', attributes: '', children: [], text: '' }
  const open = [root]
  for (const [, closing, name = '', attributes = '', empty, text = ''] of document.replace(COMMENT, '').matchAll(TOKEN)) {
    const current = open.at(-1) ?? root
    if (closing) {
      if (current.name !== name || open.length === 1) throw new Error(`the XML closes ${name} out of order`)
      open.pop()
      continue
    }
    const element: Element = { name, attributes, children: [], text: unescaped(text) }
    current.children.push(element)
    if (!empty) open.push(element)
  }
  const [first] = root.children
  if (open.length > 1 || !first) throw new Error('the XML is incomplete')
  return first
}

function child(element: Element | undefined, name: string): Element | undefined {
  return element?.children.find(one => one.name === name)
}

/** "" for an absent child. */
export function textOf(element: Element | undefined, name: string): string {
  return child(element, name)?.text ?? ''
}

function unescaped(text: string): string {
  if (!text.includes('&')) return text
  return text.replace(/&(?:#x([0-9a-f]+)|#(\d+)|(\w+));/gi, (whole, hex?: string, decimal?: string, name?: string) => {
    if (hex) return String.fromCodePoint(Number.parseInt(hex, 16))
    if (decimal) return String.fromCodePoint(Number(decimal))
    return NAMED[name ?? ''] ?? whole
  })
}
