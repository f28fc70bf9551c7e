import { readFileSync } from 'node:fs'

/** Settings of one section by lower-case name; a nested one is `outer.inner`. */
export type Section = Readonly<Record<string, string>>

/** AWS's configuration and credentials files, as its command line and SDKs share them. */
export interface SharedFiles {
  readonly config: string
  readonly credentials: string
}

/** A profile: both files' settings of that name, where the credentials file wins. An absent file says nothing. */
export function readProfile(files: SharedFiles, name: string): Section | undefined {
  const config = readSections(files.config)
  const own = (name === 'default' ? config.get(name) : undefined) ?? config.get(`profile ${name}`)
  const secret = readSections(files.credentials).get(name)
  if (!own && !secret) return undefined
  const services = own?.services === undefined ? undefined : config.get(`services ${own.services}`)
  return { ...services, ...own, ...secret }
}

function readSections(file: string): ReadonlyMap<string, Section> {
  let text: string
  try {
    text = readFileSync(file, 'utf8')
  } catch {
    return new Map()
  }
  return parseSections(text)
}

/** Source of the format: the AWS SDKs and Tools Reference Guide, "Format of the config file". */
function parseSections(text: string): ReadonlyMap<string, Section> {
  const sections = new Map<string, Record<string, string>>()
  let section: Record<string, string> | undefined
  let outer = ''
  for (const line of text.split(/\r?\n/)) {
    const plain = line.replace(/(^|\s)[#;].*$/, '').trimEnd()
    const title = /^\[([^\]]+)\]$/.exec(plain)?.[1]
    if (title !== undefined) {
      const name = title.trim().replace(/\s+/g, ' ').replace(/["']/g, '')
      section = sections.get(name) ?? {}
      sections.set(name, section)
      outer = ''
      continue
    }
    const [, indent, name, value] = /^(\s*)([^=\s]+)\s*=\s*(.*)$/.exec(plain) ?? []
    if (!section || name === undefined || value === undefined) continue
    if (indent === '') outer = value === '' ? name.toLowerCase() : ''
    if (indent === '' || outer === '') section[name.toLowerCase()] = value
    else section[`${outer}.${name.toLowerCase()}`] = value
  }
  return sections
}
