import { startAnsweringProxy } from '../../services/answering.ts'
import { createGcsBucket, startGcs } from '../../services/gcs.ts'
import { freePort } from '../../services/process.ts'
import { startToxicProxy } from '../../services/toxic.ts'
import { type ApiAnswer, BUSY, type Site, UNAUTHENTICATED } from './site.ts'

const answer = (status: number, reason: string) => ({
  status,
  headers: { 'Content-Type': 'application/json' },
  body: JSON.stringify({ error: { code: status, message: reason, errors: [{ reason }] } }),
})

/** Source: "HTTP status and error codes" of Cloud Storage's JSON API. */
const answers: ApiAnswer[] = [
  { name: 'rateLimitExceeded', answer: answer(429, 'rateLimitExceeded'), ...BUSY, isRepeated: true },
  { name: 'backendError', answer: answer(503, 'backendError'), ...BUSY, isRepeated: true },
  { name: 'an expired token', answer: answer(401, 'authError'), ...UNAUTHENTICATED, isRepeated: false },
]

/** Longer bodies go in chunks, which can be sent again; passingThrough has them go as one request. */
const CHUNK_BYTES = String(8 * 1024 * 1024)

/** fake-gcs-server looks at no credentials, so there are none that it refuses. */
export async function openGcs(): Promise<Site> {
  await using stack = new AsyncDisposableStack()
  const target = { port: 0 }
  const api = stack.use(await startAnsweringProxy(target))
  const proxy = stack.use(await startToxicProxy(api))
  // Only now, or a proxy could listen on that port itself.
  target.port = await freePort()
  const reachedAt = `http://127.0.0.1:${proxy.port}`
  const server = stack.use(await startGcs({ ...target, reachedAt }))
  const bucket = await createGcsBucket(server)
  const opened = stack.move()
  return {
    destination: `${bucket.uri}/root`,
    env: { ...server.env, STORAGE_EMULATOR_HOST: reachedAt, MLFLOW_GCS_UPLOAD_CHUNK_SIZE: CHUNK_BYTES },
    network: proxy,
    server,
    api: { set: api.set, answers },
    parts: {
      endpoint: server.endpoint,
      env: { MILLRACE_GCS_PUBLIC_ENDPOINT: server.endpoint },
      objects: () => bucket.names(''),
      loseJoin: what => api.lose(what, ({ url }) => /\/compose\b/.test(url ?? '')),
    },
    contents: () => bucket.names(''),
    refusals: [],
    [Symbol.asyncDispose]: () => opened.disposeAsync(),
  }
}
