import type { S3Client } from '@aws-sdk/client-s3'
import type { Driver, Scheme } from '../../driver.ts'
import { HeldBytes } from '../../held-bytes.ts'
import { schemeOf } from '../../uri.ts'
import { HttpCaller } from '../http-call.ts'
import { httpSettings, type S3Config } from './config.ts'
import { B2, type HostedLocation, type Hosting, parseHostedUri, R2 } from './hosting.ts'
import { parseS3Uri } from './location.ts'

/** One client for all buckets of `s3:`, one for each host of `r2:` and `b2:`. */
export function openS3Scheme(config: S3Config, held = new HeldBytes()): Scheme {
  const stack = new AsyncDisposableStack()
  const server = stack.use(openServer(config, held))
  const r2 = stack.use(openHostedScheme(R2, config, held, config.r2EndpointUrl))
  const b2 = stack.use(openHostedScheme(B2, config, held, config.b2EndpointUrl))
  return {
    open(root) {
      const scheme = schemeOf(root)
      if (scheme === R2.scheme) return r2.open(root)
      if (scheme === B2.scheme) return b2.open(root)
      const { bucket, prefix } = parseS3Uri(root)
      return server.driver(bucket, prefix)
    },
    [Symbol.asyncDispose]: () => stack.disposeAsync(),
  }
}

/** Hosts whose connections are kept. */
const HOSTS_MAX = 32

/** S3's protocol at the host that the URI names, or at `endpointUrl` instead; `MLFLOW_S3_ENDPOINT_URL` is not for these. */
function openHostedScheme(hosting: Hosting, config: S3Config, held: HeldBytes, endpointUrl: string | undefined): Scheme {
  const servers = new Map<string, Server>()
  const serverAt = ({ host, region }: HostedLocation): Server => {
    const known = servers.get(host)
    if (known) return known
    const [oldest] = servers.size < HOSTS_MAX ? [] : servers.keys()
    if (oldest !== undefined) servers.delete(oldest)
    const own = { ...hosting.config, endpointUrl: endpointUrl ?? `https://${host}`, publicEndpointUrl: undefined }
    const server = openServer({ ...config, ...own, ...(region ? { region } : {}) }, held)
    servers.set(host, server)
    return server
  }
  return {
    open(root) {
      const location = parseHostedUri(root, hosting)
      return serverAt(location).driver(location.bucket, location.prefix)
    },
    async [Symbol.asyncDispose]() {
      for (const server of servers.values()) await server[Symbol.asyncDispose]()
    },
  }
}

interface Server extends AsyncDisposable {
  driver(bucket: string, prefix: string): Promise<Driver>
}

/** The SDK is loaded with the first driver: it costs 30 MiB and 200 ms that a local server saves. */
function openServer(config: S3Config, held: HeldBytes): Server {
  const caller = new HttpCaller(httpSettings(config))
  let opening: Promise<{ client: S3Client; signer: S3Client }> | undefined
  const closing = new AbortController()
  const connect = async () => {
    const { createS3Client } = await import('./client.ts')
    const client = createS3Client(config, caller.agents)
    const { publicEndpointUrl } = config
    return { client, signer: publicEndpointUrl ? createS3Client({ ...config, endpointUrl: publicEndpointUrl }, caller.agents) : client }
  }
  return {
    async driver(bucket, prefix) {
      opening ??= connect()
      const [{ S3Driver }, clients] = await Promise.all([import('./driver.ts'), opening])
      return new S3Driver({ ...clients, caller, bucket, prefix, config, held, closing: closing.signal })
    },
    async [Symbol.asyncDispose]() {
      closing.abort()
      const clients = await opening
      clients?.client.destroy()
      clients?.signer.destroy()
      caller[Symbol.dispose]()
    },
  }
}
