import { existsSync, readFileSync } from 'node:fs'
import { dirname, join, resolve } from 'node:path'
import { parseXml, textOf } from '../xml.ts'
import { type HdfsLocation, parseHdfsUri } from './location.ts'

/** Properties of Hadoop by name, with `${…}` replaced where the named property is there. */
export type HadoopProperties = ReadonlyMap<string, string>

const FILES = ['core-site.xml', 'hdfs-site.xml']
const INCLUDE_DEPTH_MAX = 8
const SUBSTITUTION_DEPTH_MAX = 20

/** The properties of core-site.xml and hdfs-site.xml in a folder, a later one over an earlier one; a file may be absent. */
export function readHadoopFolder(folder: string): Map<string, string> {
  const properties = new Map<string, string>()
  for (const file of FILES.map(name => join(folder, name))) if (existsSync(file)) readInto(properties, file, 0)
  return properties
}

function readInto(properties: Map<string, string>, file: string, depth: number): void {
  if (depth > INCLUDE_DEPTH_MAX) throw new Error(`${file} is included too deeply`)
  const configuration = parseXml(readFileSync(file, 'utf8'))
  if (configuration.name !== 'configuration') throw new Error(`${file} has no <configuration>`)
  for (const element of configuration.children) {
    const included = element.name === 'xi:include' ? /\bhref\s*=\s*["']([^"']+)["']/.exec(element.attributes)?.[1] : undefined
    if (included) readInto(properties, resolve(dirname(file), included), depth + 1)
    const name = element.name === 'property' ? textOf(element, 'name').trim() : ''
    if (name) properties.set(name, textOf(element, 'value').trim())
  }
}

/** Source: org.apache.hadoop.conf.Configuration, "Variable Expansion"; names of the environment and of Java stay as they are. */
export function substituted(properties: ReadonlyMap<string, string>): HadoopProperties {
  const replaced = (value: string, depth: number): string =>
    depth > SUBSTITUTION_DEPTH_MAX
      ? value
      : value.replace(/\$\{([^}$\s]+)\}/g, (whole, name: string) => {
          const found = properties.get(name)
          return found === undefined ? whole : replaced(found, depth + 1)
        })
  return new Map([...properties].map(([name, value]) => [name, replaced(value, 0)]))
}

/** Where paths without a host lead: fs.defaultFS, when that is HDFS. */
export function defaultFileSystem(properties: HadoopProperties): HdfsLocation | undefined {
  const written = properties.get('fs.defaultFS') ?? properties.get('fs.default.name')
  if (written === undefined || !/^(s?web)?hdfs:|^viewfs:/i.test(written)) return undefined
  const root = parseHdfsUri(written)
  return root.host === '' && root.scheme !== 'viewfs' ? undefined : root
}
