/**
 * Schemes whose URIs name the host to connect to, with the family that they are compared in and the ports that an absent one stands for.
 * HDFS takes an absent port from its own configuration.
 */
const HOST_ADDRESSED: Record<string, { family: string; ports: readonly number[] }> = {
  ftp: { family: 'ftp', ports: [21] },
  sftp: { family: 'sftp', ports: [22] },
  hdfs: { family: 'hdfs', ports: [] },
  viewfs: { family: 'hdfs', ports: [] },
  webhdfs: { family: 'webhdfs', ports: [9870] },
  swebhdfs: { family: 'swebhdfs', ports: [9871] },
  http: { family: 'http', ports: [80] },
  https: { family: 'http', ports: [443] },
  'mlflow-artifacts': { family: 'http', ports: [80, 443] },
  r2: { family: 'r2', ports: [443] },
  b2: { family: 'b2', ports: [443] },
  abfss: { family: 'abfss', ports: [443] },
}

const PORT_MAX = 65_535

/**
 * `family host port` of each place that the server might connect to for a URI of this scheme and authority; undefined when it names no
 * host, none when that can't be told.
 */
export function hostTargets(scheme: string, authority: string): string[] | undefined {
  const about = Object.hasOwn(HOST_ADDRESSED, scheme) ? HOST_ADDRESSED[scheme] : undefined
  if (!about || (scheme === 'mlflow-artifacts' && authority === '')) return undefined
  const [, host, port] = /^(\[[^\]]*\]|[^:]*)(?::(\d*))?$/.exec(authority.slice(authority.lastIndexOf('@') + 1)) ?? []
  if (host === undefined || /[\\\s]/.test(authority) || Number(port ?? 0) > PORT_MAX) return []
  const ports = port ? [Number(port)] : about.ports.length > 0 ? about.ports : ['']
  return ports.map(number => `${about.family} ${host.toLowerCase()} ${number}`)
}
