import { startAnsweringProxy } from '../../services/answering.ts'
import { createBucket } from '../../services/backends.ts'
import { startS3 } from '../../services/s3.ts'
import { startToxicProxy } from '../../services/toxic.ts'
import { type ApiAnswer, BUSY, DENIED, type Site, UNAUTHENTICATED } from './site.ts'

const answer = (status: number, code: string) => ({
  status,
  headers: { 'Content-Type': 'application/xml' },
  body: `<?xml version="1.0"?><Error><Code>${code}</Code><Message>${code}</Message><RequestId>1</RequestId></Error>`,
})

/** Source: "Error responses" of the S3 API. */
const answers: ApiAnswer[] = [
  { name: 'SlowDown', answer: answer(503, 'SlowDown'), ...BUSY, isRepeated: true },
  { name: 'an expired session', answer: answer(400, 'ExpiredToken'), ...DENIED, isRepeated: false },
]

export async function openS3(): Promise<Site> {
  await using stack = new AsyncDisposableStack()
  // Others use the one that all tests share.
  const server = stack.use(await startS3())
  const bucket = stack.use(await createBucket('faults', server))
  const { endpoint } = server
  const { port, hostname } = new URL(endpoint)
  const api = stack.use(await startAnsweringProxy({ host: hostname, port: Number(port) }))
  const proxy = stack.use(await startToxicProxy(api))
  const opened = stack.move()
  const wrongKey = 'wrong-access-key'
  const wrongSecret = 'wrong-secret-of-the-server'
  return {
    destination: `${bucket.uri}/root`,
    env: { ...bucket.env, MLFLOW_S3_ENDPOINT_URL: `http://127.0.0.1:${proxy.port}` },
    network: proxy,
    server,
    api: { set: api.set, answers },
    parts: {
      endpoint,
      env: { MILLRACE_S3_PUBLIC_ENDPOINT: endpoint },
      objects: () => bucket.keys(),
      loseJoin: what => api.lose(what, ({ method, url }) => method === 'POST' && /[?&]uploadId=/.test(url ?? '')),
    },
    async contents() {
      const uploads = await bucket.openUploads()
      return [...(await bucket.keys()), ...Array.from({ length: uploads }, () => '(open multipart upload)')]
    },
    refusals: [
      { name: 'wrong secret key', env: { AWS_SECRET_ACCESS_KEY: wrongSecret }, ...UNAUTHENTICATED, secrets: [wrongSecret] },
      {
        name: 'unknown access key',
        env: { AWS_ACCESS_KEY_ID: wrongKey, AWS_SECRET_ACCESS_KEY: wrongSecret },
        ...UNAUTHENTICATED,
        secrets: [wrongSecret],
      },
    ],
    [Symbol.asyncDispose]: () => opened.disposeAsync(),
  }
}
