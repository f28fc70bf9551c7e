import type { Scheme } from '../../driver.ts'
import { findCluster } from './cluster.ts'
import type { HdfsConfig } from './config.ts'
import type { Files } from './files.ts'
import { parseHdfsUri } from './location.ts'

const CLUSTERS_MAX = 1_000

/** One client for each cluster, for all roots there. */
export function openHdfsScheme(config: HdfsConfig): Scheme {
  const clusters = new Map<string, Files>()
  let loading: Promise<Loaded> | undefined
  return {
    async open(root, { isTrusted } = { isTrusted: false }) {
      const { endpoints, path, isConfigured } = findCluster(parseHdfsUri(root), config)
      loading ??= load(config)
      const { HdfsDriver, openFiles } = await loading
      const isKnown = isTrusted || isConfigured
      const name = JSON.stringify([isKnown, endpoints])
      if (clusters.size > CLUSTERS_MAX) clusters.clear()
      const files = clusters.get(name) ?? openFiles(endpoints, isKnown)
      clusters.set(name, files)
      return new HdfsDriver(files, path)
    },
    async [Symbol.asyncDispose]() {
      const loaded = await loading
      loaded?.wire[Symbol.dispose]()
    },
  }
}

type Loaded = Awaited<ReturnType<typeof load>>

async function load({ timeoutMs, caBundle, proxies, user, kerberos }: HdfsConfig) {
  const [{ HdfsDriver }, { Wire }, { NameNodes }, { Files }, { namedIdentity }, { KerberosIdentity }] = await Promise.all([
    import('./driver.ts'),
    import('./exchange.ts'),
    import('./name-nodes.ts'),
    import('./files.ts'),
    import('./identity.ts'),
    import('./kerberos.ts'),
  ])
  const wire = new Wire({ timeoutMs, tls: { ca: caBundle }, proxies })
  const openFiles = (endpoints: readonly string[], isKnown: boolean): Files => {
    const identity = kerberos && isKnown ? new KerberosIdentity(kerberos) : namedIdentity(user)
    return new Files(new NameNodes(wire, endpoints, identity))
  }
  return { HdfsDriver, wire, openFiles }
}
