import { invalidParameter } from '@millrace/kit/errors'
import type { HdfsConfig } from './config.ts'
import { defaultFileSystem, type HadoopProperties } from './hadoop-conf.ts'
import { type HdfsLocation, joinPath } from './location.ts'
import { throughMounts } from './viewfs.ts'

/** Where a location is served. */
export interface Cluster {
  /** URLs in front of `/webhdfs/v1`, one for each name node. */
  endpoints: readonly string[]
  /** Of the location within the name space that they serve. */
  path: string
  /** Whether the operator's configuration names the endpoints, not the location alone. */
  isConfigured: boolean
}

const HTTP_PORT = 9870
const HTTPS_PORT = 9871
const REDIRECTIONS_MAX = 8

/** @throws INVALID_PARAMETER_VALUE for a location whose name node neither its URI nor the configuration tells. */
export function findCluster(location: HdfsLocation, config: HdfsConfig): Cluster {
  const { properties, webHdfsUrls } = config
  let at = location
  for (let i = 0; i < REDIRECTIONS_MAX; i++) {
    const { scheme, path } = at
    if (scheme === 'viewfs') {
      const target = throughMounts(at, properties)
      if (target !== undefined) {
        at = target
        continue
      }
    }
    if ((scheme === 'hdfs' || scheme === 'viewfs') && webHdfsUrls.length > 0) return { endpoints: webHdfsUrls, path, isConfigured: true }
    if (scheme === 'viewfs') throw invalidParameter(`Hadoop's configuration has no mount table for the artifact location's viewfs name`)
    if (at.host !== '') {
      const { endpoints, isNamed } = endpointsOf(at, properties)
      return { endpoints, path, isConfigured: isNamed || i > 0 }
    }
    const root = defaultFileSystem(properties)
    if (!root) {
      throw invalidParameter(
        'The artifact location names no host: set fs.defaultFS in the core-site.xml of HADOOP_CONF_DIR, or MILLRACE_WEBHDFS_URL',
      )
    }
    at = { ...root, path: joinPath(root.path, path.slice(1)) }
  }
  throw invalidParameter("Hadoop's mount tables lead the artifact location in a circle")
}

function endpointsOf({ scheme, host, port }: HdfsLocation, properties: HadoopProperties): { endpoints: string[]; isNamed: boolean } {
  const secure = scheme === 'swebhdfs' || (scheme === 'hdfs' && properties.get('dfs.http.policy') === 'HTTPS_ONLY')
  const protocol = secure ? 'https' : 'http'
  const address = (suffix: string) => hostAndPort(properties.get(`dfs.namenode.${protocol}-address${suffix}`))
  const rpcAddress = (suffix: string) => hostAndPort(properties.get(`dfs.namenode.rpc-address${suffix}`))
  const url = (suffix: string, fallbackHost: string) => {
    const { host: name = fallbackHost, port: number = secure ? HTTPS_PORT : HTTP_PORT } = address(suffix)
    return `${protocol}://${name}:${number}`
  }
  const services = listed(properties, 'dfs.nameservices')
  const service = services.find(name => name.toLowerCase() === host)
  if (service !== undefined && port === undefined) {
    const endpoints = nodesOf(service, properties).map(suffix => {
      const name = address(suffix).host ?? rpcAddress(suffix).host
      if (!name) throw invalidParameter(`Hadoop's configuration has no dfs.namenode.${protocol}-address${suffix}`)
      return url(suffix, name)
    })
    return { endpoints, isNamed: true }
  }
  if (scheme !== 'hdfs') return { endpoints: [`${protocol}://${host}:${port ?? (secure ? HTTPS_PORT : HTTP_PORT)}`], isNamed: false }
  const named = services.flatMap(name => nodesOf(name, properties)).find(suffix => isSame(rpcAddress(suffix), host, port))
  if (named !== undefined) return { endpoints: [url(named, host)], isNamed: true }
  const root = defaultFileSystem(properties)
  if (root?.scheme === 'hdfs' && root.host === host && root.port === port) return { endpoints: [url('', host)], isNamed: true }
  return { endpoints: [`${protocol}://${host}:${secure ? HTTPS_PORT : HTTP_PORT}`], isNamed: false }
}

/** Suffixes of the properties of a name service's name nodes. */
function nodesOf(service: string, properties: HadoopProperties): string[] {
  const ids = listed(properties, `dfs.ha.namenodes.${service}`)
  return ids.length > 0 ? ids.map(id => `.${service}.${id}`) : [`.${service}`]
}

function listed(properties: HadoopProperties, name: string): string[] {
  return (properties.get(name) ?? '').split(',').flatMap(part => part.trim() || [])
}

/** A wildcard stands for every address of the name node's host, which the caller knows. */
function hostAndPort(address: string | undefined): { host?: string; port?: number } {
  const [, host, port] = /^\s*(\[[^\]]*\]|[^:\s]+)(?::(\d+))?\s*$/.exec(address ?? '') ?? []
  return { host: host === '0.0.0.0' || host === '[::]' ? undefined : host?.toLowerCase(), port: port ? Number(port) : undefined }
}

function isSame(address: { host?: string; port?: number }, host: string, port: number | undefined): boolean {
  return address.host === host && (port === undefined || address.port === port)
}
