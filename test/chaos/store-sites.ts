import { createBucket } from '../services/backends.ts'
import { readTestConfig } from '../services/config.ts'
import { startToxicProxy, type Toxics } from '../services/toxic.ts'

/** A store on a real server behind a network that can be made bad. */
export interface Site extends AsyncDisposable {
  /** What a server that uses the store is started with. */
  readonly destination: string
  readonly env: Record<string, string>
  readonly network: Network
  /** Everything that the store itself knows to be there, past the network: names of objects, and of uploads in progress. */
  contents(): Promise<string[]>
  /** Settings with which the store refuses the server. */
  readonly refusals: readonly Refusal[]
}

export interface Network {
  set(toxics: Toxics): Promise<void>
}

export interface Refusal {
  name: string
  destination?: string
  env?: Record<string, string>
  status: number
  errorCode: string
  /** What no answer and no line of a log may show. */
  secrets: readonly string[]
}

export interface Store {
  needs: Parameters<typeof import('../services/backends.ts')['describeWith']>[0]
  open(): Promise<Site>
}

/** One row for every store that is reached over a network. */
export const stores: Record<string, Store> = {
  S3: { needs: ['s3'], open: openS3 },
}

async function openS3(): Promise<Site> {
  await using stack = new AsyncDisposableStack()
  const bucket = stack.use(await createBucket('faults'))
  const { port, hostname } = new URL(readTestConfig().s3?.endpoint ?? '')
  const proxy = stack.use(await startToxicProxy({ host: hostname, port: Number(port) }))
  const opened = stack.move()
  const wrongKey = 'wrong-access-key'
  const wrongSecret = 'wrong-secret-of-the-server'
  return {
    destination: `${bucket.uri}/root`,
    env: { ...bucket.env, MLFLOW_S3_ENDPOINT_URL: `http://127.0.0.1:${proxy.port}` },
    network: proxy,
    async contents() {
      const uploads = await bucket.openUploads()
      return [...(await bucket.keys()), ...Array.from({ length: uploads }, () => '(open multipart upload)')]
    },
    refusals: [
      {
        name: 'wrong secret key',
        env: { AWS_SECRET_ACCESS_KEY: wrongSecret },
        status: 401,
        errorCode: 'UNAUTHENTICATED',
        secrets: [wrongSecret],
      },
      {
        name: 'unknown access key',
        env: { AWS_ACCESS_KEY_ID: wrongKey, AWS_SECRET_ACCESS_KEY: wrongSecret },
        status: 401,
        errorCode: 'UNAUTHENTICATED',
        secrets: [wrongSecret],
      },
    ],
    [Symbol.asyncDispose]: () => opened.disposeAsync(),
  }
}
