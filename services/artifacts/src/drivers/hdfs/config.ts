import { userInfo } from 'node:os'
import { checkList, checkUrls, type Env, type Raw, read, refused } from '@millrace/kit/config'
import { checkProxies, type Proxies, type RawProxies, readProxies } from '../proxies.ts'
import { checkTimeoutSeconds, readCertificates } from '../settings.ts'
import { type HadoopProperties, readHadoopFolder, substituted } from './hadoop-conf.ts'

export interface HdfsConfig {
  properties: HadoopProperties
  /** Endpoints that serve `hdfs:` and `viewfs:` locations, instead of those that the properties name. */
  webHdfsUrls: readonly string[]
  /** Who the server is without Kerberos. */
  user: string | undefined
  /** Absent: without Kerberos. */
  kerberos: KerberosConfig | undefined
  /** Certificates in PEM that TLS connections trust. */
  caBundle: string | undefined
  /** Longest silence of the store within a call, in milliseconds. */
  timeoutMs: number
  /** Through which the store is reached. */
  proxies?: Proxies
}

export interface KerberosConfig {
  /** Absent: the usual one of the process. */
  ticketCache: string | undefined
  /** Absent: the ticket cache's own. */
  principal: string | undefined
  /** Name or absolute path of the npm package `kerberos`. */
  module: string
}

export interface RawHdfsConfig {
  confDir?: Raw
  extraConf?: Raw
  webHdfsUrl?: Raw
  kerberosUser?: Raw
  user?: Raw
  ticketCache?: Raw
  kerberosModule?: Raw
  caBundle?: Raw
  timeoutSeconds?: Raw
  proxies?: RawProxies
}

const TIMEOUT_SECONDS = 60

export function readHdfsConfig(env: Env): RawHdfsConfig {
  const variable = (...names: string[]) => read(env, {}, undefined, ...names)
  return {
    confDir: variable('HADOOP_CONF_DIR'),
    extraConf: variable('MLFLOW_PYARROW_EXTRA_CONF'),
    webHdfsUrl: variable('MILLRACE_WEBHDFS_URL'),
    kerberosUser: variable('MLFLOW_KERBEROS_USER'),
    user: variable('HADOOP_USER_NAME'),
    ticketCache: variable('MLFLOW_KERBEROS_TICKET_CACHE'),
    kerberosModule: variable('MILLRACE_KERBEROS_MODULE'),
    caBundle: variable('MILLRACE_WEBHDFS_CA_BUNDLE'),
    timeoutSeconds: variable('MLFLOW_ARTIFACT_UPLOAD_DOWNLOAD_TIMEOUT'),
    proxies: readProxies(env),
  }
}

export function checkHdfsConfig(raw: RawHdfsConfig): HdfsConfig {
  const properties = substituted(new Map([...readConfDir(raw.confDir), ...checkExtraConf(raw.extraConf)]))
  const secured = properties.get('hadoop.security.authentication')?.toLowerCase() === 'kerberos'
  return {
    properties,
    webHdfsUrls: checkUrls(raw.webHdfsUrl).map(url => url.replace(/\/webhdfs\/v1$/, '')),
    user: (raw.kerberosUser ?? raw.user)?.value ?? processUser(),
    kerberos:
      secured || raw.ticketCache
        ? {
            ticketCache: raw.ticketCache?.value,
            principal: raw.kerberosUser?.value,
            module: raw.kerberosModule?.value ?? 'kerberos',
          }
        : undefined,
    caBundle: raw.caBundle && readCertificates(raw.caBundle),
    timeoutMs: checkTimeoutSeconds(raw.timeoutSeconds, TIMEOUT_SECONDS) * 1000,
    proxies: checkProxies(raw.proxies),
  }
}

function readConfDir(raw: Raw | undefined): Map<string, string> {
  if (!raw) return new Map()
  try {
    return readHadoopFolder(raw.value)
  } catch (error) {
    throw refused(raw, 'a folder with readable core-site.xml and hdfs-site.xml', error)
  }
}

/** Source of the form: MLflow's MLFLOW_PYARROW_EXTRA_CONF, properties for the Hadoop client. */
function checkExtraConf(raw: Raw | undefined): [string, string][] {
  return checkList(raw).map(pair => {
    const at = pair.indexOf('=')
    if (raw && at < 1) throw refused(raw, 'NAME=VALUE,NAME=VALUE')
    return [pair.slice(0, at), pair.slice(at + 1)]
  })
}

/** Undefined in a container whose user has no name. */
function processUser(): string | undefined {
  try {
    return userInfo().username
  } catch {
    return undefined
  }
}
