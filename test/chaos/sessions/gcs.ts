import { writeFile } from 'node:fs/promises'
import { join } from 'node:path'
import { startAnsweringProxy } from '../../services/answering.ts'
import { createGcsBucket, startGcs } from '../../services/gcs.ts'
import { freePort, tempFolder } from '../../services/process.ts'
import { startTokenService } from '../../services/tokens.ts'
import type { SessionSite } from './session-site.ts'

const refused = {
  status: 401,
  headers: { 'Content-Type': 'application/json' },
  body: JSON.stringify({ error: { code: 401, message: 'Invalid Credentials', errors: [{ reason: 'authError' }] } }),
}

/** Chunks can be sent again with another token; a long body as one request cannot. */
const CHUNK_BYTES = String(8 * 1024 * 1024)

/** A workload identity, whose tokens come from a token service. fake-gcs-server looks at none, so a proxy before it does. */
export async function openGcsSessions(): Promise<SessionSite> {
  await using stack = new AsyncDisposableStack()
  const folder = stack.use(await tempFolder('gcs-tokens')).path
  const tokens = stack.use(await startTokenService())
  const target = { port: 0 }
  const proxy = stack.use(await startAnsweringProxy(target, ({ headers }) => (tokens.isGood(headers.authorization) ? undefined : refused)))
  // Only now, or the proxy could listen on that port itself.
  target.port = await freePort()
  const reachedAt = `http://127.0.0.1:${proxy.port}`
  const bucket = await createGcsBucket(stack.use(await startGcs({ ...target, reachedAt })))
  const [subject, credentials] = [join(folder, 'subject'), join(folder, 'credentials.json')]
  await writeFile(subject, 'token of the workload')
  const identity = {
    type: 'external_account',
    audience: '//iam.googleapis.com/projects/1/locations/global/workloadIdentityPools/test/providers/test',
    subject_token_type: 'urn:ietf:params:oauth:token-type:jwt',
    token_url: tokens.url,
    credential_source: { file: subject },
  }
  await writeFile(credentials, JSON.stringify(identity))
  const opened = stack.move()
  return {
    destination: `${bucket.uri}/root`,
    env: { API_ENDPOINT_OVERRIDE: reachedAt, GOOGLE_APPLICATION_CREDENTIALS: credentials, MLFLOW_GCS_UPLOAD_CHUNK_SIZE: CHUNK_BYTES },
    end: async () => tokens.endAll(),
    given: tokens.given,
    contents: () => bucket.names(''),
    refusal: { status: 401, errorCode: 'UNAUTHENTICATED' },
    [Symbol.asyncDispose]: () => opened.disposeAsync(),
  }
}
