import { createDatabase } from '../services/backends.ts'
import { type Cluster, startCluster } from '../services/cluster.ts'
import { tempFolder } from '../services/process.ts'
import { startRedis } from '../services/redis.ts'

export interface ClusterSite extends AsyncDisposable {
  readonly cluster: Cluster
}

/** A cluster over a database, a Redis and a folder of artifacts of its own. */
export async function openClusterSite(name: string): Promise<ClusterSite> {
  await using stack = new AsyncDisposableStack()
  const folder = stack.use(await tempFolder(name))
  const database = stack.use(await createDatabase(name))
  const redis = stack.use(await startRedis())
  const urls = { postgresUrl: database.url, redisUrl: redis.url, redisPrefix: name }
  const cluster = stack.use(await startCluster({ cwd: folder.path, ...urls, artifactsDestination: `${folder.path}/store`, env: {} }))
  const opened = stack.move()
  return { cluster, [Symbol.asyncDispose]: () => opened.disposeAsync() }
}
