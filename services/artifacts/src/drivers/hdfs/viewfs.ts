import { invalidParameter } from '@millrace/kit/errors'
import { defaultFileSystem, type HadoopProperties } from './hadoop-conf.ts'
import { type HdfsLocation, joinPath, parseHdfsUri } from './location.ts'

const DEFAULT_TABLE = 'default'

/**
 * Where a viewfs location leads by its mount table; undefined when there is no table of that name.
 * Source: Hadoop's "ViewFs Guide", properties fs.viewfs.mounttable.NAME.link./PATH, .linkFallback and .linkMergeSlash.
 * @throws INVALID_PARAMETER_VALUE for a path that no link leads to, or that has links below it.
 */
export function throughMounts(location: HdfsLocation, properties: HadoopProperties): HdfsLocation | undefined {
  const { path } = location
  const root = defaultFileSystem(properties)
  const name = location.host || (root?.scheme === 'viewfs' && root.host) || DEFAULT_TABLE
  const prefix = `fs.viewfs.mounttable.${name}.`
  const table = [...properties].flatMap(([key, value]) =>
    key.toLowerCase().startsWith(prefix) ? [[key.slice(prefix.length), value] as const] : [],
  )
  if (table.length === 0) return undefined
  const whole = table.find(([key]) => key === 'linkMergeSlash')
  if (whole) return below(whole[1], path)
  const links = table.flatMap(([key, value]) => (key.startsWith('link./') ? [[key.slice('link.'.length), value] as const] : []))
  for (const [source, target] of links) {
    if (path === source) return below(target, '/')
    if (path.startsWith(`${source}/`)) return below(target, path.slice(source.length))
  }
  const fallback = table.find(([key]) => key === 'linkFallback')
  const above = links.some(([source]) => path === '/' || source.startsWith(`${path}/`))
  if (fallback && !above) return below(fallback[1], path)
  throw invalidParameter(`The path '${path}' of the artifact location is not below a mount point of viewfs '${name}'`)
}

function below(target: string, path: string): HdfsLocation {
  if (!/^((s?web)?hdfs|viewfs):/i.test(target)) throw invalidParameter("The artifact location's mount point leads to another kind of store")
  const at = parseHdfsUri(target)
  return { ...at, path: joinPath(at.path, path.slice(1)) }
}
